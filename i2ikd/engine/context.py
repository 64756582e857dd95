"""Shared state of a training loop: task, batches, input networks and their caches, device, processes, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from i2ikd.callback import Callback, NullCallback
from i2ikd.engine.batches import BatchSource, Part
from i2ikd.engine.device import training_format
from i2ikd.engine.precision import Precision, autocast
from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.errors import UserError
from i2ikd.network import apply
from i2ikd.objective import Side
from i2ikd.recipe import Pairs
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import Task


@dataclass
class TrainingContext:
    """Everything the runs of one loop share.

    Attributes:
        registry: creates objectives and distillers.
        task: samples, loss and metrics.
        batches: training batches.
        validation: returns an iterator of the validation batches, in order; ``None``: weights are not selected.
        device: of networks and batches.
        precision: of the networks' forward passes.
        inputs: frozen networks by role (``teacher``, ...), on the device.
        models: model names by role, for registered pairs.
        pairs: taps that the experiment states.
        caches: of each input network's outputs, by role.
        left_networks: returns a further network that an input's run left behind, by role and name.
        build: returns a freshly initialised network of a side of the experiment.
        group: the processes that train together.
        callback: receives the events of the loop.
        preparation_batches: largest number of batches passed to ``Distiller.prepare``.
    """

    registry: Registry
    task: Task
    batches: BatchSource
    validation: Callable[[], Iterable[Batch]] | None
    device: torch.device
    precision: Precision
    inputs: Mapping[str, nn.Module] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    pairs: Pairs | None = None
    caches: Mapping[str, TeacherCache] = field(default_factory=dict)
    left_networks: Callable[[str, str], nn.Module] | None = None
    build: Callable[[Side], nn.Module] | None = None
    group: ProcessGroup = SINGLE_PROCESS
    callback: Callback = field(default_factory=NullCallback)
    preparation_batches: int = 32
    _example: Batch | None = None

    def example(self) -> Batch:
        """Return the first training batch in the data's order, for dry runs."""
        if self._example is None:
            self._example = self.to_device(next(iter(self.batches.in_order())))
        return self._example

    @property
    def part(self) -> Part:
        """Which part of every batch this process trains on."""
        return self.group.rank, self.group.size

    @property
    def share(self) -> int:
        """Samples of a batch that this process trains on."""
        return self.batches.size // self.group.size

    @property
    def events(self) -> Callback:
        """The callback in the main process; in the others one that does nothing."""
        return self.callback if self.group.is_main else NullCallback()

    @property
    def autocast(self) -> Callable[[], AbstractContextManager[object]]:
        """Returns the context manager under which networks run."""
        return partial(autocast, self.device, self.precision)

    def left_network(self, role: str, name: str) -> nn.Module:
        """Return a further network that the run of an input left behind.

        Raises:
            UserError: there is none.
        """
        if self.left_networks is None:
            raise UserError(f"the input {role!r} has no network {name!r}: it is not a run of an experiment")
        return self.left_networks(role, name)

    def to_device(self, batch: Batch) -> Batch:
        """Return the batch on the device, images in the memory format of training."""
        return batch.to(self.device, memory_format=training_format(self.device), non_blocking=True)

    def first_batches(self, count: int) -> Iterator[Batch]:
        """Yield the first batches of epoch 0, whole in every process."""
        for index, batch in enumerate(self.batches.epoch(0)):
            if index >= count:
                return
            yield self.to_device(batch)

    @torch.no_grad()
    def validation_loss(self, network: nn.Module) -> float:
        """Return the task's loss over the validation split, the mean over slices; equal in all processes.

        Raises:
            UserError: a validation sample without a target.
        """
        assert self.validation is not None
        training = network.training
        network.eval()
        total, count = 0.0, 0
        for index, batch in enumerate(self.validation()):
            if index % self.group.size != self.group.rank:
                continue
            if batch.labelled is not None:
                raise UserError(f"validation: expected a target for every sample, got none for {_unlabelled(batch)}")
            on_device = self.to_device(batch)
            with autocast(self.device, self.precision):
                output = apply(network, on_device)
            total += float(self.task.loss(output.float(), on_device.target)) * len(batch)
            count += len(batch)
        network.train(training)
        whole, slices = self.group.sum([total, count])
        return whole / slices


def _unlabelled(batch: Batch) -> str:
    """Return the name of the first sample without a target."""
    assert batch.labelled is not None
    row = int((~batch.labelled).nonzero()[0])
    return f"{batch.keys[row].volume}[{batch.keys[row].index}]" if batch.keys else f"sample {row} of a batch"
