"""Frames of DICOM files: position, orientation, spacing and scale, and their order along the normal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd import UserError

_ANGLE = 1e-3
"""Accepted difference of direction cosines within one series (0.06 degrees)."""
_GAP = 0.1
"""Accepted difference of a distance between neighbouring slices from the median, as a share of it."""


@dataclass(frozen=True)
class Frame:
    """One slice of a DICOM file.

    Attributes:
        path: the file.
        number: index of the frame in the file.
        series: ``SeriesInstanceUID``.
        description: ``SeriesDescription``.
        origin: ``ImagePositionPatient`` in millimetres, the centre of the first pixel.
        orientation: ``ImageOrientationPatient``, direction cosines along a row and along a column.
        spacing: ``PixelSpacing`` in millimetres, between rows and between columns.
        thickness: ``SliceThickness`` in millimetres, 1 where it is not stated.
        slope: ``RescaleSlope``.
        intercept: ``RescaleIntercept``.
        inverted: whether the photometric interpretation is MONOCHROME1.
        white: sum of the smallest and largest storable value; ``white`` - value inverts a value.
    """

    path: Path
    number: int
    series: str
    description: str
    origin: np.ndarray | None
    orientation: np.ndarray | None
    spacing: np.ndarray | None
    thickness: float
    slope: float
    intercept: float
    inverted: bool
    white: float


def frames_of(dataset: Any, path: Path) -> list[Frame]:
    """Return the frames of a file.

    Args:
        dataset: ``pydicom.Dataset`` of the file, with or without pixels.
        path: the file.

    Raises:
        UserError: the file has no image, or colours of a palette.
    """
    if "Rows" not in dataset:
        raise UserError(f"{path}: the DICOM file has no image (modality {dataset.get('Modality', 'unknown')})")
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        raise UserError(f"{path}: colours of a palette are not supported; convert the file to greyscale")
    return [_frame(dataset, path, number, photometric) for number in range(int(dataset.get("NumberOfFrames", 1) or 1))]


def _frame(dataset: Any, path: Path, number: int, photometric: str) -> Frame:
    groups = [
        group
        for sequence, place in (
            ("PerFrameFunctionalGroupsSequence", number),
            ("SharedFunctionalGroupsSequence", 0),
        )
        for group in list(dataset.get(sequence) or [])[place : place + 1]
    ]

    def value(sequence: str, keyword: str) -> Any:
        """Return an attribute of the frame, of all frames, or of the file, in this order."""
        for group in groups:
            items = group.get(sequence)
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return dataset.get(keyword)

    def vector(sequence: str, keyword: str, length: int) -> np.ndarray | None:
        stored = value(sequence, keyword)
        return None if stored is None or len(stored) != length else np.array([float(part) for part in stored])

    bits, signed = int(dataset.get("BitsStored", 16)), int(dataset.get("PixelRepresentation", 0)) == 1
    slope = value("PixelValueTransformationSequence", "RescaleSlope")
    intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
    return Frame(
        path=path,
        number=number,
        series=str(dataset.get("SeriesInstanceUID", "")),
        description=str(dataset.get("SeriesDescription", "")),
        origin=vector("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=vector("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=vector("PixelMeasuresSequence", "PixelSpacing", 2),
        thickness=float(value("PixelMeasuresSequence", "SliceThickness") or 1),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        inverted=photometric == "MONOCHROME1",
        white=-1.0 if signed else 2.0**bits - 1,
    )


def sorted_by_position(frames: Sequence[Frame], where: str) -> list[Frame]:
    """Sort frames by their position along the normal of the slices.

    Args:
        frames: frames of one series.
        where: prefix of messages.

    Raises:
        UserError: several frames and a position is missing or repeated, orientations differ, or a slice is missing.
    """
    if len(frames) == 1:
        return list(frames)
    first = frames[0].orientation
    missing = next((frame for frame in frames if frame.origin is None or frame.orientation is None), None)
    if missing is not None or first is None:
        bad = missing or frames[0]
        raise UserError(
            f"{where}: expected the position and orientation of every slice, got none for {bad.path.name}, frame "
            f"{bad.number}; keep one slice in a folder, or convert the series to NIfTI"
        )
    normal = np.cross(first[:3], first[3:])
    located = []
    for frame in frames:
        assert frame.origin is not None and frame.orientation is not None, "checked above"
        if np.abs(frame.orientation - first).max() > _ANGLE:
            raise UserError(
                f"{where}: expected slices of one orientation, got {frames[0].path.name} and {frame.path.name} of "
                "different ones (a localiser?); keep one stack in a folder"
            )
        located.append((float(frame.origin @ normal), frame))
    located.sort(key=lambda item: item[0])
    steps = np.diff([place for place, _ in located])
    usual = float(np.median(steps))
    if steps.min() <= _GAP * abs(usual) or usual <= 0:
        again = int(np.argmin(steps))
        raise UserError(
            f"{where}: expected one image at each position, got {located[again][1].path.name} and "
            f"{located[again + 1][1].path.name} at one (several echoes, times or phases?); keep one of them in a folder"
        )
    if np.abs(steps - usual).max() > _GAP * usual:
        gap = int(np.argmax(np.abs(steps - usual)))
        raise UserError(
            f"{where}: expected slices {usual:.4g} mm apart, got {steps[gap]:.4g} mm after "
            f"{located[gap][1].path.name}; a slice is missing: copy the series again"
        )
    return [frame for _, frame in located]
