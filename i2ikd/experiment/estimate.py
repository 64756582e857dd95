"""Time, memory and disk space of an experiment, from three measured steps of every stage; nothing is trained."""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2ikd.callback import NullCallback, RunContext
from i2ikd.config import Arm
from i2ikd.engine import loop
from i2ikd.engine.batches import WHOLE, BatchSource, Part, ordered
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.run import Run, create_transforms
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.engine.trainer import Trainer
from i2ikd.evaluation.predict import evaluate_network
from i2ikd.evaluation.records import NO_SEED
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.metrics import table_metrics
from i2ikd.experiment.networks import blank_input
from i2ikd.experiment.plan import Plan
from i2ikd.experiment.training import RunTrainer
from i2ikd.network import apply, to_memory_format
from i2ikd.sample import Batch, Sample, SampleKey
from i2ikd.seeds import kept_random_state
from i2ikd.task import SampleDataset

STEPS = 3
"""Measured steps of a stage, after one that is not."""
_REPORT_SECONDS = 15.0
"""Statistics, latency, pictures and figures of a comparison, which depend little on its data."""
_MIB = 2**20


@dataclass(frozen=True)
class RunEstimate:
    """Estimate of one run.

    Attributes:
        name: of the run.
        action: ``reuse``, ``go on`` or ``train``.
        steps: of all stages.
        seconds: of the training, validation included; 0 for a run that is reused. A run that goes on is counted whole.
        setup_seconds: the part of ``seconds`` that does not depend on the number of epochs.
    """

    name: str
    action: str
    steps: int
    seconds: float
    setup_seconds: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """Estimate of a whole comparison.

    Attributes:
        runs: in the order of training.
        evaluation_seconds: of scores, statistics and report.
        memory_mib: peak memory of the process, or of the CUDA device, with all slices in memory.
        disk_mib: weights, checkpoints and teacher cache.
        free_mib: free disk space of the output folder.
        device: of the measurement, with the number of CPU threads.
    """

    runs: tuple[RunEstimate, ...]
    evaluation_seconds: float
    memory_mib: float
    disk_mib: float
    free_mib: float
    device: str

    @property
    def seconds(self) -> float:
        """Time of the whole comparison in one process."""
        return sum(run.seconds for run in self.runs) + self.evaluation_seconds

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**dataclasses.asdict(self), "seconds": self.seconds}


def estimate(graph: RunGraph, wanted: Plan, arms: Sequence[Arm], seeds: Sequence[int]) -> Estimate:
    """Measure three steps of every stage that is to be trained, and the scoring of a few slices.

    Seeds of an arm share a measurement. Global random states are put back.

    Args:
        graph: of the checked experiment.
        wanted: the plan of its runs.
        arms: of the comparison.
        seeds: of the comparison.
    """
    with kept_random_state():
        meter = _Meter(graph)
        runs = [meter.run(decision.run, decision.action) for decision in wanted.decisions]
        evaluation = meter.evaluation(arms, seeds) + _REPORT_SECONDS
    context = graph.context
    device = context.device.type
    return Estimate(
        runs=tuple(runs),
        evaluation_seconds=evaluation,
        memory_mib=_peak_mib(context.device) + meter.unread_mib(),
        disk_mib=meter.disk_mib,
        free_mib=shutil.disk_usage(_existing(context.store.root)).free / _MIB,
        device=device if device != "cpu" else f"cpu, {torch.get_num_threads()} threads",
    )


def run_memory_mib(graph: RunGraph, run: Run) -> float:
    """Return the memory of a process that trains a run, from measured steps: with all slices and cached outputs.

    Args:
        graph: of the checked experiment.
        run: whose steps are measured in this process, which has imported what a worker imports.
    """
    with kept_random_state():
        meter = _Meter(graph)
        meter.run(run, "train")
    return (
        _peak_mib(graph.context.device) + meter.unread_mib() + min(meter.cached_mib, graph.context.training.cache_mib)
    )


