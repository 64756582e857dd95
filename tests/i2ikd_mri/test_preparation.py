"""The NumPy preparation of bundles computes the inputs that the tasks compute from the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from i2ikd_mri import preparation

import i2ikd
from i2ikd import Task

RNG = np.random.default_rng(5)
REAL = (300 * RNG.random((2, 24, 20)) - 20).astype(np.float32)
COMPLEX = (REAL * np.exp(1j * RNG.random((2, 24, 20)))).astype(np.complex64)
PHANTOM = {"name": "phantom", "train": 1, "val": 1, "test": 1, "slices": 1, "size": [24, 20]}

RECONSTRUCTIONS: list[dict[str, Any]] = [
    {},
    {"mode": "complex", "mask": {"axis": 1}},
    {"centered": True, "input": "magnitude"},
    {"mode": "complex", "centered": True, "mask": {"name": "equispaced", "acceleration": 3}},
]
ENLARGEMENTS: list[dict[str, Any]] = [
    {"factor": 2},
    {"factor": 2, "grid": "low"},
    {"factor": 1.7, "combine": "complex"},
    {"keep": [12, 8]},
]


def prepared(task: Task, values: np.ndarray, arrays: dict[str, Any] | None = None, **switches: bool) -> list[Any]:
    """Return the inputs of all slices."""
    made = task.preparation()
    assert made is not None and made.load() is preparation
    options = {**made.options, **switches}
    scale = preparation.scale_of(values, options)
    return [preparation.network_inputs(one / scale, options, {**made.arrays, **(arrays or {})}) for one in values]


def close(found: np.ndarray, expected: Any) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("options", RECONSTRUCTIONS, ids=str)
@pytest.mark.parametrize("values", [REAL, COMPLEX], ids=["real", "complex"])
def test_slices_are_undersampled_as_by_the_task(options: dict[str, Any], values: np.ndarray, tmp_path: Path) -> None:
    task: Any = i2ikd.create("task", "mri-recon", dataset=PHANTOM, **options)
    np.save(tmp_path / "new.npy", values)
    samples = task.sample_from_file(tmp_path / "new.npy")
    for index, inputs in enumerate(prepared(task, values)):
        sample = samples[index]
        close(inputs["input"], sample.input)
        close(inputs["mask"], sample.conditions["mask"])
        measured = preparation._inverse_fourier(sample.conditions["kspace"][0].numpy(), task.centered)
        channels = [measured.real, measured.imag] if task.mode == "complex" else [measured.real]
        np.testing.assert_allclose(inputs["measured"], channels, atol=2e-6)


def test_slices_are_resampled_to_the_size_of_the_dataset(tmp_path: Path) -> None:
    """Along one axis to more, along the other to fewer pixels, of which one number is odd."""
    for number, name in enumerate(("new", "other", "third")):
        np.save(tmp_path / f"{name}.npy", REAL + number)
    task: Any = i2ikd.create(
        "task", "mri-recon", dataset={"root": str(tmp_path), "size": [31, 16], "normalise": "none"}
    )
    samples = task.sample_from_file(tmp_path / "new.npy")
    for index, inputs in enumerate(prepared(task, REAL)):
        np.testing.assert_allclose(inputs["input"], samples[index].input, atol=1e-3)  # values up to 280


def test_measured_k_space_has_its_own_mask(tmp_path: Path) -> None:
    mask = np.zeros((24, 1), np.float32)
    mask[[0, 1, 2, 5, 9, 22, 23]] = 1
    kspace = (np.fft.fft2(COMPLEX, norm="ortho") * mask).astype(np.complex64)
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["kspace"] = kspace
    reader = {"name": "hdf5", "kspace": "kspace", "axes": "slices height width"}
    dataset = {"root": str(tmp_path), "reader": reader}
    task: Any = i2ikd.create("task", "mri-recon", dataset=dataset, mode="complex")
    samples = task.sample_from_file(tmp_path / "new.h5")
    made = i2ikd.create("task", "mri-recon", dataset=PHANTOM, mode="complex")
    for arrays in ({}, {"mask": mask}):
        for index, inputs in enumerate(prepared(made, kspace, arrays, kspace=True)):
            close(inputs["input"], samples[index].input)
            close(inputs["mask"], samples[index].conditions["mask"])


@pytest.mark.parametrize("simulate", [False, True])
@pytest.mark.parametrize("options", ENLARGEMENTS, ids=str)
def test_resolution_is_as_in_the_task(options: dict[str, Any], simulate: bool, tmp_path: Path) -> None:
    size = {"size": [24, 16]} if "keep" in options else {}
    task: Any = i2ikd.create("task", "mri-sr", dataset={"root": str(tmp_path), **size}, **options)
    np.save(tmp_path / "new.npy", np.abs(COMPLEX))
    samples = task.sample_from_file(tmp_path / "new.npy", simulate)
    for index, inputs in enumerate(prepared(task, np.abs(COMPLEX), simulate=simulate)):
        assert set(inputs) == {"input"}
        close(inputs["input"], samples[index].input)


def test_what_does_not_fit_is_an_error_of_one_line() -> None:
    task: Any = i2ikd.create("task", "mri-recon", dataset=PHANTOM)
    with pytest.raises(ValueError, match=r"of a size with a mask \(24x20\), got 24x22; pass --mask FILE"):
        prepared(task, np.ones((1, 24, 22), np.float32))
    with pytest.raises(ValueError, match="expected a mask of 24x20 or of its lines, got 22x1"):
        prepared(task, np.ones((1, 24, 20), np.float32), {"mask": np.ones((22, 1), np.float32)})
    with pytest.raises(ValueError, match="expected an image, got zeros only"):
        prepared(task, np.zeros((1, 24, 20), np.float32))
    with pytest.raises(ValueError, match="NaN or infinity"):
        prepared(task, np.full((1, 24, 20), np.nan, np.float32))
    with pytest.raises(ValueError, match="expected an undersampled k-space, got a fully sampled one"):
        prepared(task, np.ones((1, 24, 20), np.complex64), kspace=True)
    random: Any = i2ikd.create("task", "mri-recon", dataset=PHANTOM, mask={"fixed": False})
    assert random.preparation().arrays == {}
    enlarging: Any = i2ikd.create("task", "mri-sr", dataset=PHANTOM, factor=2)
    with pytest.raises(ValueError, match="expected low-resolution images, got k-space; omit --kspace"):
        prepared(enlarging, np.ones((1, 24, 20), np.complex64), kspace=True)
