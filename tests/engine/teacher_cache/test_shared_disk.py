"""Results do not depend on where teacher outputs are cached; processes share cached outputs."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import i2ikd
from i2ikd.config import Arm
from i2ikd.engine.run import load_network, train_runs
from i2ikd.engine.teacher_cache import key
from i2ikd.experiment.compare import compare
from i2ikd.experiment.schedule import train_teacher
from i2ikd.experiment.training import RunTrainer

SAMPLES, DRY_RUN = 4, 2
LIVE = ("training.cache_mib=0",)
MEMORY = ("training.cache_mib=64", "training.cache_disk_mib=0")
DISK = ("training.cache_mib=64", "training.cache_disk_mib=64")
MAPPED = ("training.cache_mib=1", "training.cache_disk_mib=64")
"""The heavy distiller's knowledge is 1.5 MiB, all other is less than 1 MiB."""


class Heavy:
    """A distiller whose knowledge is 96 maps a slice, 384 KiB, in the memory order of the teacher's."""

    @i2ikd.hookimpl
    def register_distillers(self, register: Any) -> None:
        class Widened(i2ikd.Distiller):
            cacheable = True

            def knowledge(self, teacher: Any, batch: Any) -> Any:
                (feature,) = teacher.taps[:1]
                wide = torch.cat([feature.detach() * (1 + step) for step in range(24)], dim=1)
                return {"maps": wide, "mean": wide.mean((1, 2, 3))}

            def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                (feature,) = student.taps[:1]
                expected = knowledge["maps"].mean(1, keepdim=True) + knowledge["mean"][:, None, None, None]
                return 1e-3 * (feature - expected).square().mean()

        register("heavy", Widened)


ARMS: list[dict[str, Any]] = [
    {"name": "student"},
    {"name": "kd-mri", "recipe": "kd-mri"},
    {"name": "heavy", "recipe": "joint", "distiller": "heavy", "alpha": 0.5},
]


