"""File readers, and their selection by the suffix of a file name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from i2ikd import Registry, UserError, default_registry

SUFFIXES: dict[str, tuple[str, ...]] = {
    "kdmri-hdf5": (".h5", ".hdf5"),
    "complex-hdf5": (".h5", ".hdf5"),
    "fastmri": (".h5", ".hdf5"),
    "ismrmrd": (".h5", ".hdf5", ".mrd"),
    "calgary-campinas": (".h5", ".hdf5"),
    "skm-tea": (".h5", ".hdf5"),
    "hdf5": (".h5", ".hdf5", ".mat"),
    "nifti": (".nii", ".nii.gz", ".mgh", ".mgz", ".mnc", ".par", ".hdr"),
    "dicom": (".dcm", ".ima"),
    "image": (".png", ".tif", ".tiff", ".npy"),
}
"""Suffixes of the bundled readers by name, in the order in which readers are tried."""

_VALUES_OF = {".hdr": ".img", ".par": ".rec"}


def known_suffixes(registry: Registry | None = None) -> dict[str, tuple[str, ...]]:
    """Return the suffixes of every registered reader by name: bundled readers first, then readers of other plugins.

    Readers register suffixes as the metadata ``suffixes``, separated by spaces.

    Args:
        registry: contains the readers; ``None``: the default registry of the process.
    """
    components = (default_registry() if registry is None else registry).components("reader")
    registered = {component.name: tuple(component.metadata.get("suffixes", "").split()) for component in components}
    bundled = {name: suffixes for name, suffixes in SUFFIXES.items() if name in registered}
    others = {name: suffixes for name, suffixes in registered.items() if suffixes and name not in SUFFIXES}
    return {**bundled, **others}


def candidates(file_name: str, registry: Registry | None = None) -> list[str]:
    """Return the names of the readers for the suffix of a file name, without regard to case.

    Args:
        file_name: name of a file, with or without folders.
        registry: contains the readers; ``None``: the default registry of the process.

    >>> candidates("subject.nii.gz")
    ['nifti']
    """
    return [name for name, suffixes in known_suffixes(registry).items() if file_name.lower().endswith(suffixes)]


def without_suffix(file_name: str, suffixes: Iterable[str]) -> str:
    """Return a file name without the longest of some suffixes that it ends with, or without what follows its last dot.

    Args:
        file_name: name of a file, without folders.
        suffixes: in lower case, each with its dot.

    >>> without_suffix("sub-01.T2.NII.gz", [".gz", ".nii.gz"])
    'sub-01.T2'
    """
    for suffix in sorted(set(suffixes), key=len, reverse=True):
        if file_name.lower().endswith(suffix):
            return file_name[: -len(suffix)]
    return file_name.rpartition(".")[0] or file_name


def companions(path: Path) -> tuple[Path, ...]:
    """Return the files with the values of a header file: of Analyze and NIfTI pairs, and of PAR/REC.

    Args:
        path: a file of any format.
    """
    wanted = _VALUES_OF.get(path.suffix.lower())
    if wanted is None:
        return ()
    beside = (path.with_suffix(suffix) for suffix in (wanted, wanted.upper()))
    return tuple(file for file in beside if file.is_file())[:1]


def refused_by_all(path: Path, reasons: Mapping[str, UserError]) -> UserError:
    """Return the error for a file that no reader reads.

    Args:
        path: the file.
        reasons: error of each reader, by name.

    Returns:
        The error itself where all readers have the same, otherwise one that names every reader with its reason.
    """
    if len({str(error) for error in reasons.values()}) == 1:
        return next(iter(reasons.values()))
    listed = "; ".join(f"{name}: {str(error).removeprefix(str(path)).lstrip(':, ')}" for name, error in reasons.items())
    return UserError(f"{path}: no reader reads this file ({listed}); name one with the dataset option reader")
