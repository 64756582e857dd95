"""Interface of distillation losses: knowledge extracted from a teacher, and the loss of a student against it."""

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
"""Tensors that a loss compares the student with, computed from teacher outputs without gradient, by name."""


@dataclass
class Features:
    """Features of a network for one batch: its taps and its output image.

    Attributes:
        taps: in the order of the pairs, [B, C, H, W] each.
        output: the output image, [B, C, H, W]; ``None`` for features computed from taps alone.
    """

    taps: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None

    def image(self) -> Tensor:
        """Return the output image [B, C, H, W], which every training step provides."""
        assert self.output is not None, "expected features with an output image, got taps alone"
        return self.output


class TapShapes(NamedTuple):
    """Shapes of one pair of taps, measured in a dry run.

    Attributes:
        teacher: [C, H, W].
        student: [C, H, W].
    """

    teacher: tuple[int, ...]
    student: tuple[int, ...]


class Distiller(nn.Module):
    """Distillation loss; options are typed constructor arguments.

    The split into ``knowledge`` and ``forward`` allows the teacher's part to be computed once and cached. Losses are
    computed in float32, or in float64 for float64 features (``at_least_float32``), with autocast off inside
    (``full_precision``), with floors in normalisations that follow the scale of the features, as means that do not
    depend on the image size.
    """

    uses_taps: ClassVar[bool] = True
    """Whether the loss needs pairs of taps; otherwise it uses output images alone."""

    uses_teacher: ClassVar[bool] = True
    """Whether the loss needs a teacher."""

    uses_output: ClassVar[bool] = True
    """Whether ``knowledge`` uses the teacher's output image; otherwise it may be ``None``, and a teacher that runs in
    every step is run no further than to its last tap."""

    uses_target: ClassVar[bool] = False
    """Whether the loss depends on the targets; it is then computed on labelled samples alone."""

    relates_samples: bool = False
    """Whether the loss of a sample depends on the other samples of its batch."""

    least_batch: int = 1
    """Smallest batch that a distiller which relates samples accepts."""

    cacheable: bool = False
    """Whether the knowledge may be cached: the first axis of every tensor is the batch, and each row depends on its own
    sample alone."""

    tap_kind: ClassVar[Literal["features", "preactivations", "images"]] = "features"
    """Kind of the registered pairs to use when the experiment states none."""

    def attach(self, task: Task) -> None:
        """Store what the loss needs of the task; called once, before ``build``.

        Args:
            task: the experiment's task. Only distillers that use ``Task.loss`` need it.
        """

    def build(self, pairs: Sequence[TapShapes]) -> None:
        """Create modules whose sizes depend on the pairs, such as adapters; called once, after a dry run.

        Args:
            pairs: shapes of every pair of taps.

        Raises:
            UserError: shapes that the loss does not support.
        """

    def prepare(self, teacher: Iterable[tuple[Features, Batch]]) -> None:
        """Compute statistics or pre-train on the teacher's features; called once, before the first step of a stage.

        Results must be stored in buffers or parameters, so that checkpoints contain them.

        Args:
            teacher: features, without gradient, and batch of a limited number of training batches, in a fixed order.
        """

    @abstractmethod
    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Compute the knowledge of a batch.

        Args:
            teacher: features of the teacher, without gradient.
            batch: the batch.

        Returns:
            Tensors by name; see ``cacheable`` for their shapes.
        """

    @abstractmethod
    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor | dict[str, Tensor]:
        """Compute the loss of a batch.

        Args:
            student: features of the student.
            knowledge: of the same batch.
            batch: the batch.

        Returns:
            A scalar, or scalars by name, of which ``loss`` is minimised and the others are recorded.
        """

    def end_step(self) -> None:
        """Update state after an optimiser step, such as moving averages."""
