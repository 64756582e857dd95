"""Reader of PNG, TIFF and NumPy files, and of folders whose PNG and TIFF files are the slices of one volume."""

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
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.volumes import check_numeric, checked_slice, position

STACKED = (".png", ".tif", ".tiff")
"""Suffixes of files that are slices of one volume when they are in a subfolder."""


class ImageReader:
    """Reader of greyscale images as ``image`` [H, W] float32, with the stored values (0..255 for 8 bits).

    A PNG file, a NumPy file [H, W] and a TIFF page are one slice; a NumPy file [slices, H, W] and a TIFF file of
    several pages are a stack. The PNG and TIFF files of a folder are the slices of one volume, in natural order.
    Colours are converted to luminance (ITU-R BT.709), an alpha channel is dropped. NumPy files are read without
    unpickling.
    """

    suffixes = SUFFIXES["image"]

    def __call__(self, path: Path) -> Volume:
        """Return the volume of a file or folder; files are opened when their slices are read.

        Args:
            path: a file, or a folder of PNG and TIFF files.

        Raises:
            UserError: the suffix is not supported; or, on first use, if a file is damaged or not numeric, or the slices
                of a folder differ in size.
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
        raise UserError(f"{path}: expected a suffix of {' '.join(self.suffixes)}")


class PngVolume:
    """Volume of one PNG file, which is one slice.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.name = without_suffix(path.name, SUFFIXES["image"])
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or not numeric.
        """
        position(index, 1)
        try:
            with Image.open(self.path, formats=("PNG",)) as picture:
                palette = picture.mode in ("P", "PA")
                values = np.asarray(picture.convert("RGB") if palette else picture)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: no such file") from error
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.path}: not a PNG file, or damaged") from error
        return {"image": checked_slice(_grey(values, alpha=picture.mode in ("LA", "RGBA")), str(self.path))}


class TiffVolume:
    """Volume of one TIFF file, whose pages are slices.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.name = without_suffix(path.name, SUFFIXES["image"])
        self.path = path
        self._length = 0

    def __len__(self) -> int:
        if not self._length:
            with self._opened() as file:
                self._length = len(file.pages)
        return self._length

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing or damaged, or the page is not numeric.
        """
        index = position(index, len(self))
        with self._opened() as file:
            try:
                values = file.asarray(key=index)
            except Exception as error:  # codecs of TIFF raise exceptions of many types
                raise UserError(f"{self.path}, page {index}: cannot be decoded: {_line(error)}") from error
        grey = _grey(values, alpha=values.ndim == 3 and values.shape[2] in (2, 4))
        return {"image": checked_slice(grey, f"{self.path}, page {index}")}

    def _opened(self) -> tifffile.TiffFile:
        try:
            return tifffile.TiffFile(self.path)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: no such file") from error
        except Exception as error:  # a damaged header raises struct.error, IndexError and others
            raise UserError(f"{self.path}: not a TIFF file, or damaged: {_line(error)}") from error


class NumpyVolume:
    """Volume of one NumPy file [H, W] or [slices, H, W], memory-mapped and read slice by slice.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.name = without_suffix(path.name, SUFFIXES["image"])
        self.path = path
        self._stack: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._mapped())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32, or complex64 where the file is complex.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged, not numeric or of another shape.
        """
        index = position(index, len(self))
        return {"image": checked_slice(np.array(self._mapped()[index]), f"{self.path}, slice {index}")}

    def _mapped(self) -> np.ndarray:
        if self._stack is None:
            try:
                stack = np.lib.format.open_memmap(self.path, mode="r")
            except FileNotFoundError as error:
                raise UserError(f"{self.path}: no such file") from error
            except (OSError, ValueError, SyntaxError) as error:
                raise UserError(f"{self.path}: not a readable NumPy array of numbers: {_line(error)}") from error
            check_numeric(stack.dtype, str(self.path))
            if stack.ndim not in (2, 3) or 0 in stack.shape:
                raise UserError(f"{self.path}: expected an array [H, W] or [slices, H, W], got the shape {stack.shape}")
            self._stack = stack if stack.ndim == 3 else stack[None]
        return self._stack

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stack": None}


class FolderVolume:
    """Volume of one folder, whose PNG and TIFF files are slices of one size.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path
        self._files: list[Path] = []
        self._shape: tuple[int, ...] = ()

    def files(self) -> Sequence[Path]:
        """Return the files of the slices in natural order of their names.

        Raises:
            UserError: the folder has no PNG or TIFF file.
        """
        if not self._files:
            files = [p for p in self.path.iterdir() if p.suffix.lower() in STACKED and not p.name.startswith(".")]
            if not files:
                raise UserError(f"{self.path}: expected a folder with files {' '.join(STACKED)}, got none")
            self._files = sorted(files, key=lambda p: natural_key(p.name))
        return self._files

    def __len__(self) -> int:
        return len(self.files())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32.

        Args:
            index: index of the slice.

        Raises:
            UserError: a file is damaged, or differs in shape from the first one.
        """
        path = self.files()[position(index, len(self))]
        if not self._shape and path != self.files()[0]:
            self._shape = _only_slice(self.files()[0]).shape
        image = _only_slice(path)
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise UserError(f"{path}: expected the shape {self._shape} of {self.files()[0].name}, got {image.shape}")
        return {"image": image}


def _only_slice(path: Path) -> np.ndarray:
    """Read the image [H, W] of a file with a single slice."""
    volume = PngVolume(path) if path.suffix.lower() == ".png" else TiffVolume(path)
    if len(volume) != 1:
        raise UserError(f"{path}: expected 1 page, as each file of its folder is one slice, got {len(volume)}")
    return volume[0]["image"]


def _grey(values: np.ndarray, alpha: bool) -> np.ndarray:
    """Drop the alpha channel and convert [H, W, 3] to luminance [H, W] in the same range of values."""
    if values.ndim == 3 and alpha:
        values = values[..., :-1]
    if values.ndim == 3 and values.shape[2] == 1:
        return values[..., 0]
    if values.ndim == 3 and values.shape[2] == 3 and values.dtype.kind in "biuf":
        return rgb2gray(values.astype(np.float32))
    return values


def _line(error: Exception) -> str:
    """Return the message of an exception in one line."""
    return " ".join(str(error).split()) or type(error).__name__
