"""Files in the layout of fastMRI's multi-coil data, written from complex images and smooth coil maps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from i2ikd_mri.phantom import PhantomDataset

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <encoding>
    <encodedSpace><matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize></encodedSpace>
    <reconSpace><matrixSize><x>{size[0]}</x><y>{size[1]}</y><z>1</z></matrixSize></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{center}</center>
      </kspace_encoding_step_1>
    </encodingLimits>
  </encoding>
</ismrmrdHeader>"""


def transform(images: np.ndarray) -> np.ndarray:
    """Return the centred orthonormal k-space of images [..., H, W]."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes)


def inverse(kspace: np.ndarray) -> np.ndarray:
    """Return the images [..., H, W] of centred orthonormal k-space."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes), norm="ortho"), axes)


def centre(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the central part of images [..., H, W], as fastMRI's ``center_crop``."""
    top, left = (image.shape[-2] - size[0]) // 2, (image.shape[-1] - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]


def coil_maps(coils: int, height: int, width: int) -> np.ndarray:
    """Return smooth complex maps [coils, H, W] of coils around the object, their sum of squares 1 at each pixel."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    maps = []
    for angle in np.arange(coils) * 2 * np.pi / coils:
        distance = (rows - 1.2 * np.sin(angle)) ** 2 + (columns - 1.2 * np.cos(angle)) ** 2
        maps.append(np.exp(-distance) * np.exp(1j * (rows * np.cos(angle) + columns + angle)))
    stacked = np.stack(maps)
    return stacked / np.linalg.norm(stacked, axis=0)


def fastmri_file(
    path: Path,
    images: np.ndarray,
    coils: int | np.ndarray = 4,
    oversampling: int = 2,
    padding: int = 0,
    mask: np.ndarray | None = None,
    gain: float = 1.0,
) -> Path:
    """Write ``kspace`` [slices, coils, oversampling * H, W], the header, and ``reconstruction_rss`` or the mask.

    Args:
        path: the file.
        images: complex [slices, H, W].
        coils: number of simulated coils, or coil maps [coils, oversampling * H, W].
        oversampling: of the readout, the rows.
        padding: lines at each border of k-space that were not measured.
        mask: bool [W]; writes an undersampled file.
        gain: factor of the values.
    """
    _, height, width = images.shape
    rows = oversampling * height
    wide = np.zeros((len(images), rows, width), complex)
    wide[:, (rows - height) // 2 : (rows - height) // 2 + height] = images
    maps = coil_maps(coils, rows, width) if isinstance(coils, int) else coils
    kspace = gain * transform(wide[:, None] * maps)
    kspace[..., :padding] = kspace[..., width - padding :] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        stored = kspace if mask is None else kspace * mask
        file["kspace"] = stored.astype(np.complex64)
        file["ismrmrd_header"] = HEADER.format(
            height=rows, width=width, size=(height, width), last=width - 2 * padding - 1, center=width // 2 - padding
        )
        if mask is None:
            rss = np.sqrt((np.abs(inverse(kspace)) ** 2).sum(1))
            file["reconstruction_rss"] = centre(rss, (height, width)).astype(np.float32)
        else:
            file["mask"] = mask
    return path


def heads(number: int, slices: int, size: tuple[int, int]) -> np.ndarray:
    """Return a simulated subject, complex [slices, H, W]."""
    volume = PhantomDataset(number + 1, 1, 1, slices, size, complex_valued=True).volumes("train")[number]
    return np.stack([volume[index]["image"] for index in range(slices)])


def fastmri_folder(
    root: Path,
    size: tuple[int, int] = (32, 40),
    train: int = 2,
    coils: int = 4,
    slices: int = 2,
    padding: int = 0,
) -> Path:
    """Write the split folders of fastMRI with simulated subjects."""
    splits = [*["multicoil_train"] * train, "multicoil_val", "multicoil_test"]
    for number, split in enumerate(splits):
        fastmri_file(root / split / f"file{number}.h5", heads(number, slices, size), coils, padding=padding, gain=1e-5)
    return root


@pytest.fixture(scope="session")
def files() -> SimpleNamespace:
    """The functions that write and transform files."""
    return SimpleNamespace(
        transform=transform,
        inverse=inverse,
        centre=centre,
        fastmri_file=fastmri_file,
        fastmri_folder=fastmri_folder,
        heads=heads,
    )
