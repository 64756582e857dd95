"""Which ranges of a volume are refused, and which are warned of, once a volume."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pytest
from i2ikd_mri.volumes import PreparedVolume, SliceChoice

from i2ikd import UserError

Normalise = Literal["volume", "none"]


class Stored:
    """A volume in memory [slices, H, W]; reads are counted."""

    name = "v"

    def __init__(self, slices: np.ndarray, field: str = "image") -> None:
        self._slices = slices
        self._field = field
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        self.reads.append(index)
        return {self._field: self._slices[index]}


def slices_in(low: float, high: float, kind: Any = np.float32) -> np.ndarray:
    """Four slices, the extremes in two of them."""
    stack = np.random.default_rng(1).uniform(low, high, (4, 6, 5))
    stack[1, 2, 3], stack[2, 0, 1] = low, high
    return stack.astype(kind)


BOTH = pytest.mark.parametrize("normalise", ["volume", "none"])


@BOTH
@pytest.mark.parametrize(("low", "high"), [(-3.0, -0.5), (-1.0, 0.0)])
def test_a_volume_whose_maximum_is_not_positive_is_refused(normalise: Normalise, low: float, high: float) -> None:
    volume = PreparedVolume(Stored(slices_in(low, high)), "anna", normalise=normalise)
    got = re.escape(f"got values in {low:.4g}..{high:.4g};")
    for _ in range(2):
        with pytest.raises(UserError, match=f"'anna': expected an image whose maximum is positive, {got}"):
            volume[0]


@BOTH
def test_a_volume_that_is_all_zero_is_refused_whatever_its_type(normalise: Normalise) -> None:
    for kind in (np.float32, np.complex64):
        for field in ("image", "undersampled"):
            volume = PreparedVolume(Stored(np.zeros((2, 6, 5), kind), field), "v", normalise=normalise)
            with pytest.raises(UserError, match="'v' is all zero"):
                volume[1]


@BOTH
@pytest.mark.parametrize(("low", "warned"), [(-0.06, True), (-2.5, True), (-0.04, False), (0.0, False), (0.1, False)])
def test_negative_values_beyond_a_twentieth_of_the_maximum_are_warned_of_once(
    normalise: Normalise, low: float, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for scale in (1.0, 255.0):
        volume = PreparedVolume(Stored(scale * slices_in(low, 1.0)), "anna", normalise=normalise)
        for index in (2, 0, 1, 3, 0):
            volume[index]
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == warned
        if warned:
            assert lines[0].startswith(
                "i2ikd: warning: volume 'anna': expected an image that starts at 0, got values in"
            )
            assert f"{scale * low:.4g}..{scale:.4g}" in lines[0]


def test_what_is_scored_as_a_magnitude_or_not_at_all_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    for stack, field in ((slices_in(-3, -1, np.complex64), "image"), (slices_in(-3, -1), "undersampled")):
        np.testing.assert_allclose(PreparedVolume(Stored(stack, field), "v")[1][field], stack[1] / 3, rtol=1e-6)
    assert capsys.readouterr().err == ""


def test_ringing_of_the_datasets_own_resampling_is_not_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.zeros((1, 24, 20), np.float32)
    stack[0, 6:18, 5:15] = 1
    resampled = PreparedVolume(Stored(stack), "v", size=(11, 9))[0]["image"]
    assert resampled.min() < -0.05 * resampled.max()
    assert capsys.readouterr().err == ""


def test_slices_that_are_not_used_are_not_judged_and_not_read_for_it() -> None:
    stack = slices_in(0, 1)
    stack[[0, 3]] -= 5
    stored = Stored(stack)
    volume = PreparedVolume(stored, "v", normalise="none", slices=SliceChoice(limit=2))
    np.testing.assert_array_equal(volume[1]["image"], stack[2])
    np.testing.assert_array_equal(volume[0]["image"], stack[1])
    assert stored.reads == [1, 2], "each once: what was read for the check is kept until it is asked for"


def test_a_volume_without_an_image_cannot_be_scaled_by_it() -> None:
    kspace = np.ones((2, 6, 5), np.complex64)
    with pytest.raises(UserError, match="'v': normalise = 'volume' needs an image"):
        PreparedVolume(Stored(kspace, "kspace"), "v")[0]
    assert PreparedVolume(Stored(kspace, "kspace"), "v", normalise="none")[0]["kspace"].sum() == 30
