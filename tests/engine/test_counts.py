"""Counts that do not depend on how fast a machine is: teacher forwards, file opens, tensors alive, synchronisations."""

from __future__ import annotations

import gc
import os
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import i2ikd
from i2ikd.callback import NullCallback, RunContext
from i2ikd.engine.batches import SampleBatches
from i2ikd.engine.loop import train
from i2ikd.engine.run import load_network, train_runs
from i2ikd.engine.trainer import Trainer
from i2ikd.experiment.schedule import train_teacher
from i2ikd.experiment.training import RunTrainer

STEPS = 2
ARMS: list[dict[str, Any]] = [
    {"name": "one-term", "recipe": "imitation", "alpha": 0.0},
    {"name": "two-terms", "recipe": "imitation"},
    {"name": "three-terms", "recipe": "joint", "alpha": 0.5, "distiller": "attention"},
    {"name": "masked", "recipe": "joint", "alpha": 0.5, "distiller": "generation"},
]


class Epochs(NullCallback):
    """Records what ``probe`` returns at the end of every epoch."""

    def __init__(self, probe: Any) -> None:
        self._probe = probe
        self.seen: list[Any] = []

    def on_epoch_end(self, *_: object) -> None:
        self.seen.append(self._probe())


def teacher_forwards(laboratory: Any, arms: list[dict[str, Any]], cache_mib: int) -> list[int]:
    """Train the arms together for 4 epochs and count the teacher's forward passes up to the end of each."""
    # Validation does not run the teacher; without a selection of the best weights nothing is copied either.
    graph = laboratory.graph("training.epochs=4", f"training.cache_mib={cache_mib}", "training.select=last", arms=arms)
    made = train_teacher(graph, 0, log=lambda _: None)
    teacher = load_network(graph.context.registry, made.folder)
    counter: Counter[str] = Counter()
    handle = teacher.register_forward_pre_hook(lambda *_: counter.update(["forward"]))
    callback = Epochs(lambda: counter["forward"])
    runs = [graph.arm_run(graph.context.experiment.arm(arm["name"]), 0) for arm in arms]
    shared = RunTrainer(graph).context(0, {"teacher": (made,)}, {"teacher": teacher}, callback)
    train_runs(runs, shared)
    handle.remove()
    return callback.seen[len(arms) - 1 :: len(arms)]


NO_STEP_COUNTER = ("training.optimizer=sgd", "training.select=last")
"""Adam reads its own count of steps, which is on the CPU."""
CASES = [ARMS[:1], ARMS[1:2], ARMS[2:3], ARMS]


@pytest.mark.parametrize("arms", CASES, ids=lambda arms: f"{len(arms)}-{arms[-1]['name']}")
def test_a_live_teacher_runs_once_a_step_for_all_terms_of_all_runs(laboratory: Any, arms: list[dict[str, Any]]) -> None:
    assert np.diff(teacher_forwards(laboratory, arms, cache_mib=0)).tolist() == [STEPS] * 3


@pytest.mark.parametrize("arms", [ARMS[1:2], ARMS[:3]], ids=lambda arms: f"{len(arms)}-{arms[-1]['name']}")
def test_a_teacher_with_cached_outputs_runs_in_no_step(laboratory: Any, arms: list[dict[str, Any]]) -> None:
    first, *later = teacher_forwards(laboratory, arms, cache_mib=64)
    dry_run = sum(arm["recipe"] == "joint" for arm in arms)
    assert first == dry_run + STEPS, "one pass over the samples"
    assert later == [first] * 3


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three volumes of 4 slices in KD-MRI's layout."""
    random = np.random.default_rng(0)
    for number in range(3):
        path = tmp_path / "data" / "train" / f"volume-{number}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("volfs", data=random.random((20, 16, 4), dtype=np.float32))
    return tmp_path / "data"


def test_features_of_a_live_teacher_are_freed_before_the_student_step(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = laboratory.graph("training.cache_mib=0", arms=ARMS[:2])
    shared, held, features = context_of(graph), [], list[weakref.ref[Any]]()
    for module in shared.inputs["teacher"].modules():
        module.register_forward_hook(lambda module, inputs, output: features.append(weakref.ref(output)))
    training_step = Trainer.training_step

    def spy(trainer: Trainer, *arguments: Any) -> None:
        held.append(sum(feature() is not None for feature in features))
        training_step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "training_step", spy)
    train("arms", [student_of(graph, arm["name"], shared) for arm in ARMS[:2]], shared)
    assert held, "they learned"
    assert set(held[1::2]) == {0}, "the last of a step's students"


