"""The graph of runs of an experiment: which run makes a network, from which other runs, with which specification."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from i2ikd.config import Arm, Network, Training
from i2ikd.engine.batches import ordered
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.dry_run import DryRun
from i2ikd.engine.objectives import create_objective
from i2ikd.engine.plan import PlannedStage, own_training, plan_stages
from i2ikd.engine.run import Run, create_transforms
from i2ikd.engine.store import RunSpecification
from i2ikd.engine.weight_files import weights_file
from i2ikd.errors import UserError, named
from i2ikd.experiment.blank import blank_context, try_network
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.networks import blank_input
from i2ikd.objective import Side
from i2ikd.options import parameters
from i2ikd.recipe import Reference, Stage, Start

MEMBER_SEEDS = 1000
"""Member k of an ensemble of a seed is trained with seed + k * MEMBER_SEEDS."""

Inputs = dict[str, tuple[Run, ...]]


def row_name(arm: Arm, seed: int) -> str:
    """Return the name of an arm's network of one seed in the output folder."""
    return f"students/{arm.name}/seed{seed}"


class RunGraph:
    """Runs by arm and seed, with the runs whose networks they need.

    Args:
        context: the experiment.
    """

    def __init__(self, context: ExperimentContext) -> None:
        self.context = context
        self._arms: dict[tuple[str, int], Run] = {}
        self._planned: dict[str, tuple[Network, list[PlannedStage], frozenset[str]]] = {}
        self._teachers: dict[int, tuple[Run, ...]] = {}
        self._weights: str | None = None
        self.left_out: dict[str, list[str]] = {}
        """Parts that the recipes of arms leave out for their networks, with the reasons, by arm."""
        self.checked: set[str] = set()
        """Arms that ``check`` has found sound, and ``teacher`` with the data."""

    def teacher_runs(self, seed: int) -> tuple[Run, ...]:
        """Return the runs that make a seed's teacher: one, or the members of an ensemble.

        A teacher with given weights is the same for all seeds.

        Raises:
            UserError: unknown names, wrong options, missing weights.
        """
        if seed not in self._teachers:
            members = 1 if self._given else self.context.experiment.teacher.ensemble
            self._teachers[seed] = tuple(self._teacher_run(seed, member) for member in range(members))
        return self._teachers[seed]

    def teacher_run(self, seed: int) -> Run:
        """Return the run of a seed's teacher, or of the first member of its ensemble."""
        return self.teacher_runs(seed)[0]

    @property
    def _given(self) -> bool:
        return self.context.experiment.teacher.weights is not None

    def _teacher_run(self, seed: int, member: int) -> Run:
        network = self.context.experiment.teacher
        name = f"teacher/seed{seed}" + (f"-member{member}" if member else "")
        if self._given:
            specification = self._specification("teacher", network, 0, [], self._given_weights())
            return Run(name, specification, (), self.context.store.folder(specification))
        training = self._validated(own_training(self.context.training, network.training, "teacher.training"))
        planned = plan_stages(self._recipe(network.recipe, "teacher"), training, "teacher")
        needed = self._needed_roles(planned)
        if needed:
            raise UserError(
                f"teacher.recipe = {network.recipe.name!r}: expected a recipe without input networks, it needs "
                f"{', '.join(sorted(needed))}"
            )
        own_seed = seed + member * MEMBER_SEEDS
        specification = self._specification("teacher", network, own_seed, planned)
        return Run(name, specification, tuple(planned), self.context.store.folder(specification))

    def arm_run(self, arm: Arm, seed: int) -> Run:
        """Return the run that makes the student of an arm and a seed.

        Raises:
            UserError: unknown names, wrong options, or an input that the arm lacks.
        """
        if arm.of is not None:
            return self.arm_run(self.context.experiment.arm(arm.of), seed)
        if (arm.name, seed) not in self._arms:
            self._arms[arm.name, seed] = self._arm_run(arm, seed)
        return self._arms[arm.name, seed]

    def _arm_run(self, arm: Arm, seed: int) -> Run:
        if arm.name not in self._planned:
            self._planned[arm.name] = self._plan_arm(arm, seed)
        network, planned, needed = self._planned[arm.name]
        inputs = self._inputs(arm, seed, needed)
        specification = self._specification("student", network, seed, planned, inputs=inputs)
        folder = self.context.store.folder(specification)
        return Run(row_name(arm, seed), specification, tuple(planned), folder, inputs)

    def _plan_arm(self, arm: Arm, seed: int) -> tuple[Network, list[PlannedStage], frozenset[str]]:
        """Return student, stages and roles of the inputs of an arm, which are equal for all seeds."""
        where = f"arm {arm.name!r}"
        network = self._student(arm)
        training = self._validated(own_training(self.context.training, network.training, f"{where}, student.training"))
        recipe = Reference.model_validate({"name": arm.recipe, **arm.options})
        dry_run = DryRun(lambda: self._blank_networks(arm, network, seed), network.model, "student")
        planned = plan_stages(self._recipe(recipe, where, dry_run), training, where)
        self.left_out[arm.name] = dry_run.left_out
        return network, planned, self._needed_roles(planned)

    def _blank_networks(self, arm: Arm, network: Network, seed: int) -> tuple[TrainingContext, nn.Module]:
        """Return the untrained networks of an arm, which have been run on the first training samples."""
        roles = {"teacher", *arm.inputs}
        runs = self._inputs(arm, seed, frozenset(roles))
        combine = self._combine(runs)
        inputs = {role: blank_input(self.context, found, combine.get(role)) for role, found in runs.items()}
        options = self.network_options(network, "student")
        student = build_network(self.context.registry, network.model, options, 0, f"arm {arm.name!r}, student")
        example = next(iter(ordered(self.context.dataset("train"), 2)))
        for role, made in {**inputs, f"student (arm {arm.name!r})": student}.items():
            try_network(made, example, role)
        models = {**self.models(runs), "student": network.model}
        return blank_context(self.context, inputs, models, self.blank, example), student

    def blank(self, side: Side) -> nn.Module:
        """Return an untrained network of a side of the experiment."""
        model, options = self.side(side)
        return build_network(self.context.registry, model, options, 0, side)

    def _student(self, arm: Arm) -> Network:
        network = self.context.experiment.student_of(arm)
        return network.model_copy(update={"transforms": [*network.transforms, *arm.transforms]})

    def trained_transforms(self, name: str) -> list[dict[str, Any]]:
        """Return the transforms that are applied to the finished network of an arm, or of the ``teacher``.

        Those of an arm ``of`` another one follow the other's: its row is the other row's network, changed.

        Raises:
            UserError: unknown names, wrong options, or a training transform of an arm that is not trained.
        """
        experiment = self.context.experiment
        if name == "teacher":
            return self._transforms(experiment.teacher.transforms, "trained", "teacher")
        arm, where = experiment.arm(name), f"arm {name!r}"
        if arm.of is None:
            return self._transforms(self._student(arm).transforms, "trained", where)
        if untrained := self._transforms(arm.transforms, "training", where):
            raise UserError(
                f"{where}: with of = {arm.of!r} nothing is trained, so the training transform "
                f"{untrained[0]['name']!r} has no effect; set it in the arm {arm.of!r}"
            )
        return self.trained_transforms(arm.of) + self._transforms(arm.transforms, "trained", where)

    def _transforms(self, references: Sequence[Reference], when: str, where: str) -> list[dict[str, Any]]:
        stated = [reference.model_dump(mode="json") for reference in references]
        made = create_transforms(self.context.registry, stated, where)
        return [reference for reference, transform in zip(stated, made) if transform.when == when]

    def _inputs(self, arm: Arm, seed: int, needed: frozenset[str]) -> Inputs:
        """Return the runs of every role that the arm's stages need."""
        stated = dict(arm.inputs) | ({"teacher": [arm.teacher]} if arm.teacher is not None else {})
        for role in sorted(stated.keys() - needed):
            raise UserError(
                f"arm {arm.name!r}: the input {role!r} has no effect, as no stage of the recipe {arm.recipe!r} needs "
                f"it; it needs {', '.join(sorted(needed)) or 'none'}"
            )
        found: Inputs = {}
        for role in sorted(needed):
            if role in stated:
                experiment = self.context.experiment
                names = stated[role]
                found[role] = tuple(
                    run
                    for name in names
                    for run in (
                        self.teacher_runs(seed) if name == "teacher" else (self.arm_run(experiment.arm(name), seed),)
                    )
                )
            elif role == "teacher":
                found[role] = self.teacher_runs(seed)
            else:
                raise UserError(
                    f"arm {arm.name!r}: the recipe {arm.recipe!r} needs an input {role!r}; set inputs.{role} to the "
                    "name of an arm"
                )
        return found

    def _needed_roles(self, planned: Sequence[PlannedStage]) -> frozenset[str]:
        roles: set[str] = set()
        for stage in planned:
            roles |= create_objective(self.context.registry, stage.stage).needs
            if isinstance(stage.stage.start, Start):
                roles.add(stage.stage.start.source)
        return frozenset(roles)

    def _recipe(self, recipe: Reference, where: str, dry_run: DryRun | None = None) -> list[Stage]:
        place, registry = f"{where} (recipe {recipe.name!r})", self.context.registry
        with named(where):
            stages = registry.get("recipe", recipe.name, place).create(recipe.options, place, registry, dry_run)
        if not isinstance(stages, list) or not all(isinstance(stage, Stage) for stage in stages):
            raise UserError(
                f"{where}: expected the recipe {recipe.name!r} to return a list of i2ikd.Stage, got "
                f"{type(stages).__name__}"
            )
        return stages

    def _validated(self, training: Training) -> Training:
        """Set how often to validate, to cost at most a tenth of training (a forward pass is a third of a step)."""
        if training.validate_every is not None:
            return training
        share = len(self.context.dataset("val")) / (3 * max(len(self.context.dataset("train")), 1))
        return training.model_copy(update={"validate_every": max(1, round(share / 0.1 + 0.49))})

    def _given_weights(self) -> str:
        if self._weights is None:
            path = self.context.given_weights
            assert path is not None
            file = weights_file(path)
            if not file.is_file():
                raise UserError(f"teacher.weights: there is no file {file}")
            self._weights = hashlib.sha256(file.read_bytes()).hexdigest()
        return self._weights

    def network_options(self, network: Network, where: str) -> dict[str, Any]:
        """Return a network's options with those that the task determines for every network that has them.

        Raises:
            UserError: an option that contradicts the task.
        """
        options = network.options
        place = f"{where} (model {network.model!r})"
        known = parameters(self.context.registry.get("model", network.model, place).resolve(place))
        for name, value in self.context.task.network_options().items():
            if name not in known:
                continue
            if options.get(name, value) != value:
                raise UserError(
                    f"{where}: {name} = {options[name]!r} contradicts the task, whose {name} is {value!r}; state it in "
                    "[task] alone"
                )
            options[name] = value
        return options

    def side(self, side: Side) -> tuple[str, dict[str, Any]]:
        """Return model name and options of a side of the experiment."""
        network = self.context.experiment.teacher if side == "teacher" else self.context.experiment.student
        return network.model, self.network_options(network, side)

    def models(self, inputs: Mapping[str, tuple[Run, ...]]) -> dict[str, str]:
        """Return model names by role of the inputs, and by side of the experiment for networks that are built."""
        experiment = self.context.experiment
        sides = {"teacher": experiment.teacher.model, "student": experiment.student.model}
        return sides | {role: runs[0].specification.model for role, runs in inputs.items()}

    def _combine(self, inputs: Inputs) -> dict[str, dict[str, Any]]:
        """Return the combination of every role that several runs fill."""
        several = sorted(role for role, runs in inputs.items() if len(runs) > 1)
        of_teachers, other = self.context.experiment.teacher.combine, Reference(name="mean")
        return {role: (of_teachers if role == "teacher" else other).model_dump() for role in several}

    def _specification(
        self,
        side: Side,
        network: Network,
        seed: int,
        planned: Sequence[PlannedStage],
        weights: str | None = None,
        inputs: Inputs | None = None,
    ) -> RunSpecification:
        context, inputs = self.context, inputs or {}
        stages: list[dict[str, Any]] = []
        builds: set[Side] = set()
        for stage in planned:
            settings = {**stage.training.identity(), "epochs": stage.epochs, "precision": context.precision}
            settings["device"] = context.trained_on
            stages.append({**stage.stage.model_dump(mode="json", exclude={"epochs", "share"}), "training": settings})
            builds |= create_objective(context.registry, stage.stage).builds
        return RunSpecification(
            side=side,
            seed=seed,
            task=context.identity,
            model=network.model,
            options=self.network_options(network, side),
            stages=stages,
            transforms=self._transforms(network.transforms, "training", side),
            pairs=context.experiment.pairs if inputs else None,
            inputs={role: [run.specification.digest for run in runs] for role, runs in inputs.items()},
            combine=self._combine(inputs),
            models={name: list(self.side(name)) for name in sorted(builds)},
            weights=weights,
        )
