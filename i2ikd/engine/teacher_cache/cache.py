"""What a teacher said about the training samples, computed once and kept: in memory, on disk, or both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from i2ikd.distiller import Knowledge
from i2ikd.engine.batches import BatchSource
from i2ikd.engine.device import training_format
from i2ikd.engine.objective import ActiveTerm
from i2ikd.engine.precision import Precision, autocast
from i2ikd.engine.teacher_cache.codec import CachedRecords
from i2ikd.engine.teacher_cache.collector import Collector
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.errors import UserError
from i2ikd.network import Observed, Teacher
from i2ikd.sample import Batch, SampleKey


class TeacherCache:
    """Knowledge per sample: in memory up to a limit for each term, beyond it mapped from files.

    It is filled by one pass over the samples in their own order, so that what it holds does not depend on when a run
    was interrupted or on which other arms share the pass. It belongs to one teacher and one set of samples.

    Args:
        limit_mb: of memory, for each term; 0: nothing is kept anywhere.
        files: where answers are kept for other processes too, and those that are too large for memory.
    """

    def __init__(self, limit_mb: int, files: DiskCache | None = None) -> None:
        self._limit = limit_mb * 2**20
        self._files = files
        self._kept: dict[str, tuple[CachedRecords, dict[SampleKey, int]]] = {}
        self._live: set[str] = set()

    def holds(self, key: str) -> bool:
        """Whether a term's knowledge can be taken from here."""
        return key in self._kept

    def wants(self, term: ActiveTerm) -> bool:
        """Whether a term's knowledge may be kept and is not yet."""
        key = term.knowledge_key
        return self._limit > 0 and term.distiller.cacheable and key not in self._kept and key not in self._live

    def take(self, key: str, samples: Sequence[SampleKey], device: torch.device) -> Knowledge:
        """Return what was said about these samples."""
        kept, rows = self._kept[key]
        return kept.take(torch.tensor([rows[sample] for sample in samples]), device)

    def fill(
        self,
        terms: Iterable[ActiveTerm],
        teacher: nn.Module,
        batches: BatchSource,
        device: torch.device,
        precision: Precision,
    ) -> None:
        """Read what the files have; ask the teacher about every sample for all other terms, in one pass.

        A term that is over all limits is left to be asked live.
        """
        wanted = {term.knowledge_key: term for term in terms if term.distiller.uses_teacher and self.wants(term)}
        if not wanted or not batches.stable:
            return
        collectors = []
        for key, term in wanted.items():
            address = None
            if self._files is not None:
                address = self._files.cache_key.address(term, teacher, batches.size, device, precision)
            if not self._read(key, address):
                count = batches.steps * batches.size
                collectors.append(Collector(term, self._limit // max(count, 1), self._files, address))
        try:
            self._ask(collectors, teacher, batches, device, precision)
        finally:
            for collector in collectors:
                collector.close()

    def _read(self, key: str, address: str | None) -> bool:
        """Take a term's knowledge from the files, if it is there."""
        if self._files is None or address is None:
            return False
        kept = self._files.read(address, self._limit)
        if kept is not None:
            self._kept[key] = kept, _numbered(self._files.cache_key.keys)
        return kept is not None

    def _ask(
        self,
        collectors: list[Collector],
        teacher: nn.Module,
        batches: BatchSource,
        device: torch.device,
        precision: Precision,
    ) -> None:
        keys: list[SampleKey] = []
        if not collectors:
            return
        with Teacher(teacher, [path for collector in collectors for path in collector.term.teacher_paths]) as told:
            for batch in batches.in_order():
                keys += batch.keys
                there = _filled_up(batch, batches.size).to(device, memory_format=training_format(device))
                with autocast(device, precision):
                    output = told(there)
                for collector in list(collectors):
                    if not collector.add(said(collector.term, told, output, there), len(batch)):
                        collectors.remove(collector)
                        self._leave(collector)
                if not collectors:
                    return
        rows = _numbered(keys)
        for collector in collectors:
            kept = collector.finish(keys)
            if kept is None:
                self._leave(collector)
            else:
                self._kept[collector.term.knowledge_key] = kept, rows

    def _leave(self, collector: Collector) -> None:
        """Let a term be asked live: for good, unless another process is about to have its entry ready."""
        collector.close()
        if not collector.coming:
            self._live.add(collector.term.knowledge_key)


@torch.no_grad()
def said(term: ActiveTerm, told: Observed, output: Tensor, batch: Batch) -> Knowledge:
    """Return what a teacher that has just been run on a batch says to a term."""
    features = told.features(term.teacher_paths, output)
    with term.attribute_errors():
        return term.distiller.knowledge(features, batch)


def _filled_up(batch: Batch, size: int) -> Batch:
    """Repeat samples of a batch that is not full: for another size a teacher may add up in another order."""
    if len(batch) >= size:
        return batch
    index = torch.arange(size) % len(batch)
    return Batch(
        input=batch.input[index],
        target=batch.target[index],
        conditions={name: tensor[index] for name, tensor in batch.conditions.items()},
        keys=[batch.keys[i] for i in index.tolist()] if batch.keys else [],
    )


def _numbered(keys: Sequence[SampleKey]) -> dict[SampleKey, int]:
    rows = {sample: row for row, sample in enumerate(keys)}
    if len(rows) != len(keys):
        raise UserError("two samples of the training split have the same key; a task must give every slice its own")
    return rows
