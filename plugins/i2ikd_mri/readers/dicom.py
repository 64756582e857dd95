"""Reader of DICOM series: single-frame files of one folder, or one multi-frame file."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.dicom_frames import Frame, frames_of, sorted_by_position
from i2ikd_mri.readers.luminance import luminance
from i2ikd_mri.readers.opening import is_folder, names_its_file, naming_file, read_header, require_plausible_size
from i2ikd_mri.readers.process_caches import DECODED
from i2ikd_mri.volumes import checked_slice, position

_SIZES = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")


class DicomReader:
    """Reader of a DICOM series as ``image`` [H, W] float32: the rescaled values.

    The files of a folder with one ``SeriesInstanceUID``, or the frames of an enhanced multi-frame file, are the slices
    of one volume, sorted by their position along the normal of the slices. A single-frame file is one slice. Stored
    values of MONOCHROME1 are inverted, so that larger is brighter, before ``RescaleSlope`` and ``RescaleIntercept`` are
    applied. Compressed values are decoded by the packages of the extra ``dicom``: JPEG 2000 and HTJ2K by
    pylibjpeg-openjpeg, JPEG and JPEG-LS by python-gdcm, RLE and deflated files by pydicom itself.

    Args:
        series: ``SeriesInstanceUID`` to read of a folder with several series; ``None``: the folder has one.

    Raises:
        UserError: pydicom is not installed.
    """

    suffixes = SUFFIXES["dicom"]

    def __init__(self, series: str | None = None) -> None:
        _pydicom()
        self.series = series

    def __call__(self, path: Path) -> DicomVolume:
        """Return the volume of a folder or file, which is opened on first use.

        Args:
            path: a folder of single-frame files, or one file.

        Raises:
            UserError: on first use, if a file is damaged, the folder has several series, the positions of the slices
                are missing, repeated or uneven, or no package is installed that decodes the values.
        """
        return DicomVolume(Path(path), self.series)


@names_its_file
class DicomVolume:
    """Volume of one DICOM series.

    Args:
        path: a folder, or one file.
        series: ``SeriesInstanceUID``; ``None``: the folder has one series.
    """

    axis = 2
    """Slice axis of ``affine``."""

    def __init__(self, path: Path, series: str | None = None) -> None:
        self.name = path.name if is_folder(path) else without_suffix(path.name, SUFFIXES["dicom"])
        self.path = path
        self._series = series
        self._frames: list[Frame] = []
        self._deflated: set[Path] = set()

    def __len__(self) -> int:
        return len(self.sorted_frames())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32.

        Args:
            index: index of the slice, in the order of positions.

        Raises:
            UserError: the file is missing or damaged, or its values cannot be decoded.
        """
        frame = self.sorted_frames()[position(index, len(self))]
        where = f"{frame.path}, frame {frame.number}"
        with naming_file(where, "cannot be decoded"):
            stored = _pydicom("pixels").pixel_array(self._source(frame.path), index=frame.number)
        values = luminance(stored, alpha=False).astype(np.float64)
        if frame.inverted:
            values = frame.white - values
        return {"image": checked_slice(values * frame.slope + frame.intercept, where)}

    def _source(self, path: Path) -> Any:
        """Return the path of a file, or of a deflated one, which can only be inflated as a whole, the dataset."""
        if path not in self._deflated:
            return path
        cached: tuple[Path, Any] | None = DECODED.get(id(self))
        if cached is None or cached[0] != path:
            dataset = _pydicom().dcmread(path)
            cached = (path, dataset)
            DECODED.put(id(self), cached, len(dataset.PixelData), owner=self)
        return cached[1]

    @property
    def affine(self) -> np.ndarray | None:
        """Affine [4, 4] from (row, column, slice) to millimetres in the axes of NIfTI; ``None`` without positions."""
        frames = self.sorted_frames()
        first = frames[0]
        if first.origin is None or first.orientation is None or first.spacing is None:
            return None
        along_row, along_column = first.orientation[:3], first.orientation[3:]
        matrix = np.eye(4)
        matrix[:3, 0] = along_column * first.spacing[0]
        matrix[:3, 1] = along_row * first.spacing[1]
        last = frames[-1].origin
        if len(frames) > 1 and last is not None:
            matrix[:3, 2] = (last - first.origin) / (len(frames) - 1)
        else:
            matrix[:3, 2] = np.cross(along_row, along_column) * first.thickness
        matrix[:3, 3] = first.origin
        return np.diag([-1.0, -1, 1, 1]) @ matrix  # DICOM's axes point to left and posterior, those of NIfTI opposite

    def sorted_frames(self) -> list[Frame]:
        """Return the slices in the order of their positions.

        Raises:
            UserError: a file is missing or damaged, or the slices are no even stack of one series.
        """
        if not self._frames:
            frames = [frame for path in self._files() for frame in self._read(path)]
            series = {frame.series: frame.description for frame in frames}
            if self._series is not None:
                frames = [frame for frame in frames if frame.series == self._series]
            if not frames or (self._series is None and len(series) > 1):
                listed = "; ".join(f"{uid} ({text or 'no description'})" for uid, text in series.items())
                expected = "one series" if self._series is None else f"the series {self._series}"
                raise UserError(
                    f"{self.path}: expected {expected}, got {listed}; set the reader option series, or keep each "
                    "series in a folder"
                )
            self._frames = sorted_by_position(frames, str(self.path))
        return self._frames

    def _files(self) -> list[Path]:
        if not is_folder(self.path):
            return [self.path]
        visible = [path for path in sorted(self.path.iterdir()) if path.is_file() and not path.name.startswith(".")]
        pictures = [path for path in visible if path.name.lower().endswith(SUFFIXES["image"])]
        files = [path for path in visible if path.name.lower().endswith(SUFFIXES["dicom"])]
        if pictures or not files:
            got = repr(pictures[0].name) if pictures else "none"
            raise UserError(f"{self.path}: expected a folder with the DICOM files of one series alone, got {got}")
        return files

    def _read(self, path: Path) -> list[Frame]:
        return read_header(path, lambda: self._parsed(path), "not a DICOM file, or damaged")

    def _parsed(self, path: Path) -> list[Frame]:
        dataset = _pydicom().dcmread(path, stop_before_pixels=True)
        _refuse_implausible(dataset, path)
        frames = frames_of(dataset, path)
        _refuse_undecodable(dataset, path)
        if dataset.file_meta.TransferSyntaxUID.is_deflated:
            self._deflated.add(path)
        return frames


