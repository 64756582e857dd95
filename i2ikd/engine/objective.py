"""What a stage minimises: weighted terms, each a distiller with its taps."""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from i2ikd.config import digest
from i2ikd.distiller import Distiller, Knowledge, TapShapes
from i2ikd.engine.pairing import choose_pairs
from i2ikd.engine.seeds import seed_torch
from i2ikd.errors import UserError
from i2ikd.network import Student, Teacher
from i2ikd.recipe import Pairs, Stage, Term
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import Task


@dataclass
class ActiveTerm:
    """A term made ready: its distiller, and the taps that it compares."""

    name: str
    distiller: Distiller
    term: Term
    teacher_paths: list[str]
    student_paths: list[str]
    shapes: list[TapShapes]

    @contextmanager
    def attribute_errors(self) -> Iterator[None]:
        """Turn what the distiller raises into one line that says which one, and where in its code.

        Raises:
            UserError: the distiller raised; with ``I2IKD_STRICT_PLUGINS=1`` its own error goes on instead.
        """
        try:
            yield
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if os.environ.get("I2IKD_STRICT_PLUGINS") == "1":
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"the term {self.name!r}: the distiller {type(self.distiller).__name__} failed in {place.filename}, "
                f"line {place.lineno}: {said}; I2IKD_STRICT_PLUGINS=1 shows the whole traceback"
            ) from error

    @property
    def knowledge_key(self) -> str:
        """What its knowledge depends on, besides the teacher's weights and the samples."""
        return digest([self.term.distiller.model_dump(mode="json"), self.teacher_paths, [list(s) for s in self.shapes]])


