"""The default objective: a weighted sum of distillers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from i2ikd.builtin.objectives.active_term import ActiveTerm
from i2ikd.distiller import Distiller, Features, Knowledge, TapShapes
from i2ikd.errors import UserError
from i2ikd.network import Observed, Student, Teacher, eval_mode
from i2ikd.objective import Loss, Objective, ObjectiveContext, TeacherOutputs, TeacherRequest
from i2ikd.recipe import Term
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.tap_layout import refuse_other_layout, split_layout

_CALIBRATION_BATCHES = 4
_PREPARATION_BATCHES = 32


class WeightedTerms(Objective):
    """Sum of weight * term, each term a distiller with its taps.

    Its state are the calibrated weights and the distillers' parameters and buffers.

    Args:
        terms: distillers with weights; a weight may be a schedule over the stage's epochs.
        registry: creates the distillers.
    """

    weights: Tensor

    def __init__(self, terms: list[Term], registry: Registry) -> None:
        super().__init__()
        self._stated = terms
        self._registry = registry
        self.terms: list[ActiveTerm] = []
        self._scales = [term.weight_at(0, 1) for term in terms]
        self._student: Student | None = None

    @property
    def needs(self) -> frozenset[str]:
        """``teacher`` where any distiller uses one."""
        targets: list[Any] = [self._registry.get("distiller", t.distiller.name).resolve() for t in self._stated]
        uses = any(getattr(target, "uses_teacher", True) for target in targets)
        return frozenset({"teacher"}) if uses else frozenset()

    @cached_property
    def _unseeded(self) -> list[Distiller]:
        """The distillers, whose attributes are readable before ``setup``."""
        return [self._create(term, f"the term {term.distiller.name!r}") for term in self._stated]

    @property
    def least_batch(self) -> int:
        """The largest ``least_batch`` of the distillers."""
        return max((distiller.least_batch for distiller in self._unseeded), default=1)

    @property
    def relations(self) -> Sequence[str]:
        """Names of the distillers that relate samples."""
        pairs = zip(self._stated, self._unseeded)
        return [term.distiller.name for term, distiller in pairs if distiller.relates_samples]

    @property
    def components(self) -> Sequence[tuple[str, str]]:
        """The distillers."""
        return [("distiller", term.distiller.name) for term in self._stated]

    @property
    def validates(self) -> bool:
        """Whether any term depends on the output image."""
        return any(not term.distiller.uses_taps for term in self.terms)

    def setup(self, context: ObjectiveContext) -> None:
        """Create the distillers, record the shapes of their taps in one dry run, and size their adapters.

        Raises:
            UserError: a teacher is needed and there is none, taps are wrong, or the batch is too small.
        """
        super().setup(context)
        self.terms = [self._activate(index, term) for index, term in enumerate(self._stated)]
        _number_equal_names(self.terms)
        self._record_shapes()
        for index, term in enumerate(self.terms):
            context.seed_torch("adapters", index)
            term.distiller.build(term.shapes)
        self.distillers = torch.nn.ModuleList([term.distiller for term in self.terms])
        weights = [term.weight_at(0, 1) for term in self._stated]
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64, device=context.example.input.device))
        self.distillers.to(context.example.input.device)

    def _activate(self, index: int, term: Term) -> ActiveTerm:
        context, where = self.context, f"the term {term.distiller.name!r} of the stage {self.context.stage!r}"
        context.seed_torch("distiller", index)
        distiller = self._create(term, where)
        if distiller.uses_teacher and "teacher" not in context.inputs:
            raise UserError(f"{where} needs a teacher, and this run has none")
        if distiller.least_batch > context.batch_size:
            raise UserError(
                f"{where} relates samples and needs batches of at least {distiller.least_batch}, not "
                f"{context.batch_size}; raise training.batch"
            )
        distiller.attach(context.task)
        pairs: list[tuple[str, str]] = []
        if distiller.uses_taps and "teacher" in context.inputs:
            pairs = context.choose_pairs(term.pairs, distiller.tap_kind, where)
        return ActiveTerm(term.distiller.name, distiller, term, [t for t, _ in pairs], [s for _, s in pairs])

    def _create(self, term: Term, where: str) -> Distiller:
        distiller = self._registry.create("distiller", term.distiller.name, term.distiller.options, where)
        if not isinstance(distiller, Distiller):
            raise UserError(
                f"{where}: expected the plugin to return an i2ikd.Distiller, got {type(distiller).__name__}"
            )
        return distiller

    @torch.no_grad()
    def _record_shapes(self) -> None:
        """Run both networks once, in eval mode, so that neither running statistics nor random states change."""
        student_paths = [path for term in self.terms for path in term.student_paths]
        if not student_paths:
            return
        context = self.context
        teacher_paths = [path for term in self.terms for path in term.teacher_paths]
        with (
            eval_mode(context.network),
            Teacher(context.input("teacher"), teacher_paths) as teacher,
            Student(context.network, student_paths) as student,
        ):
            teacher(context.example)
            student(context.example)
            for term in self.terms:
                left = _shapes(teacher, term.teacher_paths, "teacher", context.example)
                right = _shapes(student, term.student_paths, "student", context.example)
                if len(left) != len(right):
                    raise UserError(
                        f"the taps of the term {term.name!r} run {len(left)} times in the teacher and {len(right)} "
                        "times in the student; pair modules that run equally often"
                    )
                term.shapes = [TapShapes(a, b) for a, b in zip(left, right)]

    def prepare(self) -> None:
        """Let every distiller prepare on the teacher's features, then turn ratios into weights."""
        for index, term in enumerate(self.terms):
            if type(term.distiller).prepare is not Distiller.prepare:
                self.context.seed_torch("prepare", index)
                term.distiller.prepare(self._teacher_features(term))
        if any(term.term.ratio is not None for term in self.terms):
            self.context.seed_torch("calibrate")
            self._calibrate()

    def _teacher_features(self, term: ActiveTerm) -> Iterator[tuple[Features, Batch]]:
        with self.context.observe_input("teacher", term.teacher_paths) as teacher:
            for batch in self.context.first_batches(_PREPARATION_BATCHES):
                output = teacher(batch)
                yield teacher.features(term.teacher_paths, output), batch

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Average every term and the reconstruction loss over the first batches, the student in eval mode."""
        means = _Means(len(self.terms))
        network = self.context.network
        training = network.training
        network.eval()
        student = self._observed()
        paths = [path for term in self.terms for path in term.teacher_paths]
        teacher = self.context.observe_input("teacher", paths) if self.requests() else None
        for batch in self.context.first_batches(_CALIBRATION_BATCHES):
            image = None if teacher is None else teacher(batch)
            output = student(batch)
            losses = []
            for term in self.terms:
                knowledge: Knowledge = {}
                if term.distiller.uses_teacher and teacher is not None:
                    knowledge = term.distiller.knowledge(teacher.features(term.teacher_paths, image), batch)
                features = student.features(term.student_paths, output)
                losses.append(float(term.loss(features, knowledge, batch)[0]))
            means.add(losses, self._reconstruction(output, batch))
        if teacher is not None:
            teacher.close()
        student.release()
        network.train(training)
        self._set_ratios(means)

    def _reconstruction(self, output: Tensor, batch: Batch) -> float | None:
        """Return the task's loss on the labelled samples of a batch; ``None`` where there are none."""
        target = batch.target
        if batch.labelled is not None:
            rows = batch.labelled.nonzero()[:, 0].to(output.device)
            if len(rows) == 0:
                return None
            output, target = output[rows], target[rows]
        return float(self.context.task.loss(output.float(), target))

    def _set_ratios(self, means: _Means) -> None:
        if not means.reconstruction:
            raise UserError(
                f"the stage {self.context.stage!r}: expected samples with a target in the first {means.count} batches "
                "to calibrate a ratio, got none; use weight"
            )
        reconstruction = math.fsum(means.reconstruction) / len(means.reconstruction)
        for index, term in enumerate(self.terms):
            if term.term.ratio is None:
                continue
            mean = means.terms[index] / means.count
            if not math.isfinite(mean) or mean <= 0:
                raise UserError(
                    f"the term {term.name!r} cannot be given as a ratio: its loss at the start is {mean}; use weight"
                )
            self.weights[index] = term.term.ratio * reconstruction / mean
        self._scales = self.weights.tolist()

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Set the weights that are schedules; calibrated ones are as they were saved."""
        self._scales = [
            weight if term.ratio is not None else term.weight_at(epoch, epochs)
            for term, weight in zip(self._stated, self.weights.tolist())
        ]

    def requests(self) -> Sequence[TeacherRequest]:
        """One request for each term whose distiller uses the teacher."""
        return [term.request() for term in self.terms if term.distiller.uses_teacher]

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Return the weighted sum, and every term without its weight.

        A term that needs targets is computed on the labelled samples of the batch; without any it counts as 0.
        """
        student = self._observed()
        output = student(batch)
        parts: dict[str, Tensor] = {}
        total: Tensor | None = None
        for term, scale in zip(self.terms, self._scales):
            features = student.features(term.student_paths, output)
            loss, named = term.loss(features, teacher.get(term.name, {}), batch)
            parts |= named
            weighted = loss if scale == 1 else scale * loss
            total = weighted if total is None else total + weighted
        assert total is not None, "a stage has at least one term"
        return Loss(total, parts)

    def _observed(self) -> Student:
        if self._student is None:
            paths = dict.fromkeys(path for term in self.terms for path in term.student_paths)
            self._student = self.context.observe(list(paths))
        return self._student

    def on_step_end(self) -> None:
        """Update the distillers' moving averages and free the features."""
        for term in self.terms:
            term.distiller.end_step()
        if self._student is not None:
            self._student.release()

    def close(self) -> None:
        """Remove the taps from the student."""
        if self._student is not None:
            self._student.close()
            self._student = None