class Opened:
    """Counts in a shared file, so that worker processes are counted too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def add(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def lines(self) -> Counter[str]:
        return Counter(self._path.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Which HDF5 files were opened how often, by process and name."""
    log = Opened(tmp_path / "opened")
    original = h5py.File.__init__

    def spy(file: h5py.File, name: Any, *args: Any, **options: Any) -> None:
        if isinstance(name, str | Path):  # h5py itself wraps files that are open already
            log.add(f"{os.getpid()} {Path(name).name}")
        original(file, name, *args, **options)

    monkeypatch.setattr(h5py.File, "__init__", spy)
    yield log


def reading(root: Path, memory_mib: int, workers: int = 0, empty: str = "skip") -> SampleBatches:
    dataset = {"name": "folder", "root": str(root), "reader": "kdmri-hdf5", "empty": empty, "size": [20, 16]}
    task = i2ikd.create("task", "mri-recon", dataset=dataset, memory_mib=memory_mib)
    return SampleBatches(task.dataset("train"), 2, seed=0, workers=workers)


@pytest.mark.parametrize("memory_mib", [0, 64])
def test_a_file_is_opened_once_however_many_epochs_read_it(files: Path, opened: Opened, memory_mib: int) -> None:
    batches = reading(files, memory_mib)
    for epoch in range(3):
        assert sum(len(batch) for batch in batches.epoch(epoch)) == 12
    assert sorted(opened.lines().values()) == [1, 1, 1]


def test_every_reading_process_opens_a_file_once(files: Path, opened: Opened) -> None:
    batches = reading(files, memory_mib=0, workers=2, empty="refuse")  # to leave slices out, this process reads them
    for epoch in range(3):
        assert sum(len(batch) for batch in batches.epoch(epoch)) == 12
    lines = opened.lines()
    assert set(lines.values()) == {1}
    assert len({line.split()[0] for line in lines}) == 3, "this process counted the slices, and two read them"


def test_slices_in_memory_are_not_read_again(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    original = h5py.Dataset.__getitem__

    def spy(dataset: h5py.Dataset, *args: Any, **options: Any) -> Any:
        reads.update([str(args[0])])
        return original(dataset, *args, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    batches = reading(files, memory_mib=64)
    for _ in batches.epoch(0):
        pass
    first = reads.total()
    for epoch in (1, 2):
        for _ in batches.epoch(epoch):
            pass
    assert first == 3, "the slices of a file lie interleaved, and are read together"
    assert reads.total() == first


def student_of(graph: Any, arm: str, shared: Any) -> Trainer:
    run = graph.arm_run(graph.context.experiment.arm(arm), 0)
    network = graph.context.registry.create("model", run.specification.model, run.specification.options)
    return Trainer(RunContext(arm, 0, None, {}, network), network, run.stages, shared, run.specification.model)


def context_of(graph: Any, callback: Any = None) -> Any:
    made = train_teacher(graph, 0, log=lambda _: None)
    teacher = load_network(graph.context.registry, made.folder)
    return RunTrainer(graph).context(0, {"teacher": (made,)}, {"teacher": teacher}, callback)


def tensors_alive() -> tuple[int, int]:
    """How many tensors there are, and their bytes."""
    gc.collect()  # what was frozen before is not among the objects
    # isinstance would wake deprecated proxies of torch, which warn.
    found = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    return len(found), sum(tensor.untyped_storage().nbytes() for tensor in found)


@pytest.mark.parametrize("cache_mib", [0, 64])
def test_nothing_accumulates_over_epochs(laboratory: Any, cache_mib: int) -> None:
    overrides = ("training.epochs=6", f"training.cache_mib={cache_mib}", "training.ema=0.9")
    graph = laboratory.graph(*overrides, arms=[ARMS[2]])
    callback = Epochs(tensors_alive)
    shared = context_of(graph, callback)
    gc.collect()
    gc.freeze()  # what other tests left is not counted, and may go meanwhile
    try:
        train("arm", [student_of(graph, "three-terms", shared)], shared)
    finally:
        gc.unfreeze()
    assert callback.seen[4] == callback.seen[1]
    assert callback.seen[4][0] > 0


class ValueReads(TorchDispatchMode):
    """Counts how often the value of a tensor is read, which synchronises with a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default or func is torch.ops.aten.is_nonzero.default:
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("arm", "terms"), [("two-terms", 2), ("three-terms", 3)])
def test_a_step_reads_no_value_except_to_refuse_one_that_is_not_finite(laboratory: Any, arm: str, terms: int) -> None:
    graph = laboratory.graph("training.epochs=4", "training.select=last", "training.optimizer=sgd", arms=ARMS)
    reads = ValueReads()
    callback = Epochs(lambda: reads.count)
    shared = context_of(graph, callback)
    shared.validation = None
    with reads:
        train(arm, [student_of(graph, arm, shared)], shared)
    mean_losses, loaders_seed = terms + 1, 1
    assert np.diff(callback.seen).tolist() == [STEPS * terms + mean_losses + loaders_seed] * 3
