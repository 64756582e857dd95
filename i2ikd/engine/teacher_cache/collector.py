"""Collection of one request's teacher outputs during a pass over the samples, in memory, on disk, or both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from i2ikd.distiller import Knowledge
from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.engine.teacher_cache.entry import EntryWriter
from i2ikd.objective import TeacherRequest
from i2ikd.sample import SampleKey


class Collector:
    """Collects the teacher outputs of one request, batch by batch.

    Args:
        request: the request.
        limit: the most bytes per sample to keep in memory.
        disk: cache to write an entry to; ``None``: memory only.
        address: of the entry; ``None``: no entry is written.
    """

    def __init__(self, request: TeacherRequest, limit: int, disk: DiskCache | None, address: str | None) -> None:
        self.request = request
        self._limit = limit
        self._disk = disk
        self._address = address
        self._layout: RecordLayout | None = None
        self._in_memory: list[Tensor] | None = None
        self._writer: EntryWriter | None = None

    @property
    def is_being_written(self) -> bool:
        """Whether another process writes the same entry, so that a later epoch can read it."""
        return self._disk is not None and self._address is not None and self._disk.is_being_written(self._address)

    def add(self, knowledge: Knowledge, count: int) -> bool:
        """Store the outputs for the first ``count`` samples of a batch.

        Args:
            knowledge: the outputs, [B, ...] each.
            count: number of samples; further ones are padding.

        Returns:
            Whether they were stored: false if neither memory nor disk has room, or if shapes differ between samples.
        """
        if self._layout is None:
            self._begin(RecordLayout.of(knowledge))
        assert self._layout is not None
        if not self._layout.fits(knowledge):  # slices of unequal size
            return False
        rows = self._layout.pack(knowledge, count)
        if self._in_memory is not None:
            self._in_memory.append(rows)
        if self._writer is not None:
            assert self._disk is not None
            try:
                self._writer.add(rows)
            except OSError as error:
                self._disk.give_up(error)
                self.close()
        return self._in_memory is not None or self._writer is not None

    def _begin(self, layout: RecordLayout) -> None:
        """Choose where to store, from the layout of the first batch."""
        self._layout = layout
        if layout.bytes <= self._limit:
            self._in_memory = []
        if self._disk is not None and self._address is not None:
            self._writer = self._disk.writer(self._address, layout)

    def finish(self, keys: Sequence[SampleKey]) -> CachedRecords | None:
        """Complete the entry on disk and return the records.

        Args:
            keys: of the samples, in the order in which they were added.

        Returns:
            The records, from memory if it holds them; ``None`` if they are not available.
        """
        committed = False
        if self._disk is not None and self._writer is not None and list(keys) == list(self._disk.cache_key.keys):
            committed = self._disk.commit(self._writer)
        if self._in_memory is not None:
            assert self._layout is not None
            return CachedRecords(self._layout, torch.cat(self._in_memory))
        if committed and self._disk is not None and self._address is not None:
            return self._disk.read(self._address, 0)
        return None

    def close(self) -> None:
        """Remove an incomplete entry."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
