"""Volumes of TIFF files: series and axes, photometric interpretation, colour maps."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.luminance import luminance
from i2ikd_mri.readers.opening import names_its_file, naming_file, one_line, read_header, require_plausible_size
from i2ikd_mri.readers.process_caches import DECODED, OPEN_FILES
from i2ikd_mri.volumes import checked_slice, position

_PLANE = "YXS"
_SLICES = "ZIQ"
"""Axes that are slices: depth, and sequences of pages without a meaning."""
_PHOTOMETRIC = ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "YCBCR")


@dataclass(frozen=True)
class TiffOptions:
    """Selection in files of several dimensions.

    Attributes:
        time: index of the time point; ``all``: the time points are the slices; ``None``: the file has one.
        channel: index of the channel; ``all``: the channels are the slices; ``None``: the file has one.
        series: index of the series of images; ``None``: the file has one, or several single images of one shape, which
            are the slices.
    """

    time: int | Literal["all"] | None = None
    channel: int | Literal["all"] | None = None
    series: int | None = None


@dataclass(frozen=True)
class _Layout:
    """Axes of the selected series, and the axis along which its slices lie."""

    axes: str
    shape: tuple[int, ...]
    slices: int | None
    fixed: Mapping[int, int]
    series: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.series) if self.slices is None else self.shape[self.slices]

    def index(self, place: int) -> tuple[int | slice, ...]:
        """Return the index of a slice in the array of the series."""
        chosen = {**self.fixed, **({} if self.slices is None else {self.slices: place})}
        return tuple(chosen.get(axis, slice(None)) for axis in range(len(self.axes)))


@names_its_file
class TiffVolume:
    """Volume of one TIFF file.

    Slices are the axis Z, or the pages of a file without named axes. Inverted images (WhiteIsZero) are inverted back,
    colour maps are applied (values of 16 bits), colours are converted to luminance and alpha is dropped.

    Args:
        path: the file.
        options: selection in a file of several times, channels or series.
    """

    def __init__(self, path: Path, options: TiffOptions | None = None) -> None:
        self.name = without_suffix(path.name, SUFFIXES["image"])
        self.path = path
        self._options = options or TiffOptions()
        self._known: _Layout | None = None
        self._process = 0

    def __len__(self) -> int:
        return self._layout().length

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing or damaged, its axes are ambiguous, or it cannot be decoded.
        """
        index = position(index, len(self))
        layout = self._layout()
        series = self._opened().series[layout.series[index if layout.slices is None else 0]]
        with naming_file(f"{self.path}, slice {index}", "cannot be decoded"):
            values = self._decoded(series, layout, index)
        plane = [axis for axis in layout.axes if axis in _PLANE]
        values = values.transpose([plane.index(axis) for axis in _PLANE if axis in plane])
        where = f"{self.path}, slice {index}"
        return {"image": checked_slice(_interpreted(values, series.keyframe, where), where)}

    def _decoded(self, series: Any, layout: _Layout, index: int) -> np.ndarray:
        try:
            return self._values(series, layout, index)
        except Exception as error:
            if "imagecodecs" not in str(error):
                raise
            raise UserError(f"{self.path}: {one_line(error)} (pip install 'i2ikd[tiff]')") from error

    def _values(self, series: Any, layout: _Layout, index: int) -> np.ndarray:
        """Read one slice: from the file where it is contiguous, by page, or from the decoded series."""
        which = layout.index(index)
        if series.dataoffset is not None:
            dtype = np.dtype(series.dtype).newbyteorder(self._opened().byteorder)
            stored = np.memmap(self.path, dtype, "r", series.dataoffset, tuple(series.shape))
            return np.array(stored[which])
        outer = [axis for axis, name in enumerate(layout.axes) if name not in _PLANE]
        lengths = [layout.shape[axis] for axis in outer]
        if outer == list(range(len(outer))) and len(series.pages) == int(np.prod(lengths, dtype=int)):
            places = [number for number in which[: len(outer)] if isinstance(number, int)]
            page = int(np.ravel_multi_index(places, lengths)) if places else 0
            return np.asarray(series.pages[page].asarray()).reshape(
                [layout.shape[a] for a in range(len(outer), len(which))]
            )
        decoded: np.ndarray | None = DECODED.get(id(self))
        if decoded is None:
            decoded = np.asarray(series.asarray())
            DECODED.put(id(self), decoded, decoded.nbytes, owner=self)
        return decoded[which]

    def _layout(self) -> _Layout:
        if self._known is None:
            self._known = self._arranged(self._opened().series)
        return self._known

    def _arranged(self, series: list[Any]) -> _Layout:
        """Return the layout of the selected series, or raise ``UserError`` with the option that selects one."""
        chosen = self._options.series
        if chosen is not None and chosen >= len(series):
            raise UserError(f"{self.path}: no series {chosen} among {len(series)}")
        if chosen is None and len(series) > 1:
            shapes = [tuple(s.shape) for s in series]
            if len(set(shapes)) > 1 or not set(series[0].axes) <= set(_PLANE):
                raise UserError(
                    f"{self.path}: expected one series of images, got {len(series)} of the shapes "
                    f"{', '.join(map(str, dict.fromkeys(shapes)))}; set the reader option series = 0"
                )
        used = tuple(range(len(series))) if chosen is None else (chosen,)
        axes, shape = str(series[used[0]].axes), tuple(series[used[0]].shape)
        return _Layout(axes, shape, *self._selected(axes, shape), used)

    def _selected(self, axes: str, shape: tuple[int, ...]) -> tuple[int | None, dict[int, int]]:
        """Return the slice axis and the indices on the axes of time and channel."""
        slices = [axis for axis, name in enumerate(axes) if name in _SLICES]
        fixed: dict[int, int] = {}
        for axis, name in enumerate(axes):
            if name in "TC":
                option = "time" if name == "T" else "channel"
                chosen = getattr(self._options, option)
                if chosen == "all":
                    slices.append(axis)
                    continue
                if chosen is None:
                    raise UserError(
                        f"{self.path}: expected one {option}, got {shape[axis]} (axes {axes}, shape {shape}); set the "
                        f"reader option {option} = 0, or {option} = 'all' if these are the slices"
                    )
                if chosen >= shape[axis]:
                    raise UserError(f"{self.path}: no {option} {chosen} among {shape[axis]}")
                fixed[axis] = int(chosen)
            elif name not in _PLANE + _SLICES:
                raise UserError(f"{self.path}: the axis {name!r} of {axes} is not supported; expected slices of [Y, X]")
        if len(slices) > 1 or not {"Y", "X"} <= set(axes):
            raise UserError(
                f"{self.path}: expected one axis of slices, got the axes {axes} of the shape {shape}; write one volume "
                "to a file"
            )
        return (slices[0] if slices else None), fixed

    def _opened(self) -> tifffile.TiffFile:
        if self._process != os.getpid():  # a handle from before a fork shares its position with the parent process
            OPEN_FILES.remove(id(self))
            self._process = os.getpid()
        file: tifffile.TiffFile | None = OPEN_FILES.get(id(self))
        if file is None:
            file = read_header(self.path, self._parsed, "not a TIFF file, or damaged")
            OPEN_FILES.put(id(self), file, size=0, owner=self)
        return file

    def _parsed(self) -> tifffile.TiffFile:
        """Open the file and read its series."""
        file = tifffile.TiffFile(self.path)
        try:
            if not file.series:
                raise UserError(f"{self.path}: the TIFF file has no image")
            for series in file.series:
                bits = int(series.keyframe.bitspersample or 8)
                declared = math.prod(series.shape) * bits // 8
                require_plausible_size(str(self.path), declared, self.path.stat().st_size)
        except BaseException:
            file.close()
            raise
        return file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_process": 0}


def _interpreted(values: np.ndarray, page: Any, where: str) -> np.ndarray:
    """Convert stored values [H, W] or [H, W, channels] to an image [H, W] in which larger is brighter."""
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric not in _PHOTOMETRIC:
        raise UserError(f"{where}: the colours {photometric} are not supported; convert the file to greyscale or RGB")
    if photometric == "MINISWHITE":
        if values.dtype.kind not in "bu":
            raise UserError(
                f"{where}: inverted values (WhiteIsZero) of type {values.dtype} have no white; store them as unsigned "
                "integers or with BlackIsZero"
            )
        return ~values if values.dtype.kind == "b" else (2**page.bitspersample - 1) - values
    if photometric == "PALETTE" and page.colormap is not None:
        return luminance(np.moveaxis(np.asarray(page.colormap)[:, values], 0, -1), alpha=False)
    return luminance(values, alpha=values.ndim == 3 and values.shape[2] in (2, 4))
