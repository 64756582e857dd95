"""An experiment's task, data, device, precision and store, each created once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from i2ikd.config import Experiment
from i2ikd.engine.batches import CachedBatches, ordered
from i2ikd.engine.device import resolve_device
from i2ikd.engine.precision import Precision, resolve_precision
from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup
from i2ikd.engine.run_folder import RunFolder
from i2ikd.engine.store import Store
from i2ikd.errors import UserError, nearest
from i2ikd.inventory import Inventory
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task
from i2ikd.zoo import located


def create_task(experiment: Experiment, registry: Registry) -> Task:
    """Create the task of an experiment; no data is read.

    Args:
        experiment: as read from TOML.
        registry: of all components.

    Raises:
        UserError: the task does not exist, or its options are wrong.
    """
    section = experiment.task
    task = registry.create("task", section.name, section.options, where=f"task {section.name!r}")
    if not isinstance(task, Task):
        raise UserError(f"task {section.name!r}: expected an i2ikd.Task, got {type(task).__name__}")
    return task


def simulated_lines(task: Task) -> list[str]:
    """Return what a task simulates instead of reading it, as lines of text.

    Args:
        task: its data must be available.

    Raises:
        UserError: data is missing or invalid.
    """
    splits = ("train", "val", "test")
    found: dict[str, list[str]] = {}
    for split in splits:
        for statement in task.dataset(split).simulated:
            found.setdefault(statement, []).append(split)
    return [
        f"simulated: {statement}" + (f" (in {', '.join(stated)})" if len(stated) < len(splits) else "")
        for statement, stated in found.items()
    ]


class ExperimentContext:
    """Shared state of the runs of one experiment: task, data, device, precision and store.

    Args:
        experiment: as read from TOML.
        registry: of all components.
        out: output folder; runs are saved in its store.
        group: the processes that train together; each has a context, and the main one writes.
        remote: whether runs are trained on other machines, so that this one need not have their device.

    Raises:
        UserError: an unknown task, wrong options, an unknown augmentation, or a device this machine lacks.
    """

    def __init__(
        self,
        experiment: Experiment,
        registry: Registry,
        out: Path,
        group: ProcessGroup = SINGLE_PROCESS,
        remote: bool = False,
    ) -> None:
        self.group = group
        self.experiment = experiment
        self.registry = registry
        self.store = Store(out, writes=group.is_main)
        self.task = create_task(experiment, registry)
        self.training = experiment.training
        self._check_augmentations()
        self._remote = remote
        self._measured = RunFolder(out / "store")
        self.device = self._resolve_device()
        self.trained_on: str = self.training.device if remote else self.device.type
        self.precision = self._resolve_precision()
        self._datasets: dict[str, SampleDataset] = {}
        self._validation = CachedBatches(lambda: ordered(self.dataset("val"), self.training.batch))

    def _check_augmentations(self) -> None:
        for name in self.training.augmentations:
            if name not in self.task.augmentations:
                raise UserError(
                    f"training.augmentations: the task {self.experiment.task.name!r} has no augmentation {name!r}; "
                    + nearest(name, self.task.augmentations)
                )

    def _resolve_device(self) -> torch.device:
        """Return the device of this process."""
        wanted = self.training.device
        if self._remote:
            self._refuse_unresolved()
        return resolve_device("auto" if self._remote and wanted == "cuda" else wanted, self.group)

    def _refuse_unresolved(self) -> None:
        """Refuse all settings together that this machine would resolve for the others."""
        training = self.training
        lacking = {"device": "cuda (or cpu)"} if training.device == "auto" else {}
        if training.precision == "auto" and self._known_precision(training.device) is None:
            lacking["precision"] = "bf16 (or fp32)"
        if lacking:
            names = " and ".join(f"training.{name} = 'auto'" for name in lacking)
            remedy = " ".join(f"-o training.{name}={value}" for name, value in lacking.items())
            raise UserError(f"{names}: this machine would decide for those that train; state {remedy}")

    def _resolve_precision(self) -> Precision:
        """Resolve ``auto`` once per folder: a run that continues must compute as it began."""
        known = self._known_precision(self.trained_on) if self.training.precision == "auto" else None
        if known is not None:
            return known
        found = resolve_precision(self.training.precision, self.device)
        return "bf16" if self.group.broadcast(found == "bf16") else "fp32"

    def _known_precisions(self) -> dict[str, Any]:
        """Return the precisions by device that earlier calls resolved ``auto`` to."""
        known = self._measured.read("precision")
        if known is not None and not isinstance(known, dict):
            raise UserError(
                f"{self._measured.path / 'precision.json'}: expected precisions by device, got {type(known).__name__}; "
                "set training.precision to 'bf16' or 'fp32'"
            )
        return known or {}

    def _known_precision(self, device: str) -> Precision | None:
        known = self._known_precisions().get(device)
        return known if known in ("fp32", "bf16") else None

    def remember_precision(self) -> None:
        """Write the precision that ``auto`` was resolved to, before anything is computed with it."""
        known = self._known_precisions()
        if self.group.is_main and self.training.precision == "auto" and self.trained_on not in known:
            self._measured.write("precision", {**known, self.trained_on: self.precision})

    @cached_property
    def given_weights(self) -> Path | None:
        """Path of the teacher's weights, of a bundle of the zoo its folder; ``None``: it is trained.

        Raises:
            UserError: no bundle of this name is registered.
        """
        stated = self.experiment.teacher.weights
        return None if stated is None else located(stated, self.registry)

    def dataset(self, split: str) -> SampleDataset:
        """Return the samples of a split, opened once; the training split has the augmentations."""
        if split not in self._datasets:
            augmentations = self.training.augmentations if split == "train" else ()
            self._datasets[split] = self.task.dataset(split, augmentations)
        return self._datasets[split]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the samples depend on, JSON-able."""
        return {"name": self.experiment.task.name, **self.task.identity()}

    @cached_property
    def document(self) -> dict[str, Any]:
        """The experiment as JSON values, without defaults."""
        return self.experiment.model_dump(mode="json", exclude_unset=True)

    @cached_property
    def inventory(self) -> Inventory:
        """What the data holds."""
        return self.task.inventory()

    @cached_property
    def test_identity(self) -> dict[str, Any]:
        """What the test samples depend on beside ``identity``, JSON-able."""
        return self.task.test_identity()

    def validation(self) -> Iterable[Batch]:
        """Return the validation batches, in order, collated once."""
        return self._validation

    def example(self) -> Batch:
        """Return the first slice of the test split without augmentation, for shapes and costs."""
        return next(iter(ordered(self.dataset("test"), 1)))

    @property
    def share(self) -> int:
        """Samples of a training batch that each process trains on."""
        return min(self.training.batch, len(self.dataset("train"))) // self.group.size
