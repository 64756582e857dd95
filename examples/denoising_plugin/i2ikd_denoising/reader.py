"""Photographs as grey images: one file is a volume of one slice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from i2ikd import UserError

LUMINANCE = np.array([0.2125, 0.7154, 0.0721], np.float32)
"""Weights of red, green and blue (ITU-R BT.709)."""


class Photograph:
    """One photograph; its file is read when the slice is asked for."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W], float32 in 0..1.

        Raises:
            UserError: the file is no picture.
        """
        if index != 0:
            raise IndexError(index)
        return {"image": read_grey(self.path)}


class PhotographReader:
    """Reads pictures of 8 or 16 bits, grey or coloured, as their luminance in 0..1."""

    suffixes = (".jpg", ".jpeg", ".webp", ".bmp", ".pgm", ".png")

    def __call__(self, path: Path) -> Photograph:
        """Return the volume."""
        return Photograph(Path(path))


def read_grey(path: Path) -> np.ndarray:
    """Return the luminance [H, W], float32 in 0..1; an alpha channel is dropped.

    Raises:
        UserError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA", "CMYK", "YCbCr") else picture)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: it cannot be read as a picture: {error}") from None
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if values.dtype == np.int32:  # how Pillow opens 16 bits of grey in some formats
        largest = 2**16 - 1
    grey = values.astype(np.float32) / np.float32(largest)
    if grey.ndim == 2:
        return grey
    return grey[..., :3] @ LUMINANCE if grey.shape[-1] >= 3 else grey[..., 0]
