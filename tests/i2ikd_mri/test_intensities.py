"""Intensity ranges of a volume: errors and warnings, once per volume."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pytest
from i2ikd_mri.volumes import PreparedVolume, SliceChoice

from i2ikd import UserError

Normalise = Literal["volume", "none"]


class Stored:
    """Volume in memory [slices, H, W] that records the slices read."""

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
    """Return four slices; two of them contain the extremes."""
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
def test_a_volume_of_zeros_of_any_type_is_refused(normalise: Normalise) -> None:
    for kind in (np.float32, np.complex64):
        for field in ("image", "undersampled"):
            volume = PreparedVolume(Stored(np.zeros((2, 6, 5), kind), field), "v", normalise=normalise)
            with pytest.raises(UserError, match="'v' is all zero"):
                volume[1]


@BOTH
@pytest.mark.parametrize(("low", "warned"), [(-0.06, True), (-2.5, True), (-0.04, False), (0.0, False), (0.1, False)])
def test_negative_values_beyond_a_twentieth_of_the_maximum_cause_one_warning(
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


def test_complex_and_undersampled_images_are_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    for stack, field in ((slices_in(-3, -1, np.complex64), "image"), (slices_in(-3, -1), "undersampled")):
        np.testing.assert_allclose(PreparedVolume(Stored(stack, field), "v")[1][field], stack[1] / 3, rtol=1e-6)
    assert capsys.readouterr().err == ""


def test_ringing_of_resampling_causes_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.zeros((1, 24, 20), np.float32)
    stack[0, 6:18, 5:15] = 1
    resampled = PreparedVolume(Stored(stack), "v", size=(11, 9))[0]["image"]
    assert resampled.min() < -0.05 * resampled.max()
    assert capsys.readouterr().err == ""


def test_unselected_slices_are_neither_checked_nor_read() -> None:
    stack = slices_in(0, 1)
    stack[[0, 3]] -= 5
    stored = Stored(stack)
    volume = PreparedVolume(stored, "v", normalise="none", slices=SliceChoice(limit=2))
    np.testing.assert_array_equal(volume[1]["image"], stack[2])
    np.testing.assert_array_equal(volume[0]["image"], stack[1])
    assert stored.reads == [1, 2], "each once: slices read for the check are cached until their use"


@pytest.mark.parametrize("centred", [False, True])
def test_k_space_alone_is_scaled_by_its_zero_filled_image(centred: bool) -> None:
    random = np.random.default_rng(3)
    kspace = (random.standard_normal((2, 6, 5)) + 1j * random.standard_normal((2, 6, 5))).astype(np.complex64)
    images = np.fft.ifft2(np.fft.ifftshift(kspace, (1, 2)) if centred else kspace, norm="ortho")
    found = PreparedVolume(Stored(kspace, "kspace"), "v")[1]["kspace"]
    np.testing.assert_allclose(found, kspace[1] / np.abs(images).max(), rtol=1e-5)
    np.testing.assert_array_equal(
        PreparedVolume(Stored(kspace, "kspace"), "v", normalise="none")[0]["kspace"], kspace[0]
    )


def test_a_volume_without_image_and_k_space_cannot_be_scaled() -> None:
    with pytest.raises(UserError, match="'v': normalise = 'volume' needs an image or a k-space"):
        PreparedVolume(Stored(np.ones((2, 6, 5), np.float32), "mask"), "v")[0]
