"""What the teacher says to one term in a pass over the samples, on its way into memory, onto the disk, or both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from i2ikd.distiller import Knowledge
from i2ikd.engine.objective import ActiveTerm
from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.engine.teacher_cache.entry import EntryWriter
from i2ikd.sample import SampleKey


class Collector:
    """Takes batch after batch.

    Args:
        term: whose distiller listens.
        limit: bytes for each sample that memory has room for.
        files: the disk.
        address: of the entry; ``None``: it is not written.
    """

    def __init__(self, term: ActiveTerm, limit: int, files: DiskCache | None, address: str | None) -> None:
        self.term = term
        self._limit = limit
        self._files = files
        self._address = address
        self._form: RecordLayout | None = None
        self._in_memory: list[Tensor] | None = None
        self._writer: EntryWriter | None = None

    @property
    def coming(self) -> bool:
        """Whether another process has the same on its way, so that it is worth looking again an epoch later."""
        return self._files is not None and self._address is not None and self._files.coming(self._address)

    def add(self, knowledge: Knowledge, count: int) -> bool:
        """Keep what was said about the first ``count`` samples of a batch; return whether there is a place for it."""
        if self._form is None:
            self._begin(RecordLayout.of(knowledge))
        assert self._form is not None
        if not self._form.fits(knowledge):  # slices of different size
            return False
        rows = self._form.pack(knowledge, count)
        if self._in_memory is not None:
            self._in_memory.append(rows)
        if self._writer is not None:
            assert self._files is not None
            try:
                self._writer.add(rows)
            except OSError as error:
                self._files.give_up(error)
                self.close()
        return self._in_memory is not None or self._writer is not None

    def _begin(self, form: RecordLayout) -> None:
        self._form = form
        if form.bytes <= self._limit:
            self._in_memory = []
        if self._files is not None and self._address is not None:
            self._writer = self._files.writer(self._address, form)

    def finish(self, keys: Sequence[SampleKey]) -> CachedRecords | None:
        """Finish the entry on disk; return what is to be taken from now on."""
        there = False
        if self._files is not None and self._writer is not None and list(keys) == list(self._files.cache_key.keys):
            there = self._files.commit(self._writer)
        if self._in_memory is not None:
            assert self._form is not None
            return CachedRecords(self._form, torch.cat(self._in_memory))
        if there and self._files is not None and self._address is not None:
            return self._files.read(self._address, 0)
        return None

    def close(self) -> None:
        """Remove an entry that was not finished."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