class Objective(nn.Module):
    """The weighted terms of one stage.

    Its state are the weights, calibrated ones too, and the distillers' own parameters.
    """

    weights: Tensor

    def __init__(self, terms: Sequence[ActiveTerm]) -> None:
        super().__init__()
        self.terms = list(terms)
        self.distillers = nn.ModuleList([term.distiller for term in terms])
        self.register_buffer("weights", torch.tensor([t.term.weight for t in terms], dtype=torch.float64))
        self._scales = [term.term.weight for term in terms]

    @property
    def needs_teacher(self) -> bool:
        """Whether any term listens to a teacher."""
        return any(term.distiller.uses_teacher for term in self.terms)

    @property
    def uses_output(self) -> bool:
        """Whether any term looks at the output image, so that a validation loss says something."""
        return any(not term.distiller.uses_taps for term in self.terms)

    @property
    def student_paths(self) -> list[str]:
        """Taps on the student, each once."""
        return list(dict.fromkeys(path for term in self.terms for path in term.student_paths))

    def forward(
        self, student: Student, output: Tensor, knowledge: Sequence[Knowledge], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total, and every term without its weight."""
        parts: dict[str, Tensor] = {}
        total: Tensor | None = None
        for term, told, scale in zip(self.terms, knowledge, self._scales):
            features = student.features(term.student_paths, output)
            with term.attribute_errors():
                loss = term.distiller(features, told, batch)
            if isinstance(loss, dict) and "loss" in loss:
                parts.update({f"{term.name}/{key}": part.detach() for key, part in loss.items() if key != "loss"})
                loss = loss["loss"]
            _refuse_no_scalar(term, loss)
            parts[term.name] = loss.detach()
            weighted = loss if scale == 1 else scale * loss
            total = weighted if total is None else total + weighted
        assert total is not None, "a stage has at least one term"
        return total, parts

    def calibrate(self, means: Sequence[float], reconstruction: float) -> None:
        """Fix the weights of terms given as a ratio: weight * term = ratio * reconstruction."""
        for index, term in enumerate(self.terms):
            if term.term.ratio is not None:
                if not math.isfinite(means[index]) or means[index] <= 0:
                    raise UserError(
                        f"the term {term.name!r} cannot be given as a ratio: its loss at the start is {means[index]}; "
                        "use weight"
                    )
                self.weights[index] = term.term.ratio * reconstruction / means[index]
        self._scales = self.weights.tolist()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state_dict`` gave."""
        self.load_state_dict(state)
        self._scales = self.weights.tolist()


def _refuse_no_scalar(term: ActiveTerm, loss: object) -> None:
    if isinstance(loss, Tensor) and loss.ndim == 0:
        return
    found = f"a tensor {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
    if isinstance(loss, dict):
        found = f"a dict of {', '.join(map(str, loss)) or 'nothing'}"
    raise UserError(
        f"the term {term.name!r}: the distiller {type(term.distiller).__name__} gives {found}, and must give a scalar "
        "tensor, or a dict of them with the key 'loss'"
    )


def build_objective(
    stage: Stage,
    *,
    registry: Registry,
    task: Task,
    teacher: nn.Module | None,
    student: nn.Module,
    models: tuple[str, str],
    pairs: Pairs | None,
    example: Batch,
    batch_size: int,
    seed: int,
) -> Objective:
    """Create the distillers of a stage, see the shapes of their taps in one dry run, and size their adapters.

    Raises:
        UserError: a teacher is needed and there is none, taps are wrong, or the batch is too small.
    """
    terms = []
    for index, term in enumerate(stage.terms):
        name = term.distiller.name
        who = f"the term {name!r} of the stage {stage.name!r}"
        seed_torch(seed, stage.name, "distiller", index)
        distiller = registry.create("distiller", name, term.distiller.options, where=who)
        if not isinstance(distiller, Distiller):
            raise UserError(f"{who}: the plugin gave a {type(distiller).__name__}, not an i2ikd.Distiller")
        if distiller.uses_teacher and teacher is None:
            raise UserError(f"{who} needs a teacher, and this run has none")
        if distiller.least_batch > batch_size:
            raise UserError(
                f"{who} relates samples and needs batches of at least {distiller.least_batch}, not {batch_size}; "
                "raise training.batch"
            )
        distiller.attach(task)
        found: list[tuple[str, str]] = []
        if distiller.uses_taps and teacher is not None:
            found = choose_pairs(registry, models, (teacher, student), term.pairs or pairs, distiller.tap_kind, who)
        terms.append(ActiveTerm(name, distiller, term, [t for t, _ in found], [s for _, s in found], []))
    _number_equal_names(terms)
    if teacher is not None:
        _record_shapes(terms, teacher, student, example)
    for index, active in enumerate(terms):
        seed_torch(seed, stage.name, "adapters", index)
        active.distiller.build(active.shapes)
    return Objective(terms)


def _number_equal_names(terms: list[ActiveTerm]) -> None:
    names = [term.name for term in terms]
    for index, term in enumerate(terms):
        if names.count(term.name) > 1:
            term.name = f"{names[index]}-{names[: index + 1].count(names[index])}"


@torch.no_grad()
def _record_shapes(terms: list[ActiveTerm], teacher: nn.Module, student: nn.Module, example: Batch) -> None:
    """Run both networks once, in eval mode, so that neither running statistics nor random states change."""
    if not any(term.student_paths for term in terms):
        return
    training = {module: module.training for module in student.modules()}
    student.eval()
    with (
        Teacher(teacher, [p for t in terms for p in t.teacher_paths]) as told,
        Student(student, [p for t in terms for p in t.student_paths]) as own,
    ):
        told(example)
        own(example)
        for term in terms:
            left = [tuple(f.shape[1:]) for f in told.taps.take(term.teacher_paths)]
            right = [tuple(f.shape[1:]) for f in own.taps.take(term.student_paths)]
            if len(left) != len(right):
                raise UserError(
                    f"the taps of the term {term.name!r} fire {len(left)} times in the teacher and {len(right)} times "
                    "in the student; pair modules that run equally often"
                )
            term.shapes = [TapShapes(a, b) for a, b in zip(left, right)]
    for module, flag in training.items():
        module.training = flag
