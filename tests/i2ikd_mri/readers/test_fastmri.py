"""fastMRI files: images from single-coil k-space, padded lines, stored reconstructions, undersampled test files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.fastmri import FastMriReader

import i2ikd
from i2ikd import UserError

RNG = np.random.default_rng(6)
SLICES, HEIGHT, WIDTH, SIZE = 3, 12, 10, (6, 7)
LEFT, RIGHT = 1, 8  # measured lines: 1..7
HEADER = f"""<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <encoding>
    <encodedSpace><matrixSize><x>{HEIGHT}</x><y>{WIDTH}</y><z>1</z></matrixSize></encodedSpace>
    <reconSpace><matrixSize><x>{SIZE[0]}</x><y>{SIZE[1]}</y><z>1</z></matrixSize></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>{RIGHT - LEFT - 1}</maximum><center>{WIDTH // 2 - LEFT}</center>
      </kspace_encoding_step_1>
    </encodingLimits>
  </encoding>
</ismrmrdHeader>"""


def kspace(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(np.complex64)


def written(path: Path, header: str | None = HEADER, **datasets: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        if header is not None:
            file["ismrmrd_header"] = header
    return path


def transformed(values: np.ndarray) -> np.ndarray:
    """Return the naive centred inverse transform in float64, with the padding left out of the sum."""
    height, width = values.shape
    rows, columns = np.arange(height) - height // 2, np.arange(width) - width // 2
    over_rows = np.exp(2j * np.pi * np.outer(rows, rows) / height) / np.sqrt(height)
    over_columns = np.exp(2j * np.pi * np.outer(columns, columns) / width) / np.sqrt(width)
    return over_rows @ values[:, LEFT:RIGHT].astype(np.complex128) @ over_columns[LEFT:RIGHT]


def test_the_image_is_the_cropped_transform_of_the_measured_lines(tmp_path: Path) -> None:
    stored = kspace(SLICES, HEIGHT, WIDTH)
    volume = FastMriReader()(written(tmp_path / "v.h5", kspace=stored))
    assert len(volume) == SLICES
    image = volume[1]["image"]
    assert image.dtype == np.complex64 and image.shape == SIZE
    first = (HEIGHT - SIZE[0]) // 2, (WIDTH - SIZE[1]) // 2
    expected = transformed(stored[1])[first[0] : first[0] + SIZE[0], first[1] : first[1] + SIZE[1]]
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_an_undersampled_file_has_k_space_and_mask_of_the_task(tmp_path: Path) -> None:
    mask = np.array([0, 1, 1, 0, 1, 1, 0, 1, 1, 0], bool)
    stored = kspace(SLICES, HEIGHT, WIDTH) * mask
    path = written(tmp_path / "v.h5", kspace=stored.astype(np.complex64), mask=mask)
    fields = FastMriReader()(path)[2]
    measured = mask & (np.arange(WIDTH) >= LEFT) & (np.arange(WIDTH) < RIGHT)
    np.testing.assert_array_equal(fields["kspace"], stored[2] * measured)
    np.testing.assert_array_equal(fields["mask"], measured[None])
    dataset = {"name": "folder", "root": tmp_path, "reader": "fastmri", "normalise": "none"}
    task = i2ikd.create("task", "mri-recon", dataset=dataset, mode="complex", centered=True)
    sample = task.sample_from_file(path)[2]
    np.testing.assert_array_equal(sample.conditions["kspace"][0], stored[2] * measured)
    expected = transformed(stored[2] * measured)
    np.testing.assert_allclose(sample.input, np.stack([expected.real, expected.imag]), atol=1e-5)


@pytest.mark.parametrize("names", [("reconstruction_rss",), ("reconstruction_esc",)])
def test_a_stored_reconstruction_is_read_of_any_number_of_coils(tmp_path: Path, names: tuple[str, ...]) -> None:
    images = {name: RNG.random((SLICES, *SIZE), dtype=np.float32) for name in names}
    path = written(tmp_path / "v.h5", kspace=kspace(SLICES, 4, HEIGHT, WIDTH), **images)
    volume = FastMriReader(source="reconstruction")(path)
    np.testing.assert_array_equal([s["image"] for s in volume], images[names[0]])
    dataset = {"name": "folder", "root": tmp_path, "reader": "fastmri"}
    with pytest.raises(UserError, match=r"volume 'v': .* got 4 coils; set name = 'mri-multicoil' .*'reconstruction'"):
        i2ikd.create("task", "mri-recon", dataset=dataset).sample_from_file(path)[0]


@pytest.mark.parametrize("undersampled", [False, True])
def test_multi_coil_k_space_is_read_as_it_is_without_its_padding(tmp_path: Path, undersampled: bool) -> None:
    stored, mask = kspace(SLICES, 4, HEIGHT, WIDTH), np.arange(WIDTH) % 3 == 0
    volume = FastMriReader()(written(tmp_path / "v.h5", kspace=stored, **({"mask": mask} if undersampled else {})))
    assert (len(volume), volume.reconstruction_size) == (SLICES, SIZE)
    expected = stored[1].copy()
    expected[..., :LEFT] = expected[..., RIGHT:] = 0
    np.testing.assert_array_equal(volume[1]["kspace"], expected)
    assert volume[1].keys() == ({"kspace", "mask"} if undersampled else {"kspace"})
    if undersampled:
        measured = mask & (np.arange(WIDTH) >= LEFT) & (np.arange(WIDTH) < RIGHT)
        np.testing.assert_array_equal(volume[1]["mask"], measured[None])


def test_the_layout_is_detected_among_the_readers_of_hdf5(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        written(tmp_path / split / f"{split}.h5", kspace=kspace(SLICES, HEIGHT, WIDTH))
    (volume,) = FolderDataset(tmp_path).volumes("test")
    assert (len(volume), volume[0]["image"].shape) == (SLICES, SIZE)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "no dataset 'ismrmrd_header'"),
        ("<broken", "cannot be read"),
        ("<a/>", "no element encoding"),
        (HEADER.replace("center", "centre"), "no element encodingLimits/kspace_encoding_step_1/center"),
    ],
)
def test_a_header_that_lacks_the_size_is_refused(tmp_path: Path, header: str | None, expected: str) -> None:
    path = written(tmp_path / "v.h5", header, kspace=kspace(SLICES, HEIGHT, WIDTH))
    with pytest.raises(UserError, match=expected):
        len(FastMriReader()(path))