class _Meter:
    """Measures stages of runs, each once for all seeds."""

    def __init__(self, graph: RunGraph) -> None:
        self._graph = graph
        self._context = graph.context
        self._seconds: dict[str, tuple[float, float]] = {}
        self.disk_mib = self.cached_mib = 0.0

    def run(self, run: Run, action: str) -> RunEstimate:
        """Return the estimate of one run."""
        steps = self._steps * sum(stage.epochs for stage in run.stages)
        if action == "reuse" or not run.stages:
            return RunEstimate(run.name, action, steps, 0.0)
        name = run.name.rpartition("/")[0]
        if name not in self._seconds:
            self._seconds[name] = self._training(run)
        setup, epochs = self._seconds[name]
        self.disk_mib += self._weights_mib(run)
        return RunEstimate(run.name, action, steps, setup + epochs, setup)

    @property
    def _steps(self) -> int:
        """Steps of an epoch."""
        count = len(self._context.dataset("train"))
        return max(count // min(self._context.training.batch, count), 1)

    def _training(self, run: Run) -> tuple[float, float]:
        """Return the seconds of a run's training before its first steps, and in its epochs."""
        context = self._context
        inputs = {role: blank_input(context, r, run.specification.combine.get(role)) for role, r in run.inputs.items()}
        shared = RunTrainer(self._graph).context(run.specification.seed, run.inputs, inputs)
        batches = _FewBatches(shared.batches, STEPS + 1)
        limit = context.training.cache_mib + context.training.cache_disk_mib
        setup = epochs = 0.0
        for stage in run.stages:
            caches = {role: TeacherCache(limit) for role in inputs}
            few = dataclasses.replace(shared, batches=batches, validation=None, caches=caches, callback=NullCallback())
            first, step = self._stage(run, stage, few)
            setup += first
            epochs += step * self._steps * stage.epochs + self._validation(run, stage)
            for role, cache in caches.items():
                setup += self._filling(cache, inputs[role], batches)
        return setup, epochs

    def _stage(self, run: Run, stage: PlannedStage, shared: TrainingContext) -> tuple[float, float]:
        """Return the seconds of one stage until the end of its first step, and of a further step."""
        specification, registry = run.specification, self._context.registry
        network = build_network(registry, specification.model, specification.options, specification.seed, run.name)
        one = PlannedStage(stage.stage.model_copy(update={"start": "previous"}), stage.training, 1)
        transforms = create_transforms(registry, specification.transforms, run.name)
        state = RunContext(run.name, specification.seed, None, {}, network)
        trainer = Trainer(state, network, [one], shared, specification.model, None, specification.side, transforms)
        clock = _Clock(self._context.device)
        start = time.monotonic()
        try:
            loop.train(run.name, [trainer], dataclasses.replace(shared, callback=clock))
        except loop.Interrupted:
            raise KeyboardInterrupt from None
        each = [after - before for before, after in zip(clock.times, clock.times[1:])]
        return clock.times[0] - start, statistics.median(each)

    def _validation(self, run: Run, stage: PlannedStage) -> float:
        """Return the seconds of a stage's validations."""
        context, every = self._context, stage.training.validate_every or 1
        specification = run.specification
        network = build_network(context.registry, specification.model, specification.options, 0, run.name)
        batches = list(islice(ordered(context.dataset("val"), context.training.batch), 2))
        slices = sum(len(batch) for batch in batches)
        seconds = self._forward(network, batches)
        return seconds / slices * len(context.dataset("val")) * -(-stage.epochs // every)

    def _forward(self, network: nn.Module, batches: Sequence[Batch]) -> float:
        device = self._context.device
        network = to_memory_format(network, device).eval()
        start = time.monotonic()
        with torch.no_grad():
            for batch in batches:
                apply(network, batch.to(device, memory_format=torch.channels_last))
        _synchronise(device)
        return time.monotonic() - start

    def _filling(self, cache: TeacherCache, network: nn.Module, batches: _FewBatches) -> float:
        """Return the seconds of the pass that fills a cache, if it was used; its size is added to the disk space."""
        size, samples = cache.size, batches.size * (STEPS + 1)
        if size == 0:
            return 0.0
        whole = size / samples * len(self._context.dataset("train")) / _MIB
        self.cached_mib += whole
        if self._context.training.cache_disk_mib > 0:
            self.disk_mib += whole
        one = list(islice(batches.in_order(), 1))
        return self._forward(network, one) * self._steps

    def evaluation(self, arms: Sequence[Arm], seeds: Sequence[int]) -> float:
        """Return the seconds of scoring every row of the table, for every seed."""
        context = self._context
        _, metrics = table_metrics(context)
        dataset = _First(context.dataset("test"), 2)
        share, seconds = len(context.dataset("test")) / len(dataset), 0.0
        for side, rows in (("teacher", 1), ("student", len(arms))):
            network = self._graph.blank("teacher" if side == "teacher" else "student")
            start = time.monotonic()
            evaluate_network(network, context.task, dataset, metrics, side, NO_SEED, context.device)
            seconds += (time.monotonic() - start) * share * rows * len(seeds)
        return seconds

    def _weights_mib(self, run: Run) -> float:
        """Return the space of a run's weights, and of its checkpoint with two moments of the optimiser."""
        specification, registry = run.specification, self._context.registry
        network = build_network(registry, specification.model, specification.options, 0, run.name)
        return 4 * sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()) / _MIB

    def unread_mib(self) -> float:
        """Return the memory of the slices that the measurement has not read."""
        if self._context.device.type != "cpu":
            return 0.0
        total = 0.0
        for split in ("train", "val", "test"):
            dataset = self._context.dataset(split)
            sample = dataset[0]
            tensors = [sample.input, sample.target, *sample.conditions.values()]
            size = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)
            total += size * len(dataset) / _MIB
        return total


class _Clock(NullCallback):
    """Records when every step ends."""

    def __init__(self, device: torch.device) -> None:
        self.times: list[float] = []
        self._device = device

    def on_step_end(self) -> None:
        """Record the time."""
        _synchronise(self._device)
        self.times.append(time.monotonic())


class _FewBatches:
    """The first batches of another source, as often as needed for some steps.

    Args:
        batches: the source.
        count: batches of an epoch.
    """

    def __init__(self, batches: BatchSource, count: int) -> None:
        self._batches, self._count = batches, count
        self.steps, self.size, self.stable = batches.steps, batches.size, batches.stable

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Yield the batches; stable ones are those of ``in_order``, whose teacher outputs are cached."""
        found = list(self.in_order() if self.stable else islice(self._batches.epoch(number), self._count))
        yield from islice(cycle(found), self._count)

    def in_order(self) -> Iterator[Batch]:
        """Yield the first batches in the order of the data, full ones only where there are any."""
        first = list(islice(self._batches.in_order(), self._count))
        full = [batch for batch in first if len(batch) == self.size]
        yield from full or first


class _First(SampleDataset):
    """The first samples of a data set."""

    def __init__(self, dataset: SampleDataset, count: int) -> None:
        self._dataset = dataset
        self._count = min(count, len(dataset))

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys of the samples."""
        return self._dataset.keys[: self._count]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample."""
        return self._dataset.sample(index, seed)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_mib(device: torch.device) -> float:
    """Return the peak memory of this process, or of its CUDA tensors; 0 where the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MIB if sys.platform == "darwin" else 1024)


def _existing(folder: Path) -> Path:
    """Return the nearest existing parent of a folder that is not created yet."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