def _refuse_implausible(dataset: Any, path: Path) -> None:
    """Check that a file can hold the frames that it declares, before they are listed."""
    size = path.stat().st_size
    values = math.prod(int(dataset.get(name) or 1) for name in _SIZES) * int(dataset.get("BitsAllocated") or 16)
    require_plausible_size(str(path), values // 8, size)
    if int(dataset.get("NumberOfFrames") or 1) > size:
        raise UserError(f"{path}: it declares more frames than it has bytes; the file is damaged: copy it again")


def _refuse_undecodable(dataset: Any, path: Path) -> None:
    """Check that a package is installed that decodes the values of a file, before the first is needed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = _pydicom("pixels").get_decoder(syntax)
    except NotImplementedError as error:
        raise UserError(
            f"{path}: values of the transfer syntax {syntax.name} ({syntax}) cannot be decoded by pydicom; convert the "
            "file to an uncompressed one"
        ) from error
    if not decoder.is_available:
        known = "; ".join(decoder.missing_dependencies)
        raise UserError(
            f"{path}: expected a package that decodes {syntax.name}, got none; pip install 'i2ikd[dicom]', or one of: "
            f"{known}"
        )


def _pydicom(module: str = "") -> Any:
    """Import pydicom or one of its modules."""
    try:
        return importlib.import_module(f"pydicom.{module}" if module else "pydicom")
    except ImportError as error:
        raise UserError("reader 'dicom': pydicom is not installed; pip install 'i2ikd[dicom]'") from error
