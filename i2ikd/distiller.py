"""The Distiller interface: what a teacher has to say, and how a student is judged by it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from i2ikd.sample import Batch

if TYPE_CHECKING:
    from i2ikd.task import Task

Knowledge = dict[str, Tensor]
"""What the teacher has to say about a batch, without gradient, by name."""


@dataclass
class Features:
    """What a network gave for one batch: its taps in the order of the pairs, and its output image.

    Attributes:
        taps: [B, C, H, W] each.
        output: [B, C, H, W].
    """

    taps: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None

    def image(self) -> Tensor:
        """Return the output image; it is there in every training step."""
        assert self.output is not None, "these features come from taps alone"
        return self.output


class TapShapes(NamedTuple):
    """Shapes [C, H, W] of one pair of taps, as the dry run saw them."""

    teacher: tuple[int, ...]
    student: tuple[int, ...]


class Distiller(nn.Module):
    """A distillation loss; options are typed constructor arguments.

    The split between ``knowledge`` and ``forward`` lets what the teacher says be computed once and kept. Losses are
    computed in float32, or in float64 for float64 features (``at_least_float32``), with autocast off inside
    (``full_precision``), with floors in normalisations that follow the scale of the features, as means that do not
    depend on the image size.
    """

    uses_taps: ClassVar[bool] = True
    """Whether it needs pairs of taps; otherwise the output image is enough."""

    uses_teacher: ClassVar[bool] = True
    """Whether it needs a teacher at all."""

    uses_target: ClassVar[bool] = False
    """Whether its loss depends on the batch's targets; it is then computed on the labelled samples alone."""

    relates_samples: bool = False
    """Whether the loss of a sample depends on its batch mates."""

    least_batch: int = 1
    """The least batch that a distiller which relates samples can work with."""

    cacheable: bool = False
    """Whether the knowledge may be kept: every tensor of it has the batch as its first axis and depends on its own
    sample alone."""

    tap_kind: ClassVar[Literal["features", "preactivations", "images"]] = "features"
    """Which of the registered pairs it takes when the experiment names none."""

    def attach(self, task: Task) -> None:
        """Be told of the task, once, before ``build``; only a term that uses the task's own loss needs it."""

    def build(self, pairs: Sequence[TapShapes]) -> None:
        """Size adapters for the pairs, once, after one dry run. Raise ``UserError`` for shapes it cannot take."""

    def prepare(self, teacher: Iterable[tuple[Features, Batch]]) -> None:
        """Measure or pre-train on the teacher's features, once, before the first step of a stage.

        ``teacher`` yields a limited number of training batches, without gradient, in a fixed order. What is learnt
        here must live in buffers or parameters, so that a checkpoint keeps it.
        """

    @abstractmethod
    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return what the teacher has to say about the batch."""

    @abstractmethod
    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Return the loss, a scalar, or a dict of named parts whose ``loss`` is the one to minimise."""

    def end_step(self) -> None:
        """Be told that an optimiser step was made (moving averages)."""
