"""A budget of memory that everything kept for later epochs shares."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class SliceCache:
    """Keeps values until a limit is reached, and then keeps no more.

    Nothing is ever thrown out for something newer: samples come round in epochs, and a cache that drops the oldest
    entry would then drop each one just before it is needed.

    Args:
        megabytes: the limit; 0 keeps nothing.
    """

    def __init__(self, megabytes: float) -> None:
        self.left = megabytes * 2**20
        self._kept: dict[Hashable, Any] = {}

    def get(self, key: Hashable) -> Any | None:
        """Return what was kept under ``key``, or ``None``."""
        return self._kept.get(key)

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Keep ``value``, of ``size`` bytes, if there is room for it."""
        if key not in self._kept and size <= self.left:
            self._kept[key] = value
            self.left -= size
