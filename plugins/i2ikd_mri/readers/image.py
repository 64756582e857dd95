"""PNG, TIFF and NumPy files, and folders of PNG and TIFF files whose files are the slices of one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError
from skimage.color import rgb2gray

from i2ikd import UserError
from i2ikd.natural_order import natural_key
from i2ikd.source import Volume
from i2ikd_mri.readers import SUFFIXES, stem
from i2ikd_mri.volumes import check_numeric, checked_slice, position

STACKED = (".png", ".tif", ".tiff")
"""Suffixes of files that are slices of one volume when they lie in a folder of their own."""


class ImageReader:
    """Reads grey pictures as ``image`` [H, W] float32, values as stored (0..255 for 8 bits).

    A PNG file, a NumPy file [H, W] and a TIFF page are one slice, a NumPy file [slices, H, W] and a TIFF file of
    several pages a stack. A folder is a volume whose PNG and TIFF files are its slices, in counting order. Colours
    become their luminance (ITU-R BT.709), an alpha channel is dropped. Nothing in a NumPy file is unpickled.
    """

    suffixes = SUFFIXES["image"]

    def __call__(self, path: Path) -> Volume:
        """Return the volume; files are opened when their slices are read.

        Raises (then):
            UserError: a file is no such picture, is not numeric, or differs in size from its neighbours.
        """
        path = Path(path)
        if path.is_dir():
            return FolderVolume(path)
        if path.suffix.lower() == ".npy":
            return NumpyVolume(path)
        if path.suffix.lower() == ".png":
            return PngVolume(path)
        if path.suffix.lower() in STACKED:
            return TiffVolume(path)
        raise UserError(f"{path}: a picture ends in one of {' '.join(self.suffixes)}")


class PngVolume:
    """A PNG file: one slice."""

    def __init__(self, path: Path) -> None:
        self.name = stem(path.name)
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32."""
        position(index, 1)
        try:
            with Image.open(self.path, formats=("PNG",)) as picture:
                palette = picture.mode in ("P", "PA")
                values = np.asarray(picture.convert("RGB") if palette else picture)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: there is no such file") from error
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.path}: this is not a PNG picture, or it is damaged") from error
        return {"image": checked_slice(_grey(values, alpha=picture.mode in ("LA", "RGBA")), str(self.path))}


class TiffVolume:
    """A TIFF file: a slice a page."""

    def __init__(self, path: Path) -> None:
        self.name = stem(path.name)
        self.path = path
        self._length = 0

    def __len__(self) -> int:
        if not self._length:
            with self._opened() as file:
                self._length = len(file.pages)
        return self._length

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32."""
        index = position(index, len(self))
        with self._opened() as file:
            try:
                values = file.asarray(key=index)
            except Exception as error:  # each of TIFF's many codecs fails in its own way
                raise UserError(f"{self.path}, page {index}: it cannot be decoded: {_line(error)}") from error
        grey = _grey(values, alpha=values.ndim == 3 and values.shape[2] in (2, 4))
        return {"image": checked_slice(grey, f"{self.path}, page {index}")}

    def _opened(self) -> tifffile.TiffFile:
        try:
            return tifffile.TiffFile(self.path)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: there is no such file") from error
        except Exception as error:  # a damaged header shows as struct.error, IndexError and others
            raise UserError(f"{self.path}: this is not a TIFF picture, or it is damaged: {_line(error)}") from error


class NumpyVolume:
    """A NumPy file [H, W] or [slices, H, W], mapped into memory and read slice by slice."""

    def __init__(self, path: Path) -> None:
        self.name = stem(path.name)
        self.path = path
        self._stack: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._mapped())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32, or complex64 where the file is complex."""
        index = position(index, len(self))
        return {"image": checked_slice(np.array(self._mapped()[index]), f"{self.path}, slice {index}")}

    def _mapped(self) -> np.ndarray:
        if self._stack is None:
            try:
                stack = np.lib.format.open_memmap(self.path, mode="r")
            except FileNotFoundError as error:
                raise UserError(f"{self.path}: there is no such file") from error
            except (OSError, ValueError, SyntaxError) as error:
                raise UserError(f"{self.path}: not a readable NumPy array of numbers: {_line(error)}") from error
            check_numeric(stack.dtype, str(self.path))
            if stack.ndim not in (2, 3) or 0 in stack.shape:
                raise UserError(f"{self.path}: its shape is {stack.shape}; it should be [H, W] or [slices, H, W]")
            self._stack = stack if stack.ndim == 3 else stack[None]
        return self._stack

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stack": None}


class FolderVolume:
    """A folder whose PNG and TIFF files are the slices of one volume, all of one size."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path
        self._files: list[Path] = []
        self._shape: tuple[int, ...] = ()

    def files(self) -> Sequence[Path]:
        """Return the slices' files in counting order.

        Raises:
            UserError: there is none.
        """
        if not self._files:
            found = [p for p in self.path.iterdir() if p.suffix.lower() in STACKED and not p.name.startswith(".")]
            if not found:
                raise UserError(f"{self.path}: the folder has no {' '.join(STACKED)} file")
            self._files = sorted(found, key=lambda p: natural_key(p.name))
        return self._files

    def __len__(self) -> int:
        return len(self.files())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32."""
        path = self.files()[position(index, len(self))]
        if not self._shape and path != self.files()[0]:
            self._shape = _only_slice(self.files()[0]).shape
        image = _only_slice(path)
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise UserError(
                f"{path}: it is {image.shape}, and {self.files()[0].name} is {self._shape}; make them equal"
            )
        return {"image": image}


def _only_slice(path: Path) -> np.ndarray:
    volume = PngVolume(path) if path.suffix.lower() == ".png" else TiffVolume(path)
    if len(volume) != 1:
        raise UserError(f"{path}: it has {len(volume)} pages; in a folder that is one volume a file is one slice")
    return volume[0]["image"]


def _grey(values: np.ndarray, alpha: bool) -> np.ndarray:
    """Drop alpha and turn [H, W, 3] into luminance without changing the range of the values."""
    if values.ndim == 3 and alpha:
        values = values[..., :-1]
    if values.ndim == 3 and values.shape[2] == 1:
        return values[..., 0]
    if values.ndim == 3 and values.shape[2] == 3 and values.dtype.kind in "biuf":
        return rgb2gray(values.astype(np.float32))
    return values


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
