"""Input and output of single files for inference: opened with the options of a dataset, written as a volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import tifffile
from PIL import Image

from i2ikd import Registry, UserError, Volume, VolumeSource, default_registry
from i2ikd_mri.dicom_output import write_series, write_slice
from i2ikd_mri.nifti_output import nibabel_image, stored_volume
from i2ikd_mri.output_formats import is_folder_result, refuse_output
from i2ikd_mri.readers.dicom import DicomVolume


def open_file(source: VolumeSource, path: Path, registry: Registry | None = None) -> Volume:
    """Open a file with the reader, size and scale of a dataset.

    Args:
        source: the dataset; for one that reads no files (``phantom``), the defaults of ``folder`` are used.
        path: the file, or a folder whose PNG and TIFF files are the slices of one volume.
        registry: contains ``folder`` and the readers; ``None``: the default registry of the process.

    Returns:
        The volume, with all of its slices.

    Raises:
        UserError: the file is missing, or no reader has its suffix.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    opener: Callable[[Path], Volume] = _opening(source, path, registry).open
    return opener(path)


def is_volume(source: VolumeSource, path: Path, registry: Registry | None = None) -> bool:
    """Whether ``open_file`` accepts ``path``, by its suffix or, for a folder, by the files in it.

    Args:
        source: the dataset.
        path: a file or folder.
        registry: contains ``folder`` and the readers; ``None``: the default registry of the process.
    """
    accepts: Callable[[Path], bool] = _opening(source, path, registry).accepts
    return accepts(path)


def _opening(source: VolumeSource, path: Path, registry: Registry | None) -> Any:
    """Return the dataset if it opens single files, otherwise a ``folder`` dataset."""
    if hasattr(source, "open") and hasattr(source, "accepts"):
        return source
    return (default_registry() if registry is None else registry).create("dataset", "folder", {"root": path})


def write_volume(volume: np.ndarray, path: Path, source: Volume | None = None, in_source_units: bool = False) -> None:
    """Write a volume in the format of the suffix of ``path``.

    Args:
        volume: float32 or complex64 [H, W, slices].
        path: ``.h5`` or ``.hdf5`` (dataset ``reconstruction`` [H, W, slices]), ``.nii`` or ``.nii.gz``, ``.mgh`` or
            ``.mgz``, ``.npy`` [slices, H, W], ``.tif`` or ``.tiff`` (float32 pages), ``.png`` for a volume of one
            slice, ``.dcm`` for an input of one DICOM slice, or no suffix, or the name of an input folder: a DICOM
            series for an input of one, otherwise a folder of PNGs ``slice-000.png``. PNGs hold magnitudes: with the
            depth and the values of an input of PNGs, otherwise with 8 bits, scaled by the maximum of the volume.
        source: the input volume; a NIfTI or MGH output has slice axis, affine and units of an input that has them.
        in_source_units: whether the values have the units of ``source``.

    Raises:
        UserError: the format is not written for this volume (see ``refuse_output``), or ``path`` cannot be written.
    """
    stored = stored_volume(source)
    origin = Path(getattr(stored, "path", path.name))
    refuse_output(path, origin, np.iscomplexobj(volume), volume.shape[-1])
    suffix = path.suffix.lower()
    levels = getattr(stored, "levels", None) if in_source_units else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_folder_result(path, origin):
            if isinstance(stored, DicomVolume) and origin.is_dir():
                write_series(volume, path, stored)
            else:
                _write_pictures(volume, path, levels)
        elif suffix == ".dcm":
            assert isinstance(stored, DicomVolume), "other inputs are refused"
            write_slice(volume, path, stored)
        elif suffix in (".h5", ".hdf5"):
            with h5py.File(path, "w") as file:
                file.create_dataset("reconstruction", data=volume, compression="gzip")
        elif path.name.lower().endswith((".nii", ".nii.gz")):
            nibabel.save(nibabel_image(volume, source), path)
        elif suffix in (".mgh", ".mgz"):
            nibabel.save(nibabel_image(volume, source, mgh=True), path)
        elif suffix == ".npy":
            np.save(path, np.moveaxis(volume, -1, 0), allow_pickle=False)
        elif suffix in (".tif", ".tiff"):
            tifffile.imwrite(path, np.ascontiguousarray(np.moveaxis(volume, -1, 0)), photometric="minisblack")
        else:
            Image.fromarray(_grey_levels(volume, levels)[..., 0]).save(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


def _write_pictures(volume: np.ndarray, folder: Path, levels: int | None) -> None:
    folder.mkdir(exist_ok=True)
    pictures = _grey_levels(volume, levels)
    for number in range(volume.shape[-1]):
        Image.fromarray(pictures[..., number]).save(folder / f"slice-{number:03d}.png")


def _grey_levels(volume: np.ndarray, levels: int | None) -> np.ndarray:
    """Convert magnitudes to unsigned integers.

    Args:
        volume: [H, W, slices].
        levels: highest value of the input's pictures, in whose units the values are; ``None``: values are scaled by the
            maximum of the volume to 8 bits.
    """
    values = np.abs(volume) if np.iscomplexobj(volume) else volume
    if levels is None:
        values, levels = values / (float(values.max()) or 1.0) * 255, 255
    return np.round(np.clip(values, 0, levels)).astype(np.uint8 if levels < 256 else np.uint16)
