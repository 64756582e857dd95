"""Hook that registers the task ``pairs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register(
        "pairs",
        "i2ikd_pairs.task:Pairs",
        summary="images and their targets from two folders, a table or an HDF5 file: denoising, CT, photographs",
        template="i2ikd_pairs:template.toml",
    )
