"""Images of nibabel from reconstructed volumes, with axes, affine and header of the input file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np

from i2ikd import Volume
from i2ikd_mri.volumes import PreparedVolume


def nibabel_image(volume: np.ndarray, source: Volume | None, mgh: bool = False) -> Any:
    """Build an image with slice axis, affine and header of the input.

    Args:
        volume: [H, W, slices] float32 or complex64.
        source: the input volume. Its affine is used if it has one, adapted to the grid of ``volume``; units, frame
            time and codes of the header are copied from NIfTI. Without an affine, the result has the identity. A volume
            that was oriented to a plane is returned to the orientation of the file.
        mgh: build an MGH image instead of NIfTI.

    Returns:
        ``Nifti1Image`` or ``MGHImage``, [x, y, z] or, for an input of several frames, [x, y, z, t].
    """
    kind = nibabel.MGHImage if mgh else nibabel.Nifti1Image
    stored = stored_volume(source)
    affine = getattr(stored, "affine", None)
    if stored is None or affine is None:
        return kind(volume, np.eye(4))
    axis, frames = int(getattr(stored, "axis", 2)), int(getattr(stored, "frames", 1))
    oriented = _oriented(volume, axis, frames)
    old = [*stored[0]["image"].shape]
    old.insert(axis, oriented.shape[axis])
    image = kind(oriented, np.asarray(affine) @ regridded(old, oriented.shape[:3]))
    orientation = getattr(stored, "orientation", None)
    if orientation is not None:
        image = image.as_reoriented(orientation)
    header = getattr(stored, "header", None)
    if isinstance(header, nibabel.Nifti1Header) and not mgh:
        _copy_header(image, header)
    return image


def stored_volume(source: Volume | None) -> Volume | None:
    """Return the volume of the file, without the scale and size of a dataset.

    Args:
        source: a volume, as a reader or a dataset opened it; ``None`` is returned unchanged.
    """
    return source.stored if isinstance(source, PreparedVolume) else source


def _oriented(volume: np.ndarray, axis: int, frames: int) -> np.ndarray:
    """Return [x, y, z] or [x, y, z, frames] of slices that are ordered frame by frame along the last axis."""
    if frames == 1:
        return np.moveaxis(volume, -1, axis)
    series = volume.reshape(*volume.shape[:2], frames, -1)
    return np.moveaxis(np.moveaxis(series, 2, -1), 2, axis)


def _copy_header(image: Any, header: nibabel.Nifti1Header) -> None:
    """Copy units, frame time, description and the codes of the affines."""
    new = image.header
    new["xyzt_units"], new["descrip"] = header["xyzt_units"], header["descrip"]
    if image.ndim == 4:
        new["pixdim"][4] = header["pixdim"][4]
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    if qform or sform:
        image.set_qform(image.affine, qform)
        image.set_sform(image.affine, sform)


def regridded(old: Sequence[int], new: Sequence[int]) -> np.ndarray:
    """Return the affine [4, 4] from voxels of a resampled grid to those of the old one; voxels n // 2 coincide.

    Args:
        old: lengths of the old axes, at most three.
        new: lengths of the new axes.
    """
    matrix = np.eye(4)
    for axis, (before, after) in enumerate(zip(old, new)):
        matrix[axis, axis] = before / after
        matrix[axis, 3] = before // 2 - (after // 2) * before / after
    return matrix
