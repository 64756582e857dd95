"""A term with its distiller, the taps it compares, and its loss on a batch."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from i2ikd.distiller import Distiller, Features, Knowledge, TapShapes
from i2ikd.errors import UserError
from i2ikd.objective import TeacherRequest
from i2ikd.recipe import Term
from i2ikd.sample import Batch


@dataclass
class ActiveTerm:
    """A distiller, the term that states it, and the taps it compares.

    Attributes:
        name: unique within the objective; key of the loss in the history.
        distiller: computes knowledge and loss.
        term: as stated by the recipe.
        teacher_paths: taps of the teacher, in the order of the pairs.
        student_paths: taps of the student.
        shapes: [C, H, W] of each pair.
    """

    name: str
    distiller: Distiller
    term: Term
    teacher_paths: list[str]
    student_paths: list[str]
    shapes: list[TapShapes] = field(default_factory=list)

    def request(self) -> TeacherRequest:
        """Return the request for the teacher outputs that the term uses in every batch."""
        return TeacherRequest(
            name=self.name,
            extract=partial(_extract, self),
            paths=tuple(self.teacher_paths),
            cacheable=self.distiller.cacheable,
            identity=[self.term.distiller.model_dump(mode="json"), [list(shape) for shape in self.shapes]],
            code=type(self.distiller),
            uses_output=self.distiller.uses_output,
        )

    def loss(self, student: Features, knowledge: Knowledge, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the unweighted loss, and it with its parts by name, without gradient.

        Raises:
            UserError: the distiller raises, or returns something else than a scalar.
        """
        if self.distiller.uses_target and batch.labelled is not None:
            rows = batch.labelled.nonzero()[:, 0]
            if len(rows) == 0:
                zero = student.image().sum() * 0.0
                return zero, {self.name: zero.detach()}
            student, knowledge, batch = _select(student, knowledge, batch, rows)
        with attribute_errors(self.name, self.distiller):
            loss = self.distiller(student, knowledge, batch)
        parts: dict[str, Tensor] = {}
        if isinstance(loss, dict) and "loss" in loss:
            parts = {f"{self.name}/{key}": part.detach() for key, part in loss.items() if key != "loss"}
            loss = loss["loss"]
        _check_scalar(self.name, self.distiller, loss)
        parts[self.name] = loss.detach()
        return loss, parts


def _extract(term: ActiveTerm, teacher: Features, batch: Batch) -> Knowledge:
    with attribute_errors(term.name, term.distiller):
        return term.distiller.knowledge(teacher, batch)


def _select(student: Features, knowledge: Knowledge, batch: Batch, rows: Tensor) -> tuple[Features, Knowledge, Batch]:
    """Return the labelled samples of features, knowledge and batch."""
    moved = rows.to(batch.input.device)
    output = None if student.output is None else student.output[moved]
    features = Features([tap[moved] for tap in student.taps], output)
    return features, {name: tensor[moved] for name, tensor in knowledge.items()}, batch.select(rows)


@contextmanager
def attribute_errors(name: str, distiller: Distiller) -> Iterator[None]:
    """Convert an exception of a distiller into one line that names it and the place in its code.

    Raises:
        UserError: the distiller raised; with ``I2IKD_STRICT_PLUGINS=1`` its own exception is passed on instead.
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if os.environ.get("I2IKD_STRICT_PLUGINS") == "1":
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"the term {name!r}: the distiller {type(distiller).__name__} failed in {place.filename}, "
            f"line {place.lineno}: {message}; I2IKD_STRICT_PLUGINS=1 shows the whole traceback"
        ) from error


def _check_scalar(name: str, distiller: Distiller, loss: object) -> None:
    if isinstance(loss, Tensor) and loss.ndim == 0:
        return
    found = f"a tensor {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
    if isinstance(loss, dict):
        found = f"a dict of {', '.join(map(str, loss)) or 'nothing'}"
    raise UserError(
        f"the term {name!r}: expected the distiller {type(distiller).__name__} to return a scalar tensor, or a dict of "
        f"them with the key 'loss', got {found}"
    )
