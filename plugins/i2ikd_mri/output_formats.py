"""Formats of results: which names can be written for which input, known before anything is computed."""

from __future__ import annotations

from pathlib import Path

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix

WRITTEN = (".h5", ".hdf5", ".nii", ".nii.gz", ".mgh", ".mgz", ".npy", ".tif", ".tiff", ".png", ".dcm")
"""File name endings that are written."""

_REAL_ONLY = (".mgh", ".mgz", ".dcm")
_INSTEAD = {".mnc": ".nii.gz", ".par": ".nii.gz", ".hdr": ".nii.gz", ".mgh": ".nii.gz", ".mgz": ".nii.gz"}
"""Endings of results by endings of inputs that are read, and not written, or not as complex values."""


def result_name(source: Path, complex_values: bool) -> str:
    """Return the name of the result of a volume in a folder: of the same format where that can be written.

    Args:
        source: the file, or the folder of pictures or DICOM files.
        complex_values: whether the result is complex.
    """
    if source.is_dir():
        return f"{source.name}.nii.gz" if complex_values and holds_dicom(source) else source.name
    ending = _ending(source)
    stem = source.name[: len(source.name) - len(ending)] if ending else source.name
    if ending.lower() in SUFFIXES["dicom"]:
        return stem + (".nii.gz" if complex_values else ".dcm")
    if ending.lower() in WRITTEN and not (complex_values and ending.lower() in _REAL_ONLY):
        return source.name
    return stem + _INSTEAD.get(ending.lower(), ".h5")


def is_folder_result(path: Path, source: Path) -> bool:
    """Whether a result is a folder: of a DICOM series, or of pictures.

    Args:
        path: the result.
        source: the input.
    """
    if not path.suffix or path.name.lower().endswith(WRITTEN):
        return not path.suffix
    return source.is_dir() and (path.name == source.name or holds_dicom(source))


def refuse_output(path: Path, source: Path, complex_values: bool, slices: int | None = None) -> None:
    """Check that a result can be written.

    Args:
        path: the result.
        source: the input, a file or folder.
        complex_values: whether the result is complex.
        slices: number of slices of the input; ``None``: not known yet.

    Raises:
        UserError: the format is not written, or not for this input.
    """
    name, from_dicom, as_folder = path.name.lower(), holds_dicom(source), is_folder_result(path, source)
    if not as_folder and not name.endswith(WRITTEN):
        raise UserError(
            f"{path}: expected a suffix of .h5, .nii, .nii.gz, .mgz, .npy, .tif, .png (one slice), .dcm (one slice of "
            f"a DICOM file), or none for a folder of PNGs, or of DICOM files for an input of these, got {path.suffix!r}"
        )
    if complex_values and name.endswith((".mgh", ".mgz")):
        raise UserError(f"{path}: MGH stores no complex values; write .nii.gz, .h5 or .npy")
    if complex_values and (name.endswith(".dcm") or (as_folder and from_dicom)):
        raise UserError(f"{path}: DICOM stores no complex values; write .nii.gz, .h5 or .npy")
    if name.endswith(".dcm"):
        if not from_dicom or source.is_dir():
            raise UserError(
                f"{path}: expected a DICOM file of one slice as input, whose header the result gets, got "
                f"{source.name}; write .nii.gz, or for a folder of DICOM files a name without suffix"
            )
        if slices is not None and slices > 1:
            raise UserError(f"{path}: results of multi-frame DICOM files are not written as DICOM; write .nii.gz")
    if name.endswith(".png") and slices is not None and slices > 1:
        raise UserError(
            f"{path}: expected a volume of 1 slice for a PNG, got {slices} slices; write to {path.with_suffix('')} for "
            "a folder of PNGs"
        )


def _ending(source: Path) -> str:
    """Return the ending of a file name with its dots, as it is written."""
    known = (suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    return source.name[len(without_suffix(source.name, known)) :]


def holds_dicom(source: Path) -> bool:
    """Whether an input is a DICOM file, or a folder of these.

    Args:
        source: the input.
    """
    names = (path.name for path in source.iterdir()) if source.is_dir() else (source.name,)
    return any(name.lower().endswith(SUFFIXES["dicom"]) for name in names)
