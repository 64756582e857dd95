"""Bundles of trained networks that plugins register, named ``zoo:NAME`` where a path of a bundle is expected."""

from __future__ import annotations

from pathlib import Path

from i2ikd.errors import UserError
from i2ikd.registry import Registry, default_registry

ZOO = "zoo:"


def located(path: str | Path, registry: Registry | None = None) -> Path:
    """Return the folder of a bundle of the zoo, or any other path as it is.

    Args:
        path: of a file or folder, or ``zoo:NAME`` of a registered bundle.
        registry: contains the bundles; ``None``: the default registry of the process.

    Raises:
        UserError: no bundle of this name is registered, or its folder is missing.
    """
    text = str(path)
    if not text.startswith(ZOO):
        return Path(path)
    name = text.removeprefix(ZOO)
    folder = (registry or default_registry()).create("bundle", name)
    if not isinstance(folder, Path) or not folder.is_dir():
        raise UserError(
            f"bundle {name!r}: expected the path of its folder, got {str(folder)!r}; install its plugin again"
        )
    return folder
