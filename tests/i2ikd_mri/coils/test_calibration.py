"""The calibration region is the largest measured block around zero frequency."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from i2ikd_mri.coils.calibration import calibration_size, central_part

from i2ikd import UserError


@given(before=st.integers(0, 9), after=st.integers(1, 9), more=st.integers(0, 8), axis=st.sampled_from([0, 1]))
def test_of_lines_it_is_the_run_around_the_centre(before: int, after: int, more: int, axis: int) -> None:
    length = 20 + more % 2
    middle = length // 2
    line = torch.zeros(length)
    line[middle - before : middle + after] = 1
    line[0] = line[-1] = 1
    shape, mask = ((length, 5), line[:, None]) if axis == 0 else ((5, length), line[None])
    size = calibration_size(mask, shape, centered=True)
    assert size[1 - axis] == 5
    block = central_part(mask.expand(shape), size, centered=True)
    assert block.shape == size and block.all()
    wider = list(size)
    wider[axis] += 1
    if wider[axis] <= length:
        assert not central_part(mask.expand(shape), (wider[0], wider[1]), centered=True).all()
    assert calibration_size(torch.fft.ifftshift(mask, (0, 1)), shape, centered=False) == size


def test_of_a_plane_it_grows_along_both_axes() -> None:
    mask = torch.zeros(12, 9)
    mask[3:9, 2:6] = 1
    assert calibration_size(mask, (12, 9), centered=True) == (6, 4)
    assert calibration_size(torch.ones(12, 9), (12, 9), centered=True) == (12, 9)


def test_a_mask_without_the_centre_is_refused() -> None:
    with pytest.raises(UserError, match="measures the centre of k-space, got one without zero frequency"):
        calibration_size(torch.tensor([[1.0, 1, 0, 1]]), (4, 4), centered=True)


@pytest.mark.parametrize("size", [(3, 4), (4, 3), (7, 6)])
def test_zero_frequency_is_in_the_middle_of_the_part(size: tuple[int, int]) -> None:
    kspace = torch.zeros(2, 7, 6)
    kspace[:, 3, 3] = 1
    for stored, centered in ((kspace, True), (torch.fft.ifftshift(kspace, (-2, -1)), False)):
        part = central_part(stored, size, centered)
        assert part.shape == (2, *size) and part[:, size[0] // 2, size[1] // 2].all() and part.sum() == 2
