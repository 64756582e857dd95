"""What all trainees of one loop stand on: the task, the samples, the teacher, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from i2ikd.engine.batches import BatchSource
from i2ikd.engine.device import training_format
from i2ikd.engine.knowledge import KnowledgeBank
from i2ikd.engine.precision import Precision, autocast
from i2ikd.network import apply
from i2ikd.plugins import Host
from i2ikd.recipe import Pairs
from i2ikd.sample import Batch
from i2ikd.task import Task


@dataclass
class Ground:
    """Shared by every trainee of one loop."""

    host: Host
    task: Task
    batches: BatchSource
    validation: Callable[[], Iterable[Batch]] | None
    """Gives the validation batches, in order; ``None``: nothing to select by."""
    device: torch.device
    precision: Precision
    teacher: nn.Module | None = None
    teacher_model: str = ""
    pairs: Pairs | None = None
    bank: KnowledgeBank = field(default_factory=lambda: KnowledgeBank(0))
    preparation_batches: int = 32
    """At most so many batches are shown to ``Distiller.prepare``."""
    _example: Batch | None = None

    def example(self) -> Batch:
        """The first training batch in the data's order, for dry runs."""
        if self._example is None:
            self._example = self.there(next(iter(self.batches.in_order())))
        return self._example

    def there(self, batch: Batch) -> Batch:
        """Return the batch on the device, images in the memory format of the training."""
        return batch.to(self.device, memory_format=training_format(self.device), non_blocking=True)

    def first_batches(self, count: int) -> Iterator[Batch]:
        """The first batches of epoch 0."""
        for index, batch in enumerate(self.batches.epoch(0)):
            if index >= count:
                return
            yield self.there(batch)

    @torch.no_grad()
    def validation_loss(self, network: nn.Module) -> float:
        """Return the task's loss over the validation split, each slice counted alike."""
        assert self.validation is not None
        training = network.training
        network.eval()
        total, count = 0.0, 0
        for batch in self.validation():
            there = self.there(batch)
            with autocast(self.device, self.precision):
                output = apply(network, there)
            total += float(self.task.loss(output.float(), there.target)) * len(batch)
            count += len(batch)
        network.train(training)
        return total / count
