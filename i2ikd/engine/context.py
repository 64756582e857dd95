"""What all trainees of one loop stand on: the task, the samples, the teacher, the device, the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from i2ikd.engine.batches import BatchSource, Part
from i2ikd.engine.device import training_format
from i2ikd.engine.precision import Precision, autocast
from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.network import apply
from i2ikd.recipe import Pairs
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import Task


@dataclass
class TrainingContext:
    """Shared by every trainee of one loop."""

    registry: Registry
    task: Task
    batches: BatchSource
    validation: Callable[[], Iterable[Batch]] | None
    """Gives the validation batches, in order; ``None``: nothing to select by."""
    device: torch.device
    precision: Precision
    teacher: nn.Module | None = None
    teacher_model: str = ""
    pairs: Pairs | None = None
    bank: TeacherCache = field(default_factory=lambda: TeacherCache(0))
    preparation_batches: int = 32
    """At most so many batches are shown to ``Distiller.prepare``."""
    group: ProcessGroup = SINGLE_PROCESS
    """Which of the processes of one training this is."""
    _example: Batch | None = None

    def example(self) -> Batch:
        """The first training batch in the data's order, for dry runs."""
        if self._example is None:
            self._example = self.to_device(next(iter(self.batches.in_order())))
        return self._example

    @property
    def part(self) -> Part:
        """Which part of every batch this process learns from."""
        return self.group.rank, self.group.size

    @property
    def share(self) -> int:
        """Samples of a batch that this process learns from."""
        return self.batches.size // self.group.size

    def notify(self, hook: str, context: Any) -> None:
        """Call a life-cycle hook; of several processes the first does, as hooks only look and write down."""
        if self.group.is_main:
            self.registry.notify(hook, context)

    def to_device(self, batch: Batch) -> Batch:
        """Return the batch on the device, images in the memory format of the training."""
        return batch.to(self.device, memory_format=training_format(self.device), non_blocking=True)

    def first_batches(self, count: int) -> Iterator[Batch]:
        """The first batches of epoch 0, whole in every process."""
        for index, batch in enumerate(self.batches.epoch(0)):
            if index >= count:
                return
            yield self.to_device(batch)

    @torch.no_grad()
    def validation_loss(self, network: nn.Module) -> float:
        """Return the task's loss over the validation split, each slice counted alike.

        Several processes divide the batches among them, and get the same loss.
        """
        assert self.validation is not None
        training = network.training
        network.eval()
        total, count = 0.0, 0
        for index, batch in enumerate(self.validation()):
            if index % self.group.size != self.group.rank:
                continue
            there = self.to_device(batch)
            with autocast(self.device, self.precision):
                output = apply(network, there)
            total += float(self.task.loss(output.float(), there.target)) * len(batch)
            count += len(batch)
        network.train(training)
        whole, slices = self.group.sum([total, count])
        return whole / slices
