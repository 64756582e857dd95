"""The verdict: which arm beats the control, whether the teacher is worth copying, and what to run next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from i2ikd.evaluation.records import NO_SEED, Record, Tables, pivot
from i2ikd.experiment.controls import NO_CONTROLS, Controls
from i2ikd.experiment.costs import Costs
from i2ikd.experiment.summary import Comparison, Conclusion, summarise
from i2ikd.experiment.verdict import verdict


def compared(
    levels: dict[str, float],
    *,
    upward: bool = True,
    seeds: tuple[int, ...] = (0, 1, 2),
    noise: float = 0.0,
    params: dict[str, int] | None = None,
) -> Comparison:
    """Eight subjects of one volume each; arms differ by their levels and by unshared noise."""
    draw = np.random.default_rng(0)
    baselines = {"zero-filled"}
    records = [
        Record(arm, seed, name, name, 0, {"score": level + 3 * ord(name) + noise * draw.standard_normal()})
        for arm, level in levels.items()
        for seed in ((NO_SEED,) if arm in baselines else seeds)
        for name in "abcdefgh"
    ]
    kinds: dict[str, Any] = {
        arm: "baseline" if arm in baselines else "teacher" if arm == "teacher" else "arm" for arm in levels
    }
    references = [arm for arm in levels if arm in ("student", "control")]
    costs = {arm: Costs(count, count) for arm, count in (params or {}).items()}
    return summarise("c", {}, {"psnr": "score"}, records, kinds, costs, references, "student", {"score": upward})


def found(levels: dict[str, float], *, controls: Controls = NO_CONTROLS, **options: Any) -> list[Conclusion]:
    return verdict(compared(levels, **options), "control", "student", "dB", controls)


LEVELS = {"zero-filled": -2.0, "teacher": 2.0, "student": 0.5, "control": 1.0}


def test_the_best_arm_that_beats_the_control_comes_first_and_is_delivered() -> None:
    lines = [line.text for line in found({**LEVELS, "a": 1.25, "b": 1.5, "c": 0.75})]
    assert lines[0] == ("verdict: b beats control by 0.500 [0.500, 0.500] dB in psnr; so do 1 more of 3 arms")
    assert lines[-1] == "next: deliver the student: i2ikd export DIR/students/b/seed0 --bundle bundle"


def test_a_network_that_is_larger_than_the_control_does_not_win() -> None:
    levels = {**LEVELS, "plain-teacher": 1.75, "a": 1.25, "b": 1.5}
    sizes = {"teacher": 300, "student": 100, "control": 100, "plain-teacher": 180, "a": 100, "b": 60}
    lines = [line.text for line in found(levels, params=sizes)]
    assert lines[0] == (
        "verdict: b beats control by 0.500 [0.500, 0.500] dB in psnr; so do 1 more of 2 arms; not counted, as larger "
        "than control: plain-teacher"
    )
    assert lines[-1].startswith("next: deliver the student: i2ikd export DIR/students/b/")
    (own,) = [line for line in lines if line.startswith("plain-teacher ")]
    assert own.startswith("plain-teacher is better than control by 0.750 [0.750, 0.750] dB in psnr (p 0.")
    assert own.endswith(", with 1.8 times its parameters")


def test_where_every_arm_is_larger_the_best_of_them_wins() -> None:
    lines = [line.text for line in found({**LEVELS, "a": 1.5}, params={"control": 100, "a": 200})]
    assert lines[0] == "verdict: a beats control by 0.500 [0.500, 0.500] dB in psnr"


ALONE = Controls(without_teacher=frozenset({"student", "control", "faster"}), rates=frozenset({1e-3, 4e-3}))


def test_an_arm_without_a_teacher_is_a_control_and_not_a_winner() -> None:
    levels = {**LEVELS, "faster": 1.75, "a": 1.5}
    lines = found(levels, controls=ALONE)
    assert lines[0].text == "verdict: a beats control by 0.500 [0.500, 0.500] dB in psnr"
    (warning,) = [line for line in lines if line.warning]
    assert warning.text.startswith(
        "warning: faster, which has no teacher, is better than control by 0.750 [0.750, 0.750] dB in psnr; "
    )
    assert "-o comparison.control=faster" in warning.text and warning.arm == "faster"
    (own,) = [line.text for line in lines if line.text.startswith("faster ")]
    assert own.endswith(", without a teacher")
    assert not [line for line in found({**levels, "faster": 0.75}, controls=ALONE) if line.warning]


def test_without_an_arm_that_has_a_teacher_the_best_arm_wins() -> None:
    lines = found({**LEVELS, "faster": 1.75}, controls=ALONE)
    assert lines[0].text == "verdict: faster beats control by 0.750 [0.750, 0.750] dB in psnr"
    assert not [line for line in lines if line.warning]


@pytest.mark.parametrize(
    ("rates", "level", "stated"),
    [((1e-3,), 1.5, True), ((1e-3, 4e-3), 1.5, False), ((), 1.5, False), ((1e-3,), 0.5, False)],
)
def test_a_gain_over_a_control_of_one_learning_rate_is_limited(
    rates: tuple[float, ...], level: float, stated: bool
) -> None:
    lines = [line.text for line in found({**LEVELS, "a": level}, controls=Controls(rates=frozenset(rates)))]
    assert any("one learning rate of control" in line for line in lines if line.startswith("limits: ")) == stated


def test_the_direction_of_the_metric_decides() -> None:
    down = {"teacher": 0.0, "student": 3.0, "control": 2.0, "a": 1.0, "b": 2.5}
    assert found(down, upward=False)[0].text.startswith("verdict: a beats control by 1.00 [1.00, 1.00] dB in psnr")


def test_no_arm_beats_the_control() -> None:
    lines = [line.text for line in found({**LEVELS, "a": 0.25, "b": 0.75})]
    assert lines[0] == (
        "verdict: none of 2 arms beats control; the largest difference is -0.250 [-0.250, -0.250] dB in psnr, of b"
    )
    assert lines[-1].startswith("next: other methods")
    (head, *_, last) = [line.text for line in found({**LEVELS, "a": 1.01}, noise=0.5)]
    assert head.startswith("verdict: a does not beat control: ")
    assert last.startswith("next: more seeds, or more test subjects, as 1 of 1 intervals include 0")


@pytest.mark.parametrize(
    ("changes", "reference"),
    [({"teacher": 0.5}, "control"), ({"zero-filled": 3.0}, "zero-filled"), ({"student": 2.5}, "student")],
)
def test_a_teacher_that_is_not_above_control_baseline_and_student_is_not_worth_copying(
    changes: dict[str, float], reference: str
) -> None:
    lines = found({**LEVELS, "a": 1.5, **changes})
    (warning, *others) = [line for line in lines if line.warning][::-1]
    assert warning.arm == "teacher" and reference in warning.text
    assert len(others) == (reference == "zero-filled"), "arms that are below it"
    assert lines[0].text.endswith("; the teacher is not worth copying")
    assert lines[-1].text.startswith("next: a better teacher")
    assert not any(line.warning for line in found({**LEVELS, "a": 1.5}))


@pytest.mark.parametrize("upward", [True, False])
def test_arms_that_are_not_above_the_best_baseline_have_failed(upward: bool) -> None:
    levels = {"zero-filled": -2.0, "teacher": 2.0, "student": -2.25, "control": 1.0, "a": 1.5, "b": -2.0}
    signed = levels if upward else {arm: -level for arm, level in levels.items()}
    (warning,) = [line for line in found(signed, upward=upward) if line.warning]
    assert warning.text.startswith("warning: not clearly better than zero-filled, which needs no training: student, b;")
    assert not [line for line in found({**LEVELS, "a": 1.5}) if line.warning]


def test_records_are_sorted_as_often_for_many_arms_as_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def spy(records: Sequence[Record], metric: str) -> Tables:
        calls.append(metric)
        return pivot(records, metric)

    for module in ("verdict", "conclusions"):
        monkeypatch.setattr(f"i2ikd.experiment.{module}.pivot", spy)
    found({**LEVELS, "a": 1.5})
    few, many = len(calls), {f"arm-{number}": 1.5 for number in range(9)}
    found({**LEVELS, **many})
    assert len(calls) == 2 * few


def test_one_seed_is_run_again_with_more() -> None:
    lines = found({**LEVELS, "a": 1.5}, seeds=(0,))
    assert lines[-1].text.startswith("next: the same command with --seeds 3")


def test_without_a_control_the_verdict_states_what_is_missing() -> None:
    (line,) = found({"teacher": 2.0, "student": 0.5, "a": 1.0})
    assert line.warning and "no control 'control'" in line.text and "recipe = 'student'" in line.text


def test_without_a_method_there_is_no_verdict() -> None:
    assert found(LEVELS) == []
