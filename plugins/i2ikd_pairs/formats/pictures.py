"""PNG, JPEG and TIFF: grey, RGB and more channels, with the bits of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd import UserError
from i2ikd_pairs.formats.stack import Stack, stacked

_TIFF_AXES = {
    "Y": "height",
    "X": "width",
    "S": "channels",
    "C": "channels",
    "Z": "slices",
    "I": "slices",
    "Q": "slices",
}
_TIFF_AXES |= {"T": "slices"}
_COLOUR_BITS = 16


def read_png(path: Path, axes: Sequence[str] | None) -> Stack:
    """Read a PNG file: 8 or 16 bits, grey, RGB, with or without alpha; palettes become RGB.

    Args:
        path: the file.
        axes: unused, the format states them.

    Raises:
        UserError: the file is damaged, or has colours of 16 bits and imagecodecs is missing.
    """
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) == 26 and head[24] == _COLOUR_BITS and head[25] != 0:  # Pillow reduces these to 8 bits
        return _channels_last(_codec(path, "png_decode")(path.read_bytes()), path)
    return _read_pillow(path, "PNG")


def read_jpeg(path: Path, axes: Sequence[str] | None) -> Stack:
    """Read a JPEG file, rotated as its EXIF data states; see ``read_png``."""
    return _read_pillow(path, "JPEG")


def _read_pillow(path: Path, kind: str) -> Stack:
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=(kind,)) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("P", "PA"):
                picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
            if picture.mode in ("CMYK", "YCCK", "LAB", "HSV"):
                raise UserError(f"{path}: expected grey or RGB, got {picture.mode}; convert the file to RGB")
            if picture.mode == "1":
                picture = picture.convert("L")
            array = np.asarray(picture)
            return _channels_last(array.astype(np.uint16) if picture.mode == "I" else array, path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a {kind} file, or damaged ({' '.join(str(error).split())})") from error


def _channels_last(array: np.ndarray, path: Path) -> Stack:
    return stacked(array, ("height", "width", "channels")[: array.ndim], path)


def write_png(values: np.ndarray, like: Stack, path: Path) -> None:
    """Write a PNG file of 8 or 16 bits.

    Args:
        values: [1, channels, H, W], of 8 or 16 bits without sign; 1 to 4 channels.
        like: unused, the format states the axes.
        path: the file.

    Raises:
        UserError: values that the format cannot hold.
    """
    from PIL import Image

    slices, channels = values.shape[:2]
    if slices != 1 or channels > 4 or values.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path}: PNG holds one slice of up to 4 channels with 8 or 16 bits, got {slices} slice(s) of {channels} "
            f"channel(s) of {values.dtype}; write .tif or .npy"
        )
    picture = values[0, 0] if channels == 1 else np.ascontiguousarray(np.moveaxis(values[0], 0, -1))
    if values.dtype == np.uint16 and channels > 1:
        path.write_bytes(_codec(path, "png_encode")(picture))
        return
    Image.fromarray(picture).save(path, format="PNG")


def _codec(path: Path, name: str) -> Callable[..., Any]:
    try:
        import imagecodecs
    except ImportError as error:
        raise UserError(
            f"{path}: PNG files with colours of 16 bits need imagecodecs; pip install 'i2ikd[tiff]', or convert to TIFF"
        ) from error

    def call(data: Any) -> Any:
        try:
            return getattr(imagecodecs, name)(data)
        except RuntimeError as error:
            raise UserError(f"{path}: not a PNG file, or damaged ({' '.join(str(error).split())})") from error

    return call


def read_tiff(path: Path, axes: Sequence[str] | None) -> Stack:
    """Read the first series of a TIFF file: pages, times and depths are slices, samples and channels are channels.

    Args:
        path: the file.
        axes: names of the axes in order; ``None``: as the file states them.

    Raises:
        UserError: the file is damaged, compressed without imagecodecs, has a colour map, or axes of other meaning.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if len(file.series) > 1:
                raise UserError(f"{path}: expected one series of images, got {len(file.series)}; split the file")
            photometric = getattr(series.keyframe, "photometric", None)
            if photometric is not None and photometric.name not in ("MINISBLACK", "RGB"):
                raise UserError(f"{path}: expected grey or RGB, got {photometric.name}; convert the file")
            found, array = series.axes, series.asarray()
    except ValueError as error:
        needed = "imagecodecs" in str(error)
        remedy = "; pip install 'i2ikd[tiff]'" if needed else ""
        raise UserError(f"{path}: TIFF cannot be decoded: {' '.join(str(error).split())}{remedy}") from error
    except (OSError, IndexError, tifffile.TiffFileError) as error:
        raise UserError(f"{path}: not a TIFF file, or damaged ({' '.join(str(error).split())})") from error
    names = list(axes) if axes is not None and array.ndim > 2 else [_TIFF_AXES.get(axis, axis) for axis in found]
    if len(set(names)) < len(names) or not set(names) <= set(_TIFF_AXES.values()):
        raise UserError(
            f"{path}: expected axes of slices, channels, height and width, got {found} of the shape "
            f"{list(array.shape)}; set axes to the names of the axes in order, or split the file"
        )
    return stacked(array, names, path)


def write_tiff(values: np.ndarray, like: Stack, path: Path) -> None:
    """Write a TIFF file without compression, with the axes of the input.

    Args:
        values: [slices, channels, H, W].
        like: the input.
        path: the file.
    """
    import tifffile

    slices, channels = values.shape[:2]
    ordered = like.in_file_order(values)
    if channels in (3, 4) and like.axes[-1:] == ("channels",):
        tifffile.imwrite(path, ordered, photometric="rgb")
    elif slices == 1 and channels == 1:
        tifffile.imwrite(path, ordered, photometric="minisblack")
    else:
        planes = values[:, 0] if channels == 1 else values[0] if slices == 1 else values
        letters = "ZYX" if channels == 1 else "CYX" if slices == 1 else "ZCYX"
        tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": letters})