def _shapes(network: Observed, paths: Sequence[str], side: str, example: Batch) -> list[tuple[int, ...]]:
    """Return the shapes [C, H, W] of the features of a dry run.

    Raises:
        UserError: a feature has another layout, which its path does not state.
    """
    image = (example.input.shape[-2], example.input.shape[-1])
    shapes = []
    for path in paths:
        for feature in network.taps.take([path]):
            if split_layout(path)[1] is None:
                refuse_other_layout(tuple(feature.shape), image, f"the tap {path!r} of the {side}")
            shapes.append(tuple(feature.shape[1:]))
    return shapes


@dataclass
class _Means:
    """Sums over calibration batches."""

    size: int
    count: int = 0
    reconstruction: list[float] = field(default_factory=list)
    terms: list[float] = field(default_factory=list)

    def add(self, losses: Sequence[float], reconstruction: float | None) -> None:
        self.terms = [a + b for a, b in zip(self.terms or [0.0] * self.size, losses)]
        if reconstruction is not None:
            self.reconstruction.append(reconstruction)
        self.count += 1


def _number_equal_names(terms: list[ActiveTerm]) -> None:
    names = [term.name for term in terms]
    for index, term in enumerate(terms):
        if names.count(term.name) > 1:
            term.name = f"{names[index]}-{names[: index + 1].count(names[index])}"
