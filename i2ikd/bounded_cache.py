"""Cache with a limit on its total size and on its number of items."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

Value = TypeVar("Value")

MIB = 2**20


@dataclass(frozen=True)
class _Item(Generic[Value]):
    value: Value
    size: int
    finalizer: weakref.finalize[Any, Any] | None

    def detach(self) -> None:
        """Cancel the removal of the item with its owner."""
        if self.finalizer is not None:
            self.finalizer.detach()


class BoundedCache(Generic[Value]):
    """Cache whose items have at most a total size, with an explicit policy for items beyond it.

    The policy decides what ``put`` does with an item beyond a limit:

    - ``refuse``: the item is not stored, and no other item is removed. For items that are read in rotation, such as the
      samples of an epoch: eviction would remove each item shortly before its next use.
    - ``evict``: the least recently used items are removed until the limits are met. The item itself is always stored,
      even if it exceeds the size limit alone, because its caller reads it next.

    The cache is not thread-safe. A forked process inherits a copy.

    Args:
        limit_mib: limit of the total size in MiB, at least 0; ``math.inf``: no limit.
        policy: ``refuse`` or ``evict``.
        max_items: greatest number of items, at least 1; ``None``: no limit.
        on_removal: called with each value that leaves the cache by eviction, replacement, ``remove``, ``clear`` or the
            deletion of its owner, for instance to close a file.

    >>> cache = BoundedCache[str](1, policy="refuse")
    >>> cache.put("a", "A", size=2**20), cache.put("b", "B", size=1)
    (True, False)
    >>> cache.get("a"), cache.get("b")
    ('A', None)
    """

    def __init__(
        self,
        limit_mib: float,
        policy: Literal["refuse", "evict"],
        max_items: int | None = None,
        on_removal: Callable[[Value], None] | None = None,
    ) -> None:
        self.limit = limit_mib * MIB
        self._policy = policy
        self._max_items = max_items
        self._on_removal = on_removal
        self._items: OrderedDict[Hashable, _Item[Value]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Total size of the stored items in bytes."""
        return self._size

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        """Whether an item is stored; does not count as a use of the item."""
        return key in self._items

    def get(self, key: Hashable) -> Value | None:
        """Return the value of an item, which becomes the most recently used one, or ``None``.

        Args:
            key: key of the item.
        """
        item = self._items.get(key)
        if item is None:
            return None
        self._items.move_to_end(key)
        return item.value

    def put(self, key: Hashable, value: Value, size: int, owner: object = None) -> bool:
        """Store an item as the most recently used one, and replace an item with the same key.

        Args:
            key: key of the item.
            value: the value; must not refer to ``owner``, which would then never be deleted.
            size: size of the value in bytes.
            owner: object with whose deletion the item is removed; ``None``: the item stays.

        Returns:
            Whether the item is stored; always true with the policy ``evict``. A refused item does not replace another.
        """
        old = self._items.get(key)
        if self._policy == "refuse":
            count, total = (len(self), self._size - old.size) if old else (len(self) + 1, self._size)
            if self._exceeded(count, total + size):
                return False
        if old is not None:
            self._drop(key, release=old.value is not value)
        finalizer = None
        if owner is not None:
            finalizer = weakref.finalize(owner, self.remove, key)
            finalizer.atexit = False
        self._items[key] = _Item(value, size, finalizer)
        self._size += size
        while len(self) > 1 and self._exceeded(len(self), self._size):
            self._drop(next(iter(self._items)))
        return True

    def remove(self, key: Hashable) -> None:
        """Remove an item, if it is stored.

        Args:
            key: key of the item.
        """
        if key in self._items:
            self._drop(key)

    def clear(self) -> None:
        """Remove all items."""
        while self._items:
            self._drop(next(iter(self._items)))

    def _exceeded(self, count: int, size: int) -> bool:
        return size > self.limit or (self._max_items is not None and count > self._max_items)

    def _drop(self, key: Hashable, release: bool = True) -> None:
        item = self._items.pop(key)
        self._size -= item.size
        item.detach()
        if release and self._on_removal is not None:
            self._on_removal(item.value)