class Course:
    """Trains arms as one process after another would, and counts the slices that the teacher runs on."""

    def __init__(self, laboratory: Any) -> None:
        self.laboratory = laboratory
        self.computed = 0
        self.graph: Any = None

    @contextmanager
    def _counted_teacher(self, run: Any) -> Iterator[torch.nn.Module]:
        teacher = load_network(self.graph.context.registry, run.folder)

        def count(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            self.computed += len(args[0])

        with teacher.register_forward_pre_hook(count):
            yield teacher

    def train(self, arm: dict[str, Any], *overrides: str) -> Any:
        """Train an arm in a process of its own, from the beginning."""
        training = ("training.epochs=3", "training.optimizer=sgd", "training.select=last", "training.lr=0.01")
        self.graph = self.laboratory.graph(*training, *overrides, arms=ARMS, plugins=(Heavy(),))
        teacher_run = train_teacher(self.graph, 0, log=lambda _: None)
        run = self.graph.arm_run(Arm.model_validate(arm), 0)
        shutil.rmtree(run.folder.path, ignore_errors=True)
        self.computed = 0
        with self._counted_teacher(teacher_run) as teacher:
            shared = RunTrainer(self.graph).context(0, {"teacher": (teacher_run,)}, {"teacher": teacher})
            train_runs([run], shared)
        return run.folder.read("history"), self.laboratory.weights(run)

    @property
    def cache(self) -> Path:
        return Path(self.laboratory.folder / "out" / "cache")


@pytest.fixture(autouse=True)
def unchanged_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Source files may be edited while the tests run; test_key tests that the key depends on them."""
    monkeypatch.setattr(key, "sources", lambda _: "as it was")


@pytest.fixture
def course(laboratory: Any) -> Course:
    return Course(laboratory)


@pytest.mark.parametrize("arm", ARMS[1:], ids=lambda arm: str(arm["name"]))
def test_memory_disk_and_mapping_return_the_same_bits(course: Course, identical: Any, arm: dict[str, Any]) -> None:
    history, weights = course.train(arm, *LIVE)
    ways = [("memory", MEMORY), ("cold disk", DISK), ("warm disk", DISK), ("mapped", MAPPED)]
    for way, overrides in ways:
        other_history, other_weights = course.train(arm, *overrides)
        assert other_history == history, way
        assert identical(other_weights, weights), way
    shutil.rmtree(course.cache)
    other_history, other_weights = course.train(arm, *MAPPED)
    assert other_history == history and identical(other_weights, weights), "mapped right after it was written"


def test_an_incomplete_last_batch_is_padded_to_a_full_one(course: Course, identical: Any) -> None:
    """Four slices in batches of three: a teacher may sum in another order over a batch of one."""
    history, weights = course.train(ARMS[2], *LIVE, "training.batch=3")
    for overrides in (MEMORY, DISK, MAPPED):
        other_history, other_weights = course.train(ARMS[2], *overrides, "training.batch=3")
        assert other_history == history and identical(other_weights, weights)
        assert course.computed == 3 + (0 if overrides == MAPPED else 2 * 3), "the dry run, and two full batches"


def test_another_process_reads_the_cached_outputs(course: Course) -> None:
    course.train(ARMS[1], *DISK)
    assert course.computed == 2 * SAMPLES + DRY_RUN
    course.train(ARMS[1], *DISK)
    assert course.computed == DRY_RUN
    course.train({**ARMS[1], "alpha": 0.25}, *DISK)
    assert course.computed == DRY_RUN, "another arm"
    course.train(ARMS[1], *MEMORY)
    assert course.computed == 2 * SAMPLES + DRY_RUN, "the disk is switched off"


def test_outputs_too_large_for_memory_are_mapped(course: Course) -> None:
    course.train(ARMS[2], *MAPPED, "training.cache_disk_mib=0")
    assert course.computed == DRY_RUN + SAMPLES + 3 * SAMPLES, "once for the imitation, then in every epoch"
    course.train(ARMS[2], *MAPPED)
    assert course.computed == DRY_RUN + SAMPLES
    course.train(ARMS[2], *MAPPED)
    assert course.computed == DRY_RUN
    course.train(ARMS[2], *MAPPED, "training.cache_disk_mib=1")
    assert course.computed == DRY_RUN, "the limit applies to new entries"


@pytest.mark.parametrize(
    "overrides", [LIVE, MEMORY, (*DISK, 'training.augmentations=["flip"]'), (*DISK, "task.mask.fixed=false")], ids=str
)
def test_nothing_is_written_without_a_disk_cache_or_with_varying_samples(
    course: Course, overrides: tuple[str, ...]
) -> None:
    course.train(ARMS[1], *overrides)
    assert not course.cache.exists()


def test_a_change_of_what_outputs_depend_on_computes_them_again(course: Course) -> None:
    arm = {"name": "kd-mri", "recipe": "imitation"}
    course.train(arm, *DISK, "training.epochs=1")
    for override in ("task.mask.acceleration=5", "teacher.channels=5", "training.batch=4", 'training.precision="bf16"'):
        course.train(arm, *DISK, "training.epochs=1", override)
        assert course.computed == SAMPLES, override
        course.train(arm, *DISK, "training.epochs=1", override)
        assert course.computed == 0, override


def test_another_teacher_of_the_same_settings_computes_its_own_outputs(course: Course) -> None:
    arm = {"name": "kd-mri", "recipe": "imitation"}
    course.train(arm, *DISK)
    run = course.graph.teacher_run(0)
    content = torch.load(run.folder.weights, weights_only=True)
    name = next(iter(content["state"]))
    content["state"][name] *= 1.001
    torch.save(content, run.folder.weights)
    run.folder.state_files(run.specification.digest, ["run.json", "weights.pt"])
    course.train(arm, *DISK)
    assert course.computed == SAMPLES


def test_a_damaged_entry_is_computed_again(course: Course, identical: Any, capfd: Any) -> None:
    arm = {"name": "kd-mri", "recipe": "imitation"}
    history, weights = course.train(arm, *DISK)
    (rows,) = course.cache.glob("*/rows.npy")
    rows.write_bytes(rows.read_bytes()[:-7])
    again_history, again_weights = course.train(arm, *DISK)
    assert course.computed == SAMPLES
    assert again_history == history and identical(again_weights, weights)
    assert capfd.readouterr().err.count("is damaged and computed again") == 1
    course.train(arm, *DISK)
    assert course.computed == 0


@pytest.mark.parametrize("way", ["in memory", "too large for memory"])
def test_a_disk_that_is_full_halfway_costs_one_line(course: Course, identical: Any, capfd: Any, way: str) -> None:
    overrides = DISK if way == "in memory" else MAPPED
    history, weights = course.train(ARMS[2], *LIVE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900 * 2**10, hard))  # a write beyond it fails, in the kernel
    try:
        full_history, full_weights = course.train(ARMS[2], *overrides)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full_history == history and identical(full_weights, weights)
    assert len([line for line in capfd.readouterr().err.splitlines() if "nothing more is written" in line]) == 1
    assert not [path for path in course.cache.iterdir() if (path / "rows.npy").exists() and "part" in path.name]


def test_a_comparison_has_the_same_table_and_records(laboratory: Any) -> None:
    def run(out: str, *overrides: str) -> dict[str, bytes]:
        graph = laboratory.graph("training.epochs=1", *overrides, arms=ARMS, out=out, plugins=(Heavy(),))
        compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
        return {name: (laboratory.folder / out / name).read_bytes() for name in ("results.json", "records.csv")}

    def forget(out: str) -> None:
        for link in (laboratory.folder / out / "students").glob("*/seed0"):
            shutil.rmtree(link.resolve())

    live = run("live", *LIVE)
    assert run("memory", *MEMORY) == live
    assert run("disk", *DISK) == live, "cold"
    forget("disk")
    assert run("disk", *DISK) == live, "warm"
    forget("disk")
    assert run("disk", *MAPPED) == live, "mapped"
    assert len(list((laboratory.folder / "disk" / "cache").glob("*/rows.npy"))) == 3
