"""Records: scores by slice, exact CSV, means by volume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from i2ikd.errors import UserError
from i2ikd.evaluation.metrics import MaeSlice, NmseSlice, PsnrSliceMax, SsimVolumeMax
from i2ikd.evaluation.records import (
    NO_SEED,
    Record,
    VolumeImages,
    VolumeName,
    per_volume,
    pivot,
    read_records,
    score_volume,
    score_volumes,
    write_records,
)
from i2ikd.metric import Metric


class Largest(Metric):
    """The largest value of the prediction."""

    scope: ClassVar[Literal["slice", "volume"]] = "volume"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        return float(prediction.max())


METRICS: dict[str, Metric] = {"mae-slice": MaeSlice(), "largest": Largest(), "psnr-slice-max": PsnrSliceMax()}


def images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.random((count, 11, 8)).astype(np.float32)
    return target + np.float32(0.05) * random.standard_normal(target.shape).astype(np.float32), target


def test_a_slice_metric_differs_by_slice_and_a_volume_metric_is_repeated() -> None:
    predictions, targets = images(4)
    rows = score_volume(METRICS, predictions, targets)
    assert [list(row) for row in rows] == [["mae-slice", "largest", "psnr-slice-max"]] * 4
    assert [row["mae-slice"] for row in rows] == [MaeSlice()(p, t) for p, t in zip(predictions, targets)]
    assert {row["largest"] for row in rows} == {float(predictions.max())}


@pytest.mark.parametrize("workers", [None, 1, 5])
def test_threads_change_neither_the_numbers_nor_their_order(workers: int | None) -> None:
    stacks = {"b": images(3, 1), "a": images(5, 2)}
    volumes = [
        VolumeImages("b", *stacks["b"], subject="anna"),
        VolumeImages("a", *stacks["a"], indices=[9, 4, 5, 6, 7]),
    ]
    records = score_volumes(METRICS, volumes, "kd-mri", 3, workers)
    assert [(r.volume, r.slice) for r in records] == [
        ("b", 0), ("b", 1), ("b", 2), ("a", 9), ("a", 4), ("a", 5), ("a", 6), ("a", 7),
    ]  # fmt: skip
    assert {(r.arm, r.seed) for r in records} == {("kd-mri", 3)}
    assert [r.subject for r in records] == ["anna"] * 3 + ["a"] * 5, "a volume's name, unless its subject is known"
    assert [r.scores for r in records] == score_volume(METRICS, *stacks["b"]) + score_volume(METRICS, *stacks["a"])


def test_a_diverged_network_is_an_error_and_no_better_mean() -> None:
    predictions, targets = images(3)
    predictions[1, 4, 5] = np.nan
    predictions[2, 0, 0] = np.inf
    with pytest.raises(UserError, match=r"brain7: 2 of 264 values of the prediction are not finite.*diverged"):
        score_volumes(METRICS, [VolumeImages("brain7", predictions, targets)], "student", 0)


def test_what_a_metric_refuses_names_the_volume() -> None:
    small = np.ones((2, 5, 9), np.float32)
    with pytest.raises(UserError, match="ssim of knee3: SSIM has a window of 7x7"):
        score_volumes({"ssim": SsimVolumeMax()}, [VolumeImages("knee3", small, small)], "student", 0)


@pytest.mark.parametrize("shape", [(4, 11, 9), (11, 8)])
def test_stacks_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="stacks"):
        score_volume(METRICS, np.ones(shape), np.ones((4, 11, 8)))


def test_records_come_back_exactly(tmp_path: Path) -> None:
    records = [
        Record('kd, "mri"', 2, "sub,\nject", "vol\r\nume\n1", 7, {"psnr": 0.1 + 0.2, "nmse": 5e-324}),
        Record("zero-filled", NO_SEED, "σ", "π", 0, {"psnr": -1 / 3, "nmse": 1.7976931348623157e308}),
        Record("student", 10, "", "", 12, {"nmse": np.float64(1e-7)}),
    ]
    path = tmp_path / "records.csv"
    write_records(path, records)
    assert path.read_bytes().startswith(b"arm,seed,subject,volume,slice,psnr,nmse\n")
    assert read_records(path) == records


def test_an_undefined_score_comes_back_undefined(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    write_records(path, [Record("a", 0, "v", "v", 0, {"psnr": math.nan})])
    assert math.isnan(read_records(path)[0].scores["psnr"])


def test_no_records_are_an_empty_table(tmp_path: Path) -> None:
    write_records(tmp_path / "records.csv", [])
    assert read_records(tmp_path / "records.csv") == []


HEAD = "arm,seed,subject,volume,slice,psnr\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "first line must start with arm,seed,subject,volume,slice"),
        ("volume,psnr\nv,1\n", "first line must start with"),
        (HEAD + "a,0,s,v,0,1.5\na,0,s,v\n", "line 3: 4 cells where the header has 6"),
        (HEAD + "a,zero,s,v,0,1.5\n", "line 2: invalid literal"),
        (HEAD + "a,0,s,v,0,good\n", "line 2: could not convert"),
        ("arm,seed,volume,slice,psnr\na,0,v,0,1.5\n", "no column 'subject'.*run `i2ikd compare` again"),
        (HEAD + "a,0,s," + "v" * 200_000 + ",0,1\n", "field larger than field limit"),
    ],
)
def test_a_file_that_is_no_table_of_records_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "records.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_records(path)
    assert str(path) in str(caught.value)


def test_a_volume_of_a_subject_is_the_mean_of_its_slices_by_arm_and_seed() -> None:
    records = [
        Record("a", 0, "s", "v", 0, {"psnr": 30.0}),
        Record("a", 0, "s", "v", 1, {"psnr": 33.0}),
        Record("a", 0, "s", "w", 0, {"psnr": 20.0}),
        Record("a", 0, "t", "v", 0, {"psnr": 25.0}),
        Record("a", 1, "s", "v", 0, {"psnr": 31.0}),
        Record("b", 0, "s", "v", 0, {"psnr": 1.0}),
    ]
    assert per_volume(records, "psnr") == {
        ("a", 0, ("s", "v")): 31.5, ("a", 0, ("s", "w")): 20.0, ("a", 0, ("t", "v")): 25.0,
        ("a", 1, ("s", "v")): 31.0, ("b", 0, ("s", "v")): 1.0,
    }  # fmt: skip


def test_the_score_of_a_volume_survives_the_mean_over_its_slices_exactly() -> None:
    value = 0.1 + 0.2
    for count in range(1, 60):
        records = [Record("a", 0, "v", "v", index, {"psnr": value}) for index in range(count)]
        assert per_volume(records, "psnr")["a", 0, VolumeName("v", "v")] == value


def test_slices_without_a_score_do_not_count() -> None:
    predictions, targets = images(3)
    targets[1] = 0
    records = score_volumes({"nmse-slice": NmseSlice()}, [VolumeImages("v", predictions, targets)], "a", 0)
    expected = (NmseSlice()(predictions[0], targets[0]) + NmseSlice()(predictions[2], targets[2])) / 2
    assert per_volume(records, "nmse-slice")["a", 0, VolumeName("v", "v")] == pytest.approx(expected, rel=1e-12)
    assert math.isnan(per_volume(records[1:2], "nmse-slice")["a", 0, VolumeName("v", "v")])


def test_an_unknown_metric_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'psnr-volume-max'"):
        per_volume([Record("a", 0, "v", "v", 0, {"psnr-volume-max": 1.0})], "psnr-volume-mx")


def test_tables_of_arms_share_seeds_and_volumes() -> None:
    records = [
        Record("a", 5, "w", "w", 0, {"psnr": 1.0}),
        Record("a", 2, "v", "v", 0, {"psnr": 2.0}),
        Record("b", 2, "w", "w", 0, {"psnr": 3.0}),
        Record("zero-filled", NO_SEED, "v", "v", 0, {"psnr": 4.0}),
        Record("zero-filled", NO_SEED, "w", "w", 0, {"psnr": 5.0}),
    ]
    tables, subjects = pivot(records, "psnr")
    nan = math.nan
    assert subjects == ["v", "w"]
    np.testing.assert_array_equal(tables["a"], [[2.0, nan], [nan, 1.0]])
    np.testing.assert_array_equal(tables["b"], [[nan, 3.0], [nan, nan]])
    np.testing.assert_array_equal(tables["zero-filled"], [[4.0, 5.0]])


def test_volumes_of_one_name_are_distinguished_by_subject() -> None:
    records = [
        Record("a", 0, "tom", "session-2", 0, {"psnr": 1.0}),
        Record("a", 0, "tom", "session-1", 0, {"psnr": 2.0}),
        Record("a", 0, "ida", "session-1", 0, {"psnr": 3.0}),
    ]
    tables = pivot(records, "psnr")
    np.testing.assert_array_equal(tables.arms["a"], [[3.0, 2.0, 1.0]])
    assert tables.subjects == ["ida", "tom", "tom"]


def test_an_arm_both_with_and_without_a_seed_is_refused() -> None:
    records = [Record("a", NO_SEED, "v", "v", 0, {"psnr": 1.0}), Record("a", 0, "v", "v", 0, {"psnr": 1.0})]
    with pytest.raises(UserError, match="both with and without a seed"):
        pivot(records, "psnr")
