"""Files that an HDF5 file leads to by links, external storage and virtual datasets: checked before HDF5 opens them."""

from __future__ import annotations

from pathlib import Path

import h5py

from i2ikd import UserError
from i2ikd.files import require_regular_file

_DEEPEST = 16
"""Links in a row that are followed."""


def require_regular_links(file: h5py.File, key: str, depth: int = 0) -> None:
    """Check that every link on the way to an object leads to a regular file.

    Args:
        file: the open file.
        key: name of the object, with the groups above it.
        depth: number of links that led here.

    Raises:
        UserError: a link leads to a pipe, socket, device or folder, to no file, or to itself.
    """
    if depth > _DEEPEST:
        raise UserError(f"{file.filename}: {key!r} is more than {_DEEPEST} links in a row; copy the data itself")
    parts = [part for part in key.split("/") if part not in ("", ".")]
    for number in range(len(parts)):
        place, rest = "/".join(parts[: number + 1]), parts[number + 1 :]
        link = file.get(place, getlink=True)
        if isinstance(link, h5py.SoftLink):
            start = "" if link.path.startswith("/") else "/".join(parts[:number])
            return require_regular_links(file, "/".join((start, link.path, *rest)), depth + 1)
        if isinstance(link, h5py.ExternalLink):
            other = beside(Path(file.filename), link.filename)
            require_regular_file(other)
            with h5py.File(other, "r") as opened:
                return require_regular_links(opened, "/".join((link.path, *rest)), depth + 1)
        if link is None:
            return None
    return None


def require_regular_storage(dataset: h5py.Dataset) -> int:
    """Check that the values of a dataset are stored in regular files.

    Args:
        dataset: the dataset.

    Returns:
        Size of these files in bytes.

    Raises:
        UserError: external storage or a virtual dataset leads to a pipe, socket, device or folder, or to no file.
    """
    path = Path(dataset.file.filename)
    names = [name for name, _, _ in dataset.external or ()]
    if dataset.is_virtual:
        names += [source.file_name for source in dataset.virtual_sources() if source.file_name != "."]
    others = [beside(path, name) for name in dict.fromkeys(names)]
    for other in others:
        require_regular_file(other)
    return sum(file.stat().st_size for file in (path, *others))


def beside(path: Path, name: str) -> Path:
    """Return the file that HDF5 opens for a name in another file: relative names are beside that file.

    Args:
        path: the file with the name.
        name: absolute or relative path.
    """
    return path.parent / name
