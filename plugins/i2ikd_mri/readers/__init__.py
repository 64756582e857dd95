"""File readers, and their selection by the suffix of a file name."""

from __future__ import annotations

from i2ikd import list_components

SUFFIXES: dict[str, tuple[str, ...]] = {
    "kdmri-hdf5": (".h5", ".hdf5"),
    "complex-hdf5": (".h5", ".hdf5"),
    "nifti": (".nii", ".nii.gz"),
    "image": (".png", ".tif", ".tiff", ".npy"),
}
"""Suffixes of the bundled readers by name, in the order in which readers are tried."""


def known_suffixes() -> dict[str, tuple[str, ...]]:
    """Return the suffixes of every registered reader by name: bundled readers first, then readers of other plugins.

    Other plugins register suffixes as the metadata ``suffixes``, separated by spaces.
    """
    registered = {
        name: tuple(metadata.get("suffixes", "").split()) for name, metadata in list_components("reader").items()
    }
    others = {name: suffixes for name, suffixes in registered.items() if suffixes and name not in SUFFIXES}
    return {**SUFFIXES, **others}


def candidates(file_name: str) -> list[str]:
    """Return the names of the readers for the suffix of a file name, without regard to case.

    Args:
        file_name: name of a file, with or without folders.

    >>> candidates("subject.nii.gz")
    ['nifti']
    """
    return [name for name, suffixes in known_suffixes().items() if file_name.lower().endswith(suffixes)]


def stem(file_name: str) -> str:
    """Return a file name without its suffix, of any registered reader or after the last dot.

    Args:
        file_name: name of a file, without folders.

    >>> stem("sub-01.T2.nii.gz")
    'sub-01.T2'
    """
    every = {suffix for suffixes in known_suffixes().values() for suffix in suffixes}
    for suffix in sorted(every, key=len, reverse=True):
        if file_name.lower().endswith(suffix):
            return file_name[: -len(suffix)]
    return file_name.rpartition(".")[0] or file_name
