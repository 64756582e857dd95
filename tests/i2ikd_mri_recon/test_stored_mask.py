"""A mask that is stored with the slices is the sampling pattern on request, and never ignored in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from i2ikd_mri.phantom import PhantomDataset

import i2ikd
from i2ikd import Task, UserError

SIZE = (40, 36)
RNG = np.random.default_rng(5)


def image() -> np.ndarray:
    (volume,) = PhantomDataset(train=1, slices=1, size=SIZE).volumes("train")
    return np.asarray(volume[0]["image"])


def pattern(*shape: int, centered: bool = False) -> np.ndarray:
    """Return a random mask whose centre is sampled."""
    mask = RNG.random(shape) < 0.4
    mask[tuple(slice(n // 2 - 3, n // 2 + 4) if n > 1 else slice(None) for n in shape)] = True
    return (mask if centered else np.fft.ifftshift(mask)).astype(np.uint8)


def task(root: Path, mask: Any, fields: dict[str, np.ndarray], **options: Any) -> Task:
    """Write one file for each split and create the task."""
    for split in ("train", "val", "test"):
        (root / split).mkdir(parents=True)
        with h5py.File(root / split / f"{split}.h5", "w") as file:
            for name, values in fields.items():
                file[name] = values
    reader = {"name": "hdf5", "axes": "height width", **{name: name for name in fields}}
    reader.setdefault("image", None)
    dataset = {"name": "folder", "root": root, "reader": reader, "normalise": "none"}
    created: Task = i2ikd.create("task", "mri-recon", dataset=dataset, **({"mask": mask} if mask else {}), **options)
    return created


@pytest.mark.parametrize("shape", [SIZE, (1, SIZE[1]), (SIZE[0], 1)])
def test_a_stored_mask_undersamples_the_image(tmp_path: Path, shape: tuple[int, int]) -> None:
    mask = pattern(*shape)
    original = image()
    samples = task(tmp_path, "stored", {"image": original, "mask": mask}).dataset("train")
    np.testing.assert_array_equal(samples[0].conditions["mask"][0], mask)
    expected = np.fft.fft2(original, norm="ortho") * mask
    np.testing.assert_allclose(samples[0].conditions["kspace"][0], expected, atol=1e-4)
    np.testing.assert_allclose(samples[0].input[0], np.fft.ifft2(expected, norm="ortho").real, atol=1e-5)


def test_a_stored_mask_is_that_of_stored_k_space(tmp_path: Path) -> None:
    """Without a mask, the support of the k-space is: a measured sample that is 0 by chance is lost."""
    mask = pattern(*SIZE)
    kspace = (np.fft.fft2(image(), norm="ortho") * mask).astype(np.complex64)
    place = tuple(np.argwhere(mask)[0])
    kspace[place] = 0
    stored = {"image": image(), "kspace": kspace, "mask": mask}
    for option in ("stored", None):
        samples = task(tmp_path / str(option), option, stored, stored=True).dataset("test")
        np.testing.assert_array_equal(samples[0].conditions["mask"][0], mask)
    kspace[tuple(np.argwhere(mask == 0)[0])] = 1
    with pytest.raises(UserError, match="expected a k-space that is 0 where its mask is 0, got 1 other samples there"):
        _ = task(tmp_path / "outside", None, stored, stored=True).dataset("test")[0]


def test_an_unused_mask_causes_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = {"image": image(), "mask": pattern(*SIZE)}
    created = task(tmp_path / "unused", "variable-density", stored)
    for split in ("train", "val"):
        _ = created.dataset(split)[0]
    lines = [line for line in capsys.readouterr().err.splitlines() if "mask" in line]
    assert len(lines) == 1
    assert lines[0].endswith("that of [task]; set mask = 'stored' to use the mask of the file")
    _ = task(tmp_path / "used", "stored", stored).dataset("train")[0]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changed", "options", "expected"),
    [
        ({}, {}, r"expected a stored mask for mask = 'stored', got none; .*option mask"),
        ({"mask": np.ones((40, 35), np.uint8)}, {}, r"expected a mask of size \[40, 36\] or of lines, got \[40, 35\]"),
        ({"mask": np.full(SIZE, 2, np.uint8)}, {}, "expected a mask of 0 and 1"),
        ({"mask": np.zeros(SIZE, np.uint8)}, {}, "expected a mask of 0 and 1, with a 1"),
        ({"mask": pattern(*SIZE)}, {"centered": True}, r"at index 0; set centered = false in \[task\]"),
        ({"mask": pattern(*SIZE, centered=True)}, {}, r"at n // 2; set centered = true in \[task\]"),
    ],
)
def test_a_mask_that_is_missing_or_invalid_is_refused(
    tmp_path: Path, changed: dict[str, np.ndarray], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        _ = task(tmp_path, "stored", {"image": image(), **changed}, **options).dataset("train")[0]


def test_the_mask_needs_files() -> None:
    with pytest.raises(UserError, match="is stored in the files, and none is generated"):
        i2ikd.create("mask", "stored")((4, 4))
