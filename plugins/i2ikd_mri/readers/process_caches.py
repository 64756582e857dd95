"""Caches of open files and decoded slices, shared by all volumes of a process."""

from __future__ import annotations

import math
from operator import methodcaller
from typing import Any

from i2ikd import BoundedCache

OPEN_FILES = BoundedCache[Any](math.inf, policy="evict", max_items=256, on_removal=methodcaller("close"))
"""Open files by the id of their owner; the usual limit of a process is 1024."""

DECODED = BoundedCache[Any](256, policy="evict")
"""Data by the id of their owner: files that cannot be read slice by slice, and slices read before their use."""
