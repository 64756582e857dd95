"""What a teacher said about the training samples, computed once and kept; and the listening to it in every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from i2ikd.distiller import Knowledge
from i2ikd.engine.batches import BatchSource
from i2ikd.engine.objective import ActiveTerm
from i2ikd.engine.precision import Precision, autocast
from i2ikd.errors import UserError
from i2ikd.network import Observed, Teacher
from i2ikd.sample import Batch, SampleKey


class KnowledgeBank:
    """Knowledge per sample, in memory, up to a limit for each term.

    It is filled by one pass over the samples in their own order, so that what it holds does not depend on when a run
    was interrupted or on which other arms share the pass. It belongs to one teacher and one set of samples.
    """

    def __init__(self, limit_mb: int) -> None:
        self._limit = limit_mb * 2**20
        self._rows: dict[SampleKey, int] = {}
        self._kept: dict[str, dict[str, Tensor]] = {}
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
        rows = torch.tensor([self._rows[sample] for sample in samples])
        return {name: tensor[rows].to(device, non_blocking=True) for name, tensor in self._kept[key].items()}

    def fill(
        self,
        terms: Iterable[ActiveTerm],
        teacher: nn.Module,
        batches: BatchSource,
        device: torch.device,
        precision: Precision,
    ) -> None:
        """Ask the teacher about every sample, once for all terms; a term over the limit is left to be asked live."""
        wanted = {term.knowledge_key: term for term in terms if term.distiller.uses_teacher and self.wants(term)}
        if not wanted or not batches.stable:
            return
        collected: dict[str, list[Knowledge]] = {key: [] for key in wanted}
        keys: list[SampleKey] = []
        count = batches.steps * batches.size
        with Teacher(teacher, [p for term in wanted.values() for p in term.teacher_paths]) as told:
            for batch in batches.in_order():
                if not wanted:
                    return
                keys += batch.keys
                there = batch.to(device)
                with autocast(device, precision):
                    output = told(there)
                for key, term in list(wanted.items()):
                    knowledge = _said(term, told, output, there)
                    if not collected[key] and _bytes(knowledge) / len(batch) * count > self._limit:
                        self._live.add(key)
                        del wanted[key], collected[key]
                        continue
                    collected[key].append({name: tensor.cpu() for name, tensor in knowledge.items()})
        if len(set(keys)) != len(keys):
            raise UserError("two samples of the training split have the same key; a task must give every slice its own")
        self._rows = {sample: row for row, sample in enumerate(keys)}
        for key, parts in collected.items():
            self._kept[key] = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


class Listening:
    """The teacher in the training loop: run at most once a batch, for all terms of all trainees, if need be."""

    def __init__(
        self,
        teacher: nn.Module | None,
        terms: Sequence[ActiveTerm],
        bank: KnowledgeBank,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self._bank = bank
        self._device = device
        self._precision = precision
        live = [t for t in terms if t.distiller.uses_teacher and not bank.holds(t.knowledge_key)]
        self._teacher = None
        if live:
            assert teacher is not None, "a term that needs a teacher is refused without one"
            self._teacher = Teacher(teacher, [path for term in live for path in term.teacher_paths])
        self._output: Tensor | None = None

    def hear(self, batch: Batch) -> None:
        """Run the teacher on the batch, if any term needs it live."""
        if self._teacher is not None:
            with autocast(self._device, self._precision):
                self._output = self._teacher(batch)

    def knowledge(self, term: ActiveTerm, batch: Batch) -> Knowledge:
        """Return what the teacher says about the batch to a term."""
        if not term.distiller.uses_teacher:
            return {}
        key = term.knowledge_key
        if self._bank.holds(key):
            return self._bank.take(key, batch.keys, self._device)
        assert self._teacher is not None and self._output is not None, "hear() comes before knowledge()"
        return _said(term, self._teacher, self._output, batch)

    def close(self) -> None:
        """Remove the hooks from the teacher."""
        if self._teacher is not None:
            self._teacher.close()


@torch.no_grad()
def _said(term: ActiveTerm, told: Observed, output: Tensor, batch: Batch) -> Knowledge:
    return term.distiller.knowledge(told.features(term.teacher_paths, output), batch)


def _bytes(knowledge: Knowledge) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in knowledge.values())
