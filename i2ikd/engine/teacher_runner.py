"""The teacher in the training loop: what is kept is taken, what is not is asked, with at most one run a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from i2ikd.distiller import Knowledge
from i2ikd.engine.objective import ActiveTerm
from i2ikd.engine.precision import Precision, autocast
from i2ikd.engine.teacher_cache.cache import TeacherCache, said
from i2ikd.network import Teacher
from i2ikd.sample import Batch


class TeacherRunner:
    """The teacher in the training loop: run at most once a batch, for all terms of all trainees, if need be."""

    def __init__(
        self,
        teacher: nn.Module | None,
        terms: Sequence[ActiveTerm],
        bank: TeacherCache,
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

    def forward(self, batch: Batch) -> None:
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
        return said(term, self._teacher, self._output, batch)

    def release(self) -> None:
        """Let go of what the teacher gave for the batch: its features would stay in memory while students learn."""
        if self._teacher is not None:
            self._teacher.taps.clear()
        self._output = None

    def close(self) -> None:
        """Remove the hooks from the teacher."""
        if self._teacher is not None:
            self._teacher.close()
