"""Bounds what one process keeps open or decoded: the least recently used owner lets go first."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Protocol


class Owner(Protocol):
    """Something that holds a resource and can get it again."""

    def release(self) -> None:
        """Let go of the resource."""
        ...


class Budget:
    """The resources that may be held at one time, in any unit of cost.

    Owners are not kept alive by it. A forked process inherits a copy, a fresh process starts with none.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[int, tuple[weakref.ref[Owner], int]] = OrderedDict()
        self._total = 0

    def use(self, owner: Owner, cost: int = 1) -> None:
        """Note that ``owner`` used its resource just now; others let go while the total is over the limit."""
        _, old = self._held.pop(id(owner), (None, 0))
        self._held[id(owner)] = (weakref.ref(owner), cost)
        self._total += cost - old
        while self._total > self.limit and len(self._held) > 1:
            _, (reference, freed) = self._held.popitem(last=False)
            self._total -= freed
            oldest = reference()
            if oldest is not None:
                oldest.release()


OPEN_FILES = Budget(256)
"""Open files; the usual limit of a process is 1024."""
DECODED_BYTES = Budget(256 * 2**20)
"""Data of files that cannot be read slice by slice, and slices that are read before they are asked for."""
