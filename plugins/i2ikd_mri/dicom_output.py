"""Reconstructed volumes as a new DICOM series, with the headers of the input series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from i2ikd import UserError
from i2ikd_mri.nifti_output import regridded
from i2ikd_mri.readers.dicom import DicomVolume

_LEVELS = 65535
_OF_THE_INPUT = (
    "WindowCenter",
    "WindowWidth",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "PixelPaddingValue",
    "PlanarConfiguration",
    "VOILUTSequence",
    "ModalityLUTSequence",
)
"""Attributes that describe the stored values of the input."""


def write_series(volume: np.ndarray, folder: Path, source: DicomVolume) -> None:
    """Write one file for each slice, ``slice-000.dcm``, as a new series of the study of the input.

    Patient, study, frame of reference, position and orientation are those of the input. Stored values have 16 bits; one
    ``RescaleSlope`` and ``RescaleIntercept`` for the series return the values, rounded to 1 / 65535 of their range.

    Args:
        volume: [H, W, slices] float32.
        folder: the folder, which is created.
        source: the input, a folder of single-frame files.

    Raises:
        UserError: the values are complex, or the input is a multi-frame file.
    """
    low, slope = _quantisation(volume, folder)
    uid = _uid()
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(source.sorted_frames()):
        dataset = _derived(frame.path, volume[..., number], low, slope, uid, folder)
        dataset.InstanceNumber = number + 1
        dataset.save_as(folder / f"slice-{number:03d}.dcm", enforce_file_format=True)


def write_slice(volume: np.ndarray, path: Path, source: DicomVolume) -> None:
    """Write one file of one slice, as a new series of the study of the input; see ``write_series``.

    Args:
        volume: [H, W, 1] float32.
        path: the file.
        source: the input, a single-frame file.

    Raises:
        UserError: the values are complex, or the input is a multi-frame file.
    """
    low, slope = _quantisation(volume, path)
    dataset = _derived(source.path, volume[..., 0], low, slope, _uid(), path)
    dataset.save_as(path, enforce_file_format=True)


def _quantisation(volume: np.ndarray, path: Path) -> tuple[float, float]:
    """Return intercept and slope of 16-bit values."""
    if np.iscomplexobj(volume):
        raise UserError(f"{path}: DICOM stores no complex values; write .nii.gz, .h5 or .npy")
    low, high = float(volume.min()), float(volume.max())
    return low, (high - low) / _LEVELS or 1.0


def _uid() -> Any:
    from pydicom.uid import generate_uid

    return generate_uid()


def _derived(source: Path, values: np.ndarray, low: float, slope: float, series: Any, path: Path) -> Any:
    """Return the dataset of a slice with the header of its input, in a new series."""
    import pydicom

    dataset = pydicom.dcmread(source)
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise UserError(f"{path}: results of multi-frame DICOM files are not written as DICOM; write .nii.gz")
    _place(dataset, values.shape)
    dataset.SeriesInstanceUID = series
    dataset.SeriesNumber = int(dataset.get("SeriesNumber", 0) or 0) + 1000
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = _uid()
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = "restored by a network (i2ikd)"
    _store(dataset, np.round((values.astype(np.float64) - low) / slope).astype("<u2"), slope, low)
    return dataset


def _place(dataset: Any, shape: tuple[int, ...]) -> None:
    """Adapt position and spacing to a grid of the same field of view; pixels n // 2 coincide."""
    old = [int(dataset.Rows), int(dataset.Columns)]
    if "PixelSpacing" not in dataset or old == list(shape):
        return
    spacing = np.array([float(part) for part in dataset.PixelSpacing])
    matrix = regridded(old, shape)
    if "ImagePositionPatient" in dataset and "ImageOrientationPatient" in dataset:
        along_row, along_column = np.array([float(part) for part in dataset.ImageOrientationPatient]).reshape(2, 3)
        origin = np.array([float(part) for part in dataset.ImagePositionPatient])
        origin += along_column * spacing[0] * matrix[0, 3] + along_row * spacing[1] * matrix[1, 3]
        dataset.ImagePositionPatient = [_decimal(part) for part in origin]
    dataset.PixelSpacing = [_decimal(part) for part in spacing * np.diag(matrix)[:2]]


def _store(dataset: Any, stored: np.ndarray, slope: float, intercept: float) -> None:
    """Set the pixels and the attributes that describe them."""
    from pydicom.uid import ExplicitVRLittleEndian

    for name in _OF_THE_INPUT:
        if name in dataset:
            delattr(dataset, name)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = _decimal(slope), _decimal(intercept), "US"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset["PixelData"].is_undefined_length = False


def _decimal(value: float) -> Any:
    """Return a decimal string of at most 16 characters, as the standard requires."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(value), auto_format=True)
