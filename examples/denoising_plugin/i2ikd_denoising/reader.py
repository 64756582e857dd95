"""Reader of photographs as greyscale images; one file is a volume of one slice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from i2ikd import UserError

LUMINANCE = np.array([0.2125, 0.7154, 0.0721], np.float32)
"""Weights of red, green and blue (ITU-R BT.709)."""


class Photograph:
    """Volume of one photograph; the file is read on access.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W], float32 in 0..1.

        Raises:
            UserError: the file is missing or not an image.
        """
        if index != 0:
            raise IndexError(index)
        return {"image": read_grey(self.path)}


class PhotographReader:
    """Reader of images of 8 or 16 bits, greyscale or colour, as their luminance in 0..1."""

    suffixes = (".jpg", ".jpeg", ".webp", ".bmp", ".pgm", ".png")

    def __call__(self, path: Path) -> Photograph:
        """Return the volume of the file ``path``."""
        return Photograph(Path(path))


def read_grey(path: Path) -> np.ndarray:
    """Read an image file as luminance; an alpha channel is dropped.

    Args:
        path: the file.

    Returns:
        [H, W], float32 in 0..1.

    Raises:
        UserError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA", "CMYK", "YCbCr") else picture)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image: {error}") from None
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if values.dtype == np.int32:  # the type of 16-bit greyscale in some formats of Pillow
        largest = 2**16 - 1
    grey = values.astype(np.float32) / np.float32(largest)
    if grey.ndim == 2:
        return grey
    return grey[..., :3] @ LUMINANCE if grey.shape[-1] >= 3 else grey[..., 0]
