"""A stored k-space without an image of its own shows where its zero frequency is."""

from __future__ import annotations

import pytest
import torch
from i2ikd_mri.fourier import fourier
from i2ikd_mri.masks import VariableDensity
from i2ikd_mri.phantom import PhantomDataset
from i2ikd_mri.slices import Slice
from i2ikd_mri_recon.undersampling import Undersampling

from i2ikd import SampleKey, UserError

KEY = SampleKey(volume="head", index=0)


@pytest.mark.parametrize("centered", [True, False])
def test_zero_frequency_at_the_other_position_is_refused(centered: bool) -> None:
    (volume,) = PhantomDataset(train=1, slices=1, size=(64, 48)).volumes("train")
    image = torch.from_numpy(volume[0]["image"].copy())
    mask = VariableDensity(acceleration=4)
    kspace = fourier(image, centered) * mask((64, 48), (), centered)
    found = Slice(None, kspace, None, "head.h5, slice 0")
    sample = Undersampling(mask, "real", centered, False).stored(found, KEY)
    torch.testing.assert_close(sample.conditions["kspace"][0], kspace)
    stated, position = ("index 0", "n // 2") if centered else ("n // 2", "index 0")
    message = f"head.h5, slice 0: .*zero frequency at {stated}, got .* at {position}; set centered = {centered!s}"
    with pytest.raises(UserError, match=f"(?i){message}"):
        Undersampling(mask, "real", not centered, False).stored(found, KEY)


def test_a_mask_of_the_file_precedes_those_of_task_and_support() -> None:
    own = torch.zeros(8, 1)
    own[[0, 1, 7]] = 1
    kspace = torch.randn(8, 6, dtype=torch.complex64) * own
    kspace[7] = 0  # measured, and 0
    for own_mask in (False, True):
        undersampling = Undersampling(VariableDensity(acceleration=2), "real", False, own_mask)
        sample = undersampling.stored(Slice(None, kspace, None, "x", own), KEY)
        assert torch.equal(sample.conditions["mask"][0], own)
        assert torch.equal(sample.conditions["kspace"][0], kspace)


def test_fully_sampled_kspace_is_no_input() -> None:
    found = Slice(None, torch.ones(8, 6, dtype=torch.complex64), None, "head.h5, slice 0")
    with pytest.raises(UserError, match=r"head\.h5, slice 0: expected an undersampled k-space, got a fully"):
        Undersampling(VariableDensity(), "real", False, False).stored(found, KEY)
