"""Choice of the format of a file by its suffix, for reading and writing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2ikd import UserError
from i2ikd_pairs.formats.arrays import read_nifti, read_numpy, write_nifti, write_numpy
from i2ikd_pairs.formats.pictures import read_jpeg, read_png, read_tiff, write_png, write_tiff
from i2ikd_pairs.formats.stack import Stack


class Format(NamedTuple):
    """Functions that read and write one format.

    Attributes:
        read: returns the content of a file, given the option ``axes``.
        write: writes values [slices, channels, H, W] like an input; ``None``: the format is not written.
    """

    read: Callable[[Path, Sequence[str] | None], Stack]
    write: Callable[[np.ndarray, Stack, Path], None] | None


_PNG, _JPEG, _TIFF = Format(read_png, write_png), Format(read_jpeg, None), Format(read_tiff, write_tiff)
_NUMPY, _NIFTI = Format(read_numpy, write_numpy), Format(read_nifti, write_nifti)
FORMATS: dict[str, Format] = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".npy": _NUMPY,
    ".nii": _NIFTI,
    ".nii.gz": _NIFTI,
}
"""Formats by suffix."""


def suffix_of(path: Path) -> str | None:
    """Return the suffix of a supported file in lower case, or ``None``.

    Args:
        path: the file.

    >>> suffix_of(Path("a.NII.gz")), suffix_of(Path("a.txt"))
    ('.nii.gz', None)
    """
    name = path.name.lower()
    return next((suffix for suffix in sorted(FORMATS, key=len, reverse=True) if name.endswith(suffix)), None)


def read_file(path: Path, axes: Sequence[str] | None) -> Stack:
    """Read a file by the format of its suffix.

    Args:
        path: the file.
        axes: names of the axes of its array in order; ``None``: not stated.

    Raises:
        UserError: no such file, a suffix that is not supported, or a file that cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return format_of(path).read(path, axes)


def format_of(path: Path) -> Format:
    """Return the format of a file by its suffix.

    Args:
        path: the file.

    Raises:
        UserError: a suffix that is not supported.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise UserError(f"{path}: expected a suffix of {' '.join(FORMATS)}")
    return FORMATS[suffix]
