"""One file without a split: opened for inference as a dataset opens its own, and written back as a volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import tifffile
from PIL import Image

from i2ikd import UserError, Volume, VolumeSource, create
from i2ikd_mri.volumes import PreparedVolume


def open_file(source: VolumeSource, path: Path) -> Volume:
    """Open a file with the reader, size and scale of a dataset.

    Args:
        source: the dataset; one that reads no files (a phantom) leaves the file to the defaults of ``folder``.
        path: the file, or a folder of pictures.

    Raises:
        UserError: the file is missing or no reader knows it.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    opener: Callable[[Path], Volume] = _opening(source, path).open
    return opener(path)


def is_volume(source: VolumeSource, path: Path) -> bool:
    """Whether ``open_file`` is meant for ``path``, as far as its name, or what is in the folder, tells."""
    accepts: Callable[[Path], bool] = _opening(source, path).accepts
    return accepts(path)


def _opening(source: VolumeSource, path: Path) -> Any:
    return source if hasattr(source, "open") and hasattr(source, "knows") else create("dataset", "folder", root=path)


def write_volume(volume: np.ndarray, path: Path, source: Volume | None = None) -> None:
    """Write a volume in the form that the ending of ``path`` says.

    Args:
        volume: float32 [H, W, slices].
        path: ``.h5`` or ``.hdf5`` (dataset ``reconstruction`` [H, W, slices]), ``.nii`` or ``.nii.gz``, ``.npy``
            [slices, H, W], ``.tif`` or ``.tiff`` (float32 pages), ``.png`` for a volume of one slice, or no ending: a
            folder of PNGs ``slice-000.png``. PNGs have 8 bits and are scaled by the maximum of the volume.
        source: what it was made from; a NIfTI volume lends its slice axis and affine to a NIfTI result.

    Raises:
        UserError: another ending, a picture for more than one slice, or a path that cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ending = path.suffix.lower()
        if ending in (".h5", ".hdf5"):
            with h5py.File(path, "w") as file:
                file.create_dataset("reconstruction", data=volume, compression="gzip")
        elif path.name.lower().endswith((".nii", ".nii.gz")):
            nibabel.save(_nifti(volume, source), path)
        elif ending == ".npy":
            np.save(path, np.moveaxis(volume, -1, 0), allow_pickle=False)
        elif ending in (".tif", ".tiff"):
            tifffile.imwrite(path, np.ascontiguousarray(np.moveaxis(volume, -1, 0)), photometric="minisblack")
        elif ending == ".png":
            _write_picture(volume, path)
        elif not ending:
            _write_pictures(volume, path)
        else:
            raise UserError(
                f"{path}: a volume is written to .h5, .nii, .nii.gz, .npy, .tif, .png (one slice), or a folder of PNGs "
                "(no ending)"
            )
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


def _nifti(volume: np.ndarray, source: Volume | None) -> nibabel.Nifti1Image:
    stored = source.stored if isinstance(source, PreparedVolume) else source
    affine = getattr(stored, "affine", None)
    if stored is None or affine is None:
        return nibabel.Nifti1Image(volume, np.eye(4))
    axis = int(getattr(stored, "axis", 2))
    turned = np.moveaxis(volume, -1, axis)
    old = [*stored[0]["image"].shape]
    old.insert(axis, turned.shape[axis])
    return nibabel.Nifti1Image(turned, np.asarray(affine) @ _regridded(old, turned.shape))


def _regridded(old: list[int], new: tuple[int, ...]) -> np.ndarray:
    """Affine from the voxels of a resampled grid to those of the old one; the voxels n // 2 are at one place."""
    matrix = np.eye(4)
    for axis, (before, after) in enumerate(zip(old, new)):
        matrix[axis, axis] = before / after
        matrix[axis, 3] = before // 2 - (after // 2) * before / after
    return matrix


def _write_picture(volume: np.ndarray, path: Path) -> None:
    if volume.shape[-1] != 1:
        raise UserError(
            f"{path}: a volume of {volume.shape[-1]} slices is more than one picture; write to {path.with_suffix('')} "
            "for a folder of them"
        )
    Image.fromarray(_eight_bits(volume)[..., 0]).save(path)


def _write_pictures(volume: np.ndarray, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    pictures = _eight_bits(volume)
    for number in range(volume.shape[-1]):
        Image.fromarray(pictures[..., number]).save(folder / f"slice-{number:03d}.png")


def _eight_bits(volume: np.ndarray) -> np.ndarray:
    peak = float(volume.max()) or 1.0
    return np.round(np.clip(volume / peak, 0, 1) * 255).astype(np.uint8)
