"""Overview of several comparisons: cells, means, seeds of several folders, and what cannot be put side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record
from i2ikd.experiment.overview import make_overview
from i2ikd.experiment.summary import Comparison, RowKind, summarise

METRIC = "psnr-volume-max"
LEVELS = {"teacher": 32.0, "student": 30.0, "control": 30.4, "recommended": 31.0}


def comparison(
    name: str, seeds: tuple[int, ...] = (0, 1), shift: float = 0.0, levels: dict[str, float] = LEVELS
) -> Comparison:
    records = [Record("zero-filled", NO_SEED, volume, volume, 0, {METRIC: 20.0}) for volume in "abcd"]
    for arm, level in levels.items():
        gain = (level - 30) * (1 + shift)
        records += [
            Record(arm, seed, volume, volume, 0, {METRIC: 30 + gain * (1 + 0.1 * seed) + n})
            for seed in seeds
            for n, volume in enumerate("abcd")
        ]
    kinds: dict[str, RowKind] = {"zero-filled": "baseline", "teacher": "teacher"}
    kinds |= {arm: "arm" for arm in levels if arm != "teacher"}
    made = summarise(name, {}, {"psnr": METRIC}, records, kinds, {}, ["student"], "student", {METRIC: True})
    made.student = "student"
    return made


def test_arms_are_compared_with_student_and_control_in_every_comparison_and_in_the_mean() -> None:
    overview = make_overview([comparison("brain"), comparison("knee", shift=1.0)])
    assert overview.comparisons == ["brain", "knee"] and list(overview.cells) == list(LEVELS)
    brain, knee = (overview.cells["recommended"][name] for name in ("brain", "knee"))
    assert brain.differences["student"].mean == pytest.approx(1.05)
    assert knee.differences["control"].mean == pytest.approx(1.2 * 1.05)
    assert brain.gap_closed is not None and brain.gap_closed.mean == pytest.approx(0.5)
    means = overview.means["recommended"]
    assert means.differences["student"].mean == pytest.approx((1.05 + 2.1) / 2)
    assert means.gap_closed is not None and means.gap_closed.mean == pytest.approx(0.5)
    assert overview.cells["student"]["brain"].gap_closed is None is overview.cells["teacher"]["brain"].gap_closed
    json.dumps(overview.as_json(), allow_nan=False)


def test_arms_are_compared_with_any_rows() -> None:
    parts = [comparison("brain"), comparison("knee", shift=1.0)]
    overview = make_overview(parts, ["recommended"], ["teacher", "zero-filled"])
    cell, usual = overview.cells["recommended"]["brain"], make_overview(parts).cells["teacher"]["brain"]
    assert list(cell.differences) == overview.references == ["teacher", "zero-filled"]
    assert cell.differences["teacher"].mean == pytest.approx(1.05 - usual.differences["student"].mean)
    assert cell.differences["zero-filled"].mean == pytest.approx(cell.value - 20)
    assert overview.means["recommended"].differences["teacher"].mean == pytest.approx((-1.05 - 2.1) / 2)
    (alone,) = make_overview(parts[:1], ["recommended"], ["teacher"]).cells["recommended"].values()
    assert alone.differences["teacher"] == cell.differences["teacher"]
    with pytest.raises(UserError, match="the reference 'review' is in none of the comparisons; they have: zero-filled"):
        make_overview(parts, references=["review"])


def test_folders_of_one_experiment_are_joined_by_seed() -> None:
    parts = [comparison("brain", (0,)), comparison("brain", (1, 2))]
    joined, whole = make_overview(parts), make_overview([comparison("brain", (0, 1, 2))])
    assert joined == whole and joined.cells["control"]["brain"].seeds == [0, 1, 2]
    assert not joined.means, "one comparison has no mean over comparisons"


def test_an_arm_of_some_seeds_or_comparisons_only() -> None:
    some = {**LEVELS, "kd-mri": 29.0}
    overview = make_overview([comparison("brain", (0,), levels=some), comparison("brain", (1,)), comparison("knee")])
    cell = overview.cells["kd-mri"]["brain"]
    assert cell.seeds == [0] and cell.differences["student"].mean == pytest.approx(-1.0)
    assert list(overview.cells["kd-mri"]) == ["brain"] and "kd-mri" not in overview.means
    assert list(make_overview([comparison("brain"), comparison("knee")], ["control"]).cells) == ["control"]


def test_what_cannot_be_put_side_by_side_is_refused() -> None:
    one, other = comparison("brain"), comparison("knee")
    with pytest.raises(
        UserError, match=r"brain: expected other seeds in each folder, got the arm 'teacher' with seed 0"
    ):
        make_overview([one, comparison("brain")])
    with pytest.raises(UserError, match="knee: expected the control 'control', as in brain, got 'plain'"):
        make_overview([one, replace(other, control="plain")])
    with pytest.raises(UserError, match="expected the metric in the first column 'psnr-volume-max'"):
        make_overview([one, replace(other, columns={"ssim": "ssim-volume-max"})])
    with pytest.raises(UserError, match="the arm 'review' is in none of the comparisons; they have: teacher, student"):
        make_overview([one, other], ["review"])
