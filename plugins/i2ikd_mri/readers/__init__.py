"""Readers of one file each, and which of them fits a file's name."""

from __future__ import annotations

SUFFIXES: dict[str, tuple[str, ...]] = {
    "kdmri-hdf5": (".h5", ".hdf5"),
    "complex-hdf5": (".h5", ".hdf5"),
    "nifti": (".nii", ".nii.gz"),
    "image": (".png", ".tif", ".tiff", ".npy"),
}
"""The bundled readers by name, in the order in which they are tried."""


def candidates(file_name: str) -> list[str]:
    """Return the names of the readers whose suffix ``file_name`` has.

    >>> candidates("subject.nii.gz")
    ['nifti']
    """
    return [name for name, suffixes in SUFFIXES.items() if file_name.lower().endswith(suffixes)]


def stem(file_name: str) -> str:
    """Return the file's name without its suffix.

    >>> stem("sub-01.T2.nii.gz")
    'sub-01.T2'
    """
    known = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
    for suffix in sorted(known, key=len, reverse=True):
        if file_name.lower().endswith(suffix):
            return file_name[: -len(suffix)]
    return file_name.rpartition(".")[0] or file_name
