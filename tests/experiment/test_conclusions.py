"""Conclusions of a comparison: verdicts on teacher and arms, in both directions of a metric, and their limits."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest

from i2ikd.evaluation.records import Record
from i2ikd.experiment.compare import compare
from i2ikd.experiment.conclusions import conclusions
from i2ikd.experiment.controls import Controls
from i2ikd.experiment.summary import Comparison, Conclusion, summarise

METRIC = "score"
SUBJECTS = "abcdefgh"


def compared(
    levels: dict[str, float],
    *,
    upward: bool = True,
    subjects: str = SUBJECTS,
    seeds: tuple[int, ...] = (0, 1),
    noise: float = 0.0,
) -> Comparison:
    """Return a comparison whose arms differ by their levels, and by noise of the given size that is not shared."""
    draw = np.random.default_rng(0)
    records = [
        Record(arm, seed, subject, subject, 0, {METRIC: level + 3 * ord(subject) + noise * draw.standard_normal()})
        for arm, level in levels.items()
        for seed in seeds
        for subject in subjects
    ]
    kinds: dict[str, Any] = {arm: "teacher" if arm == "teacher" else "arm" for arm in levels}
    references = [arm for arm in levels if arm in ("student", "control")]
    return summarise("c", {}, {"column": METRIC}, records, kinds, {}, references, "student", {METRIC: upward})


def texts(comparison: Comparison, unit: str = "") -> dict[str, str]:
    """Return the conclusions by arm; the limits under an empty name."""
    found = conclusions(comparison, "control", "student", unit)
    assert len({conclusion.arm for conclusion in found}) == len(found)
    return {conclusion.arm: conclusion.text for conclusion in found}


LEVELS = {"teacher": 2.0, "student": 0.5, "control": 1.0, "above": 1.25, "below": 0.75, "equal": 1.0}


def test_a_higher_score_is_better_where_higher_is_better() -> None:
    found = texts(compared(LEVELS), "dB")
    assert found["teacher"] == "the teacher is better than control by 1.00 [1.00, 1.00] dB in column"
    assert found["above"].startswith("above is better than control by 0.250 [0.250, 0.250] dB in column (p 0.0")
    assert found["below"].startswith("below is worse than control by 0.250 [0.250, 0.250] dB in column (p 0.0")
    assert found["equal"].startswith("equal and control are not distinguishable: +0.000 [+0.000, +0.000] dB in column")
    assert list(found) == ["teacher", "above", "below", "equal"], "no line for the student, none without limits"


def test_a_lower_score_is_better_where_lower_is_better() -> None:
    found = texts(compared({**LEVELS, "teacher": 0.0}, upward=False))
    assert found["teacher"] == "the teacher is better than control by 1.00 [1.00, 1.00] in column"
    assert found["above"].startswith("above is worse than control by 0.250 [0.250, 0.250] in column")
    assert found["below"].startswith("below is better than control by 0.250 [0.250, 0.250] in column")


@pytest.mark.parametrize("upward", [True, False])
def test_mean_and_interval_are_those_of_the_paired_difference_with_its_sign_turned_to_better(upward: bool) -> None:
    comparison = compared({"control": 1.0, "arm": 1.6 if upward else 0.4}, upward=upward, noise=0.1)
    row = comparison.row("arm")
    assert row is not None
    difference, sign = row.differences["control"], 1 if upward else -1
    ends = sorted([sign * difference.low, sign * difference.high])
    expected = f"arm is better than control by {sign * difference.mean:.3f} [{ends[0]:.3f}, {ends[1]:.3f}] in column"
    assert texts(comparison)["arm"].startswith(expected)
    assert ends[0] > 0
    assert texts(comparison)["arm"].endswith(f"(p {row.corrected['control']:.3f})")


def test_an_interval_that_contains_zero_is_no_difference() -> None:
    comparison = compared({"control": 1.0, "arm": 1.05}, noise=1.0)
    row = comparison.row("arm")
    assert row is not None and row.differences["control"].low < 0 < row.differences["control"].high
    assert texts(comparison)["arm"].startswith("arm and control are not distinguishable: ")


class TestTeacher:
    def conclusion(self, level: float, upward: bool = True, noise: float = 0.0) -> Conclusion:
        comparison = compared({"teacher": level, "control": 1.0, "arm": 1.0}, upward=upward, noise=noise)
        (found,) = [c for c in conclusions(comparison, "control") if c.arm == "teacher"]
        return found

    @pytest.mark.parametrize(("level", "upward"), [(0.7, True), (1.3, False)])
    def test_below_the_control_is_a_warning_with_the_remedy(self, level: float, upward: bool) -> None:
        found = self.conclusion(level, upward)
        assert found.warning
        assert found.text.startswith("warning: the teacher is worse than control by 0.300 [0.300, 0.300] in column; ")
        assert found.text.endswith("teaches nothing: train it longer, or make it larger")
        first, *_ = conclusions(
            compared({"teacher": level, "control": 1.0}, upward=upward),
            "control",
            controls=Controls(lacking=["a", "b"]),
        )
        assert "set the levers of the control in [teacher], which lacks a, b; or train it longer" in first.text

    def test_that_cannot_be_distinguished_from_the_control_is_a_warning(self) -> None:
        found = self.conclusion(1.0, noise=1.0)
        assert found.warning and found.text.startswith("warning: the teacher is not clearly better than control: ")

    @pytest.mark.parametrize(("level", "upward"), [(1.3, True), (0.7, False)])
    def test_above_the_control_is_no_warning(self, level: float, upward: bool) -> None:
        found = self.conclusion(level, upward)
        assert not found.warning and found.text.startswith("the teacher is better than control by 0.300")

    def test_without_a_score_has_no_line(self) -> None:
        assert "teacher" not in texts(compared({**LEVELS, "teacher": math.nan}))
        assert "teacher" not in texts(compared({name: v for name, v in LEVELS.items() if name != "teacher"}))


def test_without_a_control_or_its_score_nothing_is_concluded() -> None:
    assert texts(compared({"teacher": 2.0, "student": 0.5, "arm": 1.0})) == {}
    assert texts(compared({**LEVELS, "control": math.nan})) == {}


def test_an_arm_without_a_score_has_no_line() -> None:
    assert "above" not in texts(compared({**LEVELS, "above": math.nan}))


def test_one_subject_and_one_seed_have_no_interval() -> None:
    found = texts(compared(LEVELS, subjects="a", seeds=(0,)), "dB")
    assert found["teacher"] == "the teacher is better than control by 1.00 dB in column"
    assert found["above"] == "above minus control: +0.250 dB in column, without an interval"
    assert found["below"] == "below minus control: -0.250 dB in column, without an interval"
    assert found[""] == "limits: one seed, so that no interval includes the variation between trainings; one subject"
    assert "nan" not in "".join(found.values()).lower()
    worse = texts(compared({**LEVELS, "teacher": 0.0}, subjects="a", seeds=(0,)))
    assert worse["teacher"].startswith("warning: the teacher is worse than control by 1.00 in column")


@pytest.mark.parametrize(
    ("subjects", "seeds", "limit"),
    [
        ("abc", (0, 1), "limits: 3 subjects, so that p is at least 0.25"),
        ("abcde", (0, 1), "limits: 5 subjects, so that p is at least 0.0625"),
        ("abcdef", (0, 1), ""),
        ("abcdef", (0,), "limits: one seed, so that no interval includes the variation between trainings"),
    ],
)
def test_few_subjects_and_one_seed_are_stated(subjects: str, seeds: tuple[int, ...], limit: str) -> None:
    assert texts(compared(LEVELS, subjects=subjects, seeds=seeds)).get("", "") == limit


@pytest.mark.parametrize(("scale", "shown"), [(1e-4, "0.0000250"), (1.0, "0.250"), (1e3, "250")])
def test_three_digits_are_shown_at_any_scale(scale: float, shown: str) -> None:
    comparison = compared({"control": 0.0, "arm": 0.25 * scale}, subjects="a")
    assert f"by {shown} [{shown}, {shown}] in column" in texts(comparison)["arm"]


def test_a_comparison_writes_its_conclusions(laboratory: Any) -> None:
    graph = laboratory.graph()
    comparison = compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
    written = json.loads((laboratory.folder / "out" / "results.json").read_text("utf-8"))["conclusions"]
    assert [Conclusion(**entry) for entry in written] == comparison.conclusions
    assert [entry["arm"] for entry in written] == ["", "teacher", "kd-mri", "", ""]
    assert written[0]["text"].startswith("verdict: ") and written[-1]["text"].startswith("next: ")
    row = comparison.row("kd-mri")
    assert row is not None
    number = re.search(r"-?\d+\.\d+", written[2]["text"].replace("kd-mri", ""))
    assert number is not None
    assert abs(float(number[0])) == pytest.approx(abs(row.differences["control"].mean), rel=0.01)
    assert " dB in psnr" in written[2]["text"]
