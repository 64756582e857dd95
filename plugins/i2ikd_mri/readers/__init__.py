"""Readers of one file each, and which of them fits a file's name."""

from __future__ import annotations

from i2ikd import list_components

SUFFIXES: dict[str, tuple[str, ...]] = {
    "kdmri-hdf5": (".h5", ".hdf5"),
    "complex-hdf5": (".h5", ".hdf5"),
    "nifti": (".nii", ".nii.gz"),
    "image": (".png", ".tif", ".tiff", ".npy"),
}
"""The bundled readers by name, in the order in which they are tried."""


def known_suffixes() -> dict[str, tuple[str, ...]]:
    """Return the suffixes of every registered reader: the bundled ones first, then what plugins state as a fact."""
    stated = {name: tuple(facts.get("suffixes", "").split()) for name, facts in list_components("reader").items()}
    return {**SUFFIXES, **{name: suffixes for name, suffixes in stated.items() if suffixes and name not in SUFFIXES}}


def candidates(file_name: str) -> list[str]:
    """Return the names of the readers whose suffix ``file_name`` has.

    >>> candidates("subject.nii.gz")
    ['nifti']
    """
    return [name for name, suffixes in known_suffixes().items() if file_name.lower().endswith(suffixes)]


def stem(file_name: str) -> str:
    """Return the file's name without its suffix.

    >>> stem("sub-01.T2.nii.gz")
    'sub-01.T2'
    """
    every = {suffix for suffixes in known_suffixes().values() for suffix in suffixes}
    for suffix in sorted(every, key=len, reverse=True):
        if file_name.lower().endswith(suffix):
            return file_name[: -len(suffix)]
    return file_name.rpartition(".")[0] or file_name
