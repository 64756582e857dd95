"""NumPy, NIfTI and HDF5: arrays whose order of axes an option states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from i2ikd import UserError
from i2ikd_pairs.formats.stack import Stack, array_axes, stacked


def read_numpy(path: Path, axes: Sequence[str] | None) -> Stack:
    """Read a NumPy file, without unpickling.

    Args:
        path: the file.
        axes: names of the axes in order; needed for arrays of more than two axes.

    Raises:
        UserError: the file is damaged, holds objects, or has axes that are not stated.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise UserError(f"{path}: not a readable NumPy array of numbers: {' '.join(str(error).split())}") from error
    return stacked(array, array_axes(array.ndim, axes, path), path)


def write_numpy(values: np.ndarray, like: Stack, path: Path) -> None:
    """Write a NumPy file with the axes of the input.

    Args:
        values: [slices, channels, H, W].
        like: the input.
        path: the file.
    """
    np.save(path, like.in_file_order(values))


def read_nifti(path: Path, axes: Sequence[str] | None) -> Stack:
    """Read a NIfTI file in its stored order; values are scaled as the header states.

    Args:
        path: the file.
        axes: names of the axes in order; ``None``: the third axis is that of slices, a fourth one is refused.

    Raises:
        UserError: the file is damaged, or has axes that are not stated.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        header = image.header
        scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0), (1.0, None))  # type: ignore[attr-defined]
        array = np.asarray(image.get_fdata(dtype=np.float32) if scaled else image.dataobj)  # type: ignore[attr-defined]
    except (OSError, ValueError, EOFError, ImageFileError) as error:
        raise UserError(f"{path}: not a NIfTI file, or damaged ({' '.join(str(error).split())})") from error
    names = array_axes(array.ndim, axes, path, ("height", "width", "slices"))
    return stacked(array, names, path, {"affine": image.affine, "header": header})  # type: ignore[attr-defined]


def write_nifti(values: np.ndarray, like: Stack, path: Path) -> None:
    """Write a NIfTI file with affine and axes of the input; of an enlarged result the voxels are smaller.

    Args:
        values: [slices, channels, H, W].
        like: the input.
        path: the file.
    """
    import nibabel

    affine = like.extra.get("affine", np.eye(4))
    array = like.in_file_order(values)
    old = like.in_file_order(like.values)
    factors = np.ones(4)
    for axis in range(min(3, old.ndim)):
        factors[axis] = old.shape[axis] / array.shape[axis]
    regridded = affine @ np.diag(factors)
    regridded[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors[:3] - 1) / 2)
    image = nibabel.Nifti1Image(array, regridded, dtype=array.dtype)
    header = like.extra.get("header")
    if header is not None:
        image.header.set_xyzt_units(*header.get_xyzt_units())
    nibabel.save(image, path)


def read_hdf5(path: Path, key: str, axes: Sequence[str] | None, item: int | None) -> Stack:
    """Read a data set of an HDF5 file, or one item along its first axis.

    Args:
        path: the file.
        key: name of the data set.
        axes: names of the axes of one item in order; needed for more than two.
        item: index along the first axis; ``None``: the whole data set.

    Raises:
        UserError: the file is damaged, lacks the data set, or has axes that are not stated.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = file.get(key)
            if not isinstance(found, h5py.Dataset):
                raise UserError(f"{path}: expected a data set {key!r}, got {', '.join(sorted(file)) or 'none'}")
            array = np.asarray(found[()] if item is None else found[item])
    except OSError as error:
        raise UserError(f"{path}: not an HDF5 file, or damaged ({' '.join(str(error).split())})") from error
    return stacked(array, array_axes(array.ndim, axes, path), path)
