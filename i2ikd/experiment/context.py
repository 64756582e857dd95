"""An experiment made ready: everything that it names is built once and checked before anything is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2ikd.config import Arm, Experiment, Network, Training
from i2ikd.engine.batches import KeptBatches, SampleBatches, ordered
from i2ikd.engine.build import build_network, load_weights
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.device import keep_large_blocks, resolve_device
from i2ikd.engine.objective import build_objective
from i2ikd.engine.optimiser import make_optimiser
from i2ikd.engine.plan import PlannedStage, own_training, plan_stages
from i2ikd.engine.precision import Precision, resolve_precision
from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup
from i2ikd.engine.run import Run, load_network, save_weights
from i2ikd.engine.store import RunFolder, RunSpecification, Store
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.engine.teacher_cache.key import CacheKey
from i2ikd.engine.trainer import shared_layers
from i2ikd.errors import UserError, nearest
from i2ikd.network import apply, to_memory_format
from i2ikd.recipe import Stage
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task


class ExperimentContext:
    """The task, the plans and the store of one experiment.

    Args:
        experiment: as read from TOML.
        host: the registry.
        out: the output folder; runs are kept in its store.
        group: the processes that train together; each has a workbench, and the first one writes.
        elsewhere: the runs are trained on other machines: this one need not have their device.

    Raises:
        UserError: anything in the experiment that cannot be: unknown names, wrong options, missing data.
    """

    def __init__(
        self,
        experiment: Experiment,
        registry: Registry,
        out: Path,
        group: ProcessGroup = SINGLE_PROCESS,
        remote: bool = False,
    ) -> None:
        keep_large_blocks()
        self.group = group
        self.experiment = experiment
        self.registry = registry
        self.store = Store(out, writes=group.is_main)
        self.task: Task = self._make_task()
        self.training = experiment.training
        self._check_views()
        self._remote = remote
        self.device = self._resolve_device()
        self.trained_on: str = self.training.device if remote else self.device.type
        self._measured = RunFolder(out / "store")
        self.precision = self._resolve_precision()
        self._datasets: dict[str, SampleDataset] = {}
        self._validation = KeptBatches(lambda: ordered(self.dataset("val"), self.training.batch))
        self._identity: dict[str, Any] | None = None
        self._banks: dict[str, TeacherCache] = {}
        self._weights_digest: str | None = None
        self._checked: set[str] = set()

    def _make_task(self) -> Task:
        section = self.experiment.task
        task = self.registry.create("task", section.name, section.options, where=f"task {section.name!r}")
        if not isinstance(task, Task):
            raise UserError(f"the task {section.name!r} is a {type(task).__name__}, not an i2ikd.Task")
        return task

    def _check_views(self) -> None:
        for view in self.training.augmentations:
            if view not in self.task.augmentations:
                raise UserError(
                    f"training.views: the task {self.experiment.task.name!r} has no view {view!r}; "
                    + nearest(view, self.task.augmentations)
                )

    def _resolve_device(self) -> torch.device:
        """Where this process computes."""
        wanted = self.training.device
        if self._remote and wanted == "auto":
            raise UserError(
                "training.device = 'auto' looks at the machine where it is read, and the runs are trained on others; "
                "say which device they have: -o training.device=cuda, or cpu"
            )
        return resolve_device("auto" if self._remote and wanted == "cuda" else wanted, self.group)

    def _resolve_precision(self) -> Precision:
        """What ``auto`` stands for is measured once a folder: what goes on later must compute as it began."""
        if self.training.precision == "auto":
            known = (self._measured.read("precision") or {}).get(self.trained_on)
            if known in ("fp32", "bf16"):
                return known
            if self._remote:
                raise UserError(
                    "training.precision = 'auto' measures the machine where it is read, and the runs are trained on "
                    "others; say -o training.precision=bf16, or fp32"
                )
        found = resolve_precision(self.training.precision, self.device)
        return "bf16" if self.group.broadcast(found == "bf16") else "fp32"

    def remember_precision(self) -> None:
        """Keep what ``auto`` was found to stand for in the folder, before anything is computed with it."""
        known = self._measured.read("precision") or {}
        if self.group.is_main and self.training.precision == "auto" and self.trained_on not in known:
            self._measured.write("precision", {**known, self.trained_on: self.precision})

    def dataset(self, split: str) -> SampleDataset:
        """Return the samples of a split, opened once; the training split has the random views."""
        if split not in self._datasets:
            augmentations = self.training.augmentations if split == "train" else ()
            self._datasets[split] = self.task.dataset(split, augmentations)
        return self._datasets[split]

    def identity(self) -> dict[str, Any]:
        """What the samples depend on."""
        if self._identity is None:
            self._identity = {"name": self.experiment.task.name, **self.task.identity()}
        return self._identity

    def validation(self) -> Iterable[Batch]:
        """The validation batches, in order, put together once."""
        return self._validation

    def example(self) -> Batch:
        """The first slice of the test split, deterministic view, for shapes and costs."""
        return next(iter(ordered(self.dataset("test"), 1)))

    def shared(self, seed: int, teacher: nn.Module | None = None, teacher_digest: str = "") -> TrainingContext:
        """Return what the runs of one seed stand on."""
        self.remember_precision()
        pin = self.device.type == "cuda"
        batches = SampleBatches(self.dataset("train"), self.training.batch, seed, self.training.workers, pin)
        if teacher is not None:
            teacher = to_memory_format(teacher, self.device)
        return TrainingContext(
            registry=self.registry,
            task=self.task,
            batches=batches,
            validation=self.validation,
            device=self.device,
            precision=self.precision,
            group=self.group,
            teacher=teacher,
            teacher_model=self.experiment.teacher.model,
            pairs=self.experiment.pairs,
            bank=self._bank(teacher_digest),
        )

    def _bank(self, teacher_digest: str) -> TeacherCache:
        """What a teacher says is kept once, for all arms; on disk, for other processes on the same folder too."""
        if teacher_digest not in self._banks:
            files = None
            if teacher_digest and self.training.cache_disk_mb > 0:
                facts = {"task": self.identity(), "teacher": teacher_digest}
                cache_key = CacheKey(self.dataset("train"), facts, [type(self.task)])
                files = DiskCache(self.store.root / "cache", self.training.cache_disk_mb, cache_key)
            self._banks[teacher_digest] = TeacherCache(self.training.cache_mb, files)
        return self._banks[teacher_digest]

    def teacher_run(self, seed: int) -> Run:
        """Return the run that makes the teacher of a seed; a teacher with given weights is the same for all seeds."""
        network = self.experiment.teacher
        name = f"teacher/seed{seed}"
        if network.weights is not None:
            specification = self._specification("teacher", network, 0, [], self.training, None, self._given_weights())
            return Run(name, specification, (), self.store.folder(specification))
        training = self._validated(own_training(self.training, network.training, "teacher.training"))
        planned = plan_stages(self._recipe("student", {}, "teacher"), training, "teacher")
        specification = self._specification("teacher", network, seed, planned, training, None, None)
        return Run(name, specification, tuple(planned), self.store.folder(specification))

    def arm_run(self, arm: Arm, seed: int) -> Run:
        """Return the run that makes the student of an arm and a seed."""
        who = f"arm {arm.name!r}"
        network = self.experiment.student_of(arm)
        training = self._validated(own_training(self.training, network.training, f"{who}, student.training"))
        planned = plan_stages(self._recipe(arm.recipe, arm.options, who), training, who)
        teacher = self.teacher_run(seed).specification.digest if self._needs_teacher(planned) else None
        specification = self._specification("student", network, seed, planned, training, teacher, None)
        return Run(f"students/{arm.name}/seed{seed}", specification, tuple(planned), self.store.folder(specification))

    def _validated(self, training: Training) -> Training:
        """Choose how often to validate, to cost at most a tenth of the training (a forward is a third of a step)."""
        if training.validate_every is not None:
            return training
        share = len(self.dataset("val")) / (3 * max(len(self.dataset("train")), 1))
        return training.model_copy(update={"validate_every": max(1, round(share / 0.1 + 0.49))})

    def _recipe(self, name: str, options: dict[str, Any], who: str) -> list[Stage]:
        stages = self.registry.create("recipe", name, options, where=f"{who} (recipe {name!r})")
        if not isinstance(stages, list) or not all(isinstance(stage, Stage) for stage in stages):
            raise UserError(f"{who}: the recipe {name!r} gave {type(stages).__name__}, not a list of i2ikd.Stage")
        return stages

    def _needs_teacher(self, planned: Sequence[PlannedStage]) -> bool:
        """Whether any stage needs a teacher, by its distillers or by where it starts."""
        for stage in planned:
            for term in stage.stage.terms:
                target: Any = self.registry.get("distiller", term.distiller.name).resolve()
                if getattr(target, "uses_teacher", True):
                    return True
        return any(stage.stage.start == "teacher" for stage in planned)

    def _given_weights(self) -> str:
        if self._weights_digest is None:
            path = self.experiment.teacher.weights
            assert path is not None
            file = path / "weights.pt" if path.is_dir() else path
            if not file.is_file():
                raise UserError(f"teacher.weights: there is no file {file}")
            self._weights_digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return self._weights_digest

    def _specification(
        self,
        side: str,
        network: Network,
        seed: int,
        planned: Sequence[PlannedStage],
        training: Training,
        teacher: str | None,
        weights: str | None,
    ) -> RunSpecification:
        stages = []
        for stage in planned:
            settings = {**stage.training.identity(), "epochs": stage.epochs, "precision": self.precision}
            settings["device"] = self.trained_on
            stages.append({**stage.stage.model_dump(mode="json", exclude={"epochs"}), "training": settings})
        return RunSpecification(
            side=side,
            seed=seed,
            task=self.identity(),
            model=network.model,
            options=network.options,
            stages=stages,
            pairs=self.experiment.pairs if teacher else None,
            teacher=teacher,
            weights=weights,
        )

    def take_given_teacher(self, run: Run) -> None:
        """Copy given teacher weights into the store.

        Raises:
            UserError: they are another network's.
        """
        path = self.experiment.teacher.weights
        assert path is not None
        specification = run.specification
        network = build_network(
            self.registry, specification.model, specification.options, specification.seed, "teacher"
        )
        load_weights(network, path)
        self.group.barrier()  # all have found that it is to be done
        if self.group.is_main:
            run.folder.write("run", {"name": run.name, "specification": specification.model_dump(mode="json")})
            save_weights(specification, run.folder, network)
        self.group.barrier()

    def load(self, run: Run) -> nn.Module:
        """Build the network of a finished run afresh, with its saved weights."""
        return load_network(self.registry, run.folder)

    def check(self, arms: Sequence[Arm]) -> None:
        """Build and run every network once, build every distiller and optimiser, before anything is trained.

        Raises:
            UserError: the first thing that cannot work.
        """
        experiment, left = self.experiment, [arm for arm in arms if arm.name not in self._checked]
        if self._checked and not left:
            return
        for split in ("train", "val", "test"):
            if len(self.dataset(split)) == 0:
                raise UserError(f"the split {split!r} has no slices")
        examples = [next(iter(ordered(self.dataset(split), 2))) for split in ("train", "val", "test")]
        run = self.teacher_run(experiment.seeds[0])
        teacher = build_network(self.registry, run.specification.model, run.specification.options, 0, "teacher")
        if experiment.teacher.weights is not None:
            load_weights(teacher, experiment.teacher.weights)
        for example in examples:
            _try(teacher, example, "teacher")
        _check_optimisers(run, teacher)
        for arm in left:
            self._check_arm(arm, teacher, examples[0])
            self._checked.add(arm.name)

    @property
    def share(self) -> int:
        """Samples of a training batch that each process learns from."""
        return min(self.training.batch, len(self.dataset("train"))) // self.group.size

    def _check_arm(self, arm: Arm, teacher: nn.Module, example: Batch) -> None:
        run = self.arm_run(arm, self.experiment.seeds[0])
        model, needs_teacher = run.specification.model, run.specification.teacher is not None
        who = f"student (arm {arm.name!r})"
        student = build_network(self.registry, model, run.specification.options, 0, who)
        _try(student, example, who)
        _check_optimisers(run, student)
        for stage in run.stages:
            build_objective(
                stage.stage,
                registry=self.registry,
                task=self.task,
                teacher=teacher if needs_teacher else None,
                student=student,
                models=(self.experiment.teacher.model, model),
                pairs=self.experiment.pairs,
                example=example,
                batch_size=self.share,
                seed=0,
            )
            if stage.stage.start == "teacher":
                shared_layers(teacher, student, stage.stage.name)


@torch.inference_mode()
def _try(network: nn.Module, example: Batch, who: str) -> None:
    try:
        apply(network.eval(), example)
    except UserError:
        raise
    except Exception as error:
        given = {"input": example.input, **example.conditions}
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in given.items())
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{who}: {type(network).__name__} cannot take a batch of the task ({shapes}): {reason}"
        ) from error


def _check_optimisers(run: Run, network: nn.Module) -> None:
    for stage in run.stages:
        make_optimiser(network.parameters(), stage.training)
