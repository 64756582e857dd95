"""Cache of one frozen network's outputs for the training samples, in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from i2ikd.bounded_cache import MIB
from i2ikd.distiller import Knowledge
from i2ikd.engine.batches import BatchSource
from i2ikd.engine.device import training_format
from i2ikd.engine.precision import Precision, autocast
from i2ikd.engine.teacher_cache.codec import CachedRecords
from i2ikd.engine.teacher_cache.collector import Collector
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.errors import UserError
from i2ikd.network import Teacher
from i2ikd.objective import TeacherRequest
from i2ikd.sample import Batch, SampleKey


class TeacherCache:
    """Outputs per sample and request: in memory up to a limit for each request, beyond it mapped from files.

    It is filled by one pass over the samples in their own order, so that its content does not depend on when a run
    was interrupted or on which other runs share the pass. It belongs to one network and one set of samples.

    Args:
        limit_mib: of memory, for each request, in MiB; 0 disables the cache.
        disk: entries shared with other processes, and those too large for memory.
    """

    def __init__(self, limit_mib: int, disk: DiskCache | None = None) -> None:
        self._limit = limit_mib * MIB
        self._disk = disk
        self._records: dict[str, tuple[CachedRecords, dict[SampleKey, int]]] = {}
        self._live: set[str] = set()

    @property
    def size(self) -> int:
        """Bytes of all cached outputs."""
        return sum(records.rows.numel() for records, _ in self._records.values())

    def holds(self, key: str) -> bool:
        """Return whether a request's outputs are cached."""
        return key in self._records

    def accepts(self, request: TeacherRequest) -> bool:
        """Return whether a request's outputs can be cached and are not yet."""
        return (
            self._limit > 0 and request.cacheable and request.key not in self._records and request.key not in self._live
        )

    def take(self, key: str, samples: Sequence[SampleKey], device: torch.device) -> Knowledge:
        """Return a request's outputs for a batch of samples, [B, ...] each, on ``device``."""
        records, rows = self._records[key]
        return records.take(torch.tensor([rows[sample] for sample in samples]), device)

    def fill(
        self,
        requests: Iterable[TeacherRequest],
        network: nn.Module,
        batches: BatchSource,
        device: torch.device,
        precision: Precision,
    ) -> None:
        """Read the outputs that are on disk; compute all other requests in one pass of the network over the samples.

        A request whose outputs exceed all limits is left to be computed live.
        """
        missing = {request.key: request for request in requests if self.accepts(request)}
        if not missing or not batches.stable:
            return
        collectors = []
        for key, request in missing.items():
            address = None
            if self._disk is not None:
                address = self._disk.cache_key.address(request, network, batches.size, device, precision)
            if not self._read(key, address):
                count = batches.steps * batches.size
                collectors.append(Collector(request, self._limit // max(count, 1), self._disk, address))
        try:
            self._compute(collectors, network, batches, device, precision)
        finally:
            for collector in collectors:
                collector.close()

    def _read(self, key: str, address: str | None) -> bool:
        """Read a request's outputs from disk; return whether they were found."""
        if self._disk is None or address is None:
            return False
        records = self._disk.read(address, self._limit)
        if records is not None:
            self._records[key] = records, _rows(self._disk.cache_key.keys)
        return records is not None

    def _compute(
        self,
        collectors: list[Collector],
        network: nn.Module,
        batches: BatchSource,
        device: torch.device,
        precision: Precision,
    ) -> None:
        if not collectors:
            return
        keys: list[SampleKey] = []
        paths = [path for collector in collectors for path in collector.request.paths]
        with Teacher(network, paths, lambda: autocast(device, precision)) as teacher, torch.no_grad():
            for batch in batches.in_order():
                keys += batch.keys
                padded = _padded(batch, batches.size).to(device, memory_format=training_format(device))
                output = teacher(padded)
                for collector in list(collectors):
                    request = collector.request
                    outputs = request.extract(teacher.features(request.paths, output), padded)
                    if not collector.add(outputs, len(batch)):
                        collectors.remove(collector)
                        self._give_up(collector)
                if not collectors:
                    return
        rows = _rows(keys)
        for collector in collectors:
            records = collector.finish(keys)
            if records is None:
                self._give_up(collector)
            else:
                self._records[collector.request.key] = records, rows

    def _give_up(self, collector: Collector) -> None:
        """Leave a request to be computed live: for good, unless another process is writing its entry."""
        collector.close()
        if not collector.is_being_written:
            self._live.add(collector.request.key)


def _padded(batch: Batch, size: int) -> Batch:
    """Repeat samples of a batch that is not full: for another size, sums may be taken in another order."""
    if len(batch) >= size:
        return batch
    return batch.select(torch.arange(size) % len(batch))


def _rows(keys: Sequence[SampleKey]) -> dict[SampleKey, int]:
    rows = {sample: row for row, sample in enumerate(keys)}
    if len(rows) != len(keys):
        raise UserError("the training split has two samples of equal key; expected a key of its own for every slice")
    return rows
