"""Reader of PNG, TIFF and NumPy files, and of folders whose PNG and TIFF files are the slices of one volume."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from i2ikd import UserError
from i2ikd.natural_order import natural_key
from i2ikd.source import Volume
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.axes import Side, other_axis
from i2ikd_mri.readers.luminance import luminance
from i2ikd_mri.readers.opening import is_folder, names_its_file, naming_file, read_header, require_plausible_size
from i2ikd_mri.readers.tiff import TiffOptions, TiffVolume
from i2ikd_mri.volumes import check_numeric, checked_slice, position

_PNG = b"\x89PNG\r\n\x1a\n"

STACKED = (".png", ".tif", ".tiff")
"""Suffixes of files that are slices of one volume when they are in a subfolder."""


class ImageReader:
    """Reader of greyscale images as ``image`` [H, W] float32, with the stored values (0..255 for 8 bits).

    A PNG file and a NumPy file [H, W] are one slice; a NumPy file [slices, H, W] and a TIFF file with an axis of slices
    or several pages are a stack. The PNG and TIFF files of a folder are the slices of one volume, in natural order.
    Colours are converted to luminance (ITU-R BT.709), an alpha channel is dropped. NumPy files are read without
    unpickling.

    Args:
        axis: slice axis of a NumPy file of three axes, 0..2.
        time: index of the time point of a TIFF file; ``all``: its times are the slices.
        channel: index of the channel of a TIFF file; ``all``: its channels are the slices.
        series: index of the series of a TIFF file of several.
    """

    suffixes = SUFFIXES["image"]

    def __init__(
        self,
        axis: Annotated[int, Field(ge=0, le=2)] = 0,
        time: Annotated[int, Field(ge=0)] | Literal["all"] | None = None,
        channel: Annotated[int, Field(ge=0)] | Literal["all"] | None = None,
        series: Annotated[int, Field(ge=0)] | None = None,
    ) -> None:
        self.axis = axis
        self._tiff = TiffOptions(time, channel, series)

    def __call__(self, path: Path) -> Volume:
        """Return the volume of a file or folder; files are opened when their slices are read.

        Args:
            path: a file, or a folder of PNG and TIFF files.

        Raises:
            UserError: the suffix is not supported; or, on first use, if a file is damaged or not numeric, or the slices
                of a folder differ in size.
        """
        path = Path(path)
        if is_folder(path):
            return FolderVolume(path, self._tiff)
        if path.suffix.lower() == ".npy":
            return NumpyVolume(path, self.axis)
        if path.suffix.lower() == ".png":
            return PngVolume(path)
        if path.suffix.lower() in STACKED:
            return TiffVolume(path, self._tiff)
        raise UserError(f"{path}: expected a suffix of {' '.join(self.suffixes)}")


@names_its_file
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
        depth, colour = self._format()
        with naming_file(self.path, "not a PNG file, or damaged"):
            if depth == 16 and colour != 0:
                values, alpha = _deep_colours(self.path), colour in (4, 6)
            else:
                with Image.open(self.path, formats=("PNG",)) as picture:
                    palette, alpha = picture.mode in ("P", "PA"), picture.mode in ("LA", "RGBA")
                    values = np.asarray(picture.convert("RGB") if palette else picture)
        return {"image": checked_slice(luminance(values, alpha), str(self.path))}

    @property
    def levels(self) -> int | None:
        """Highest value of the file, 255 or 65535; ``None`` for pictures of 1 bit."""
        return {16: 65535, 1: None}.get(self._format()[0], 255)

    def _format(self) -> tuple[int, int]:
        """Return the bits of a channel and the colour type, bytes 24 and 25 of a PNG file after width and height."""
        head = read_header(self.path, self._head, "not a PNG file, or damaged")
        if len(head) < 26 or not head.startswith(_PNG):
            raise UserError(f"{self.path}: not a PNG file, or damaged")
        width, height, depth, colour = struct.unpack_from(">IIBB", head, 16)
        require_plausible_size(str(self.path), width * height * depth // 8, self.path.stat().st_size)
        return depth, colour

    def _head(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(26)


def _deep_colours(path: Path) -> np.ndarray:
    """Decode a PNG file with 16 bits a channel and several channels, which Pillow reduces to 8 bits."""
    try:
        import imagecodecs
    except ImportError as error:
        raise UserError(
            f"{path}: a PNG file with colours or transparency of 16 bits needs imagecodecs; pip install 'i2ikd[tiff]', "
            "or convert it to 16 bits of grey"
        ) from error
    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


@names_its_file
class NumpyVolume:
    """Volume of one NumPy file [H, W] or of three axes, memory-mapped and read slice by slice.

    Args:
        path: the file.
        axis: slice axis of an array of three axes.
    """

    def __init__(self, path: Path, axis: int = 0) -> None:
        self._axis = axis
        self.name = without_suffix(path.name, SUFFIXES["image"])
        self.path = path
        self._stack: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._mapped())

    def slices_along(self, side: Side) -> dict[str, object]:
        """Return the option of the reader for another order; see ``Reorderable``."""
        return other_axis(self._axis, side)

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
            stack = read_header(
                self.path,
                lambda: np.lib.format.open_memmap(self.path, mode="r"),
                "not a readable NumPy array of numbers",
            )
            check_numeric(stack.dtype, str(self.path))
            if stack.ndim not in (2, 3) or 0 in stack.shape:
                raise UserError(f"{self.path}: expected an array [H, W] or [slices, H, W], got the shape {stack.shape}")
            self._stack = np.moveaxis(stack, self._axis, 0) if stack.ndim == 3 else stack[None]
        return self._stack

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stack": None}


@names_its_file
class FolderVolume:
    """Volume of one folder, whose PNG and TIFF files are slices of one size.

    Args:
        path: the folder.
        tiff: selection in TIFF files of several dimensions.
    """

    def __init__(self, path: Path, tiff: TiffOptions | None = None) -> None:
        self.name = path.name
        self.path = path
        self._tiff = tiff
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

    @property
    def levels(self) -> int | None:
        """Highest value of the first file, 255 or 65535; ``None`` for TIFF files."""
        first = self.files()[0]
        return PngVolume(first).levels if first.suffix.lower() == ".png" else None

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
            self._shape = _only_slice(self.files()[0], self._tiff).shape
        image = _only_slice(path, self._tiff)
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise UserError(f"{path}: expected the shape {self._shape} of {self.files()[0].name}, got {image.shape}")
        return {"image": image}


def _only_slice(path: Path, tiff: TiffOptions | None) -> np.ndarray:
    """Read the image [H, W] of a file with a single slice."""
    volume = PngVolume(path) if path.suffix.lower() == ".png" else TiffVolume(path, tiff)
    if len(volume) != 1:
        raise UserError(f"{path}: expected 1 slice, as each file of its folder is one slice, got {len(volume)}")
    return volume[0]["image"]
