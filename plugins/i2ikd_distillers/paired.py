"""The frame of a distiller that works pair by pair: describe the teacher's feature, compare the student's with it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from i2ikd import Batch, Distiller, Features, Knowledge, TapShapes, UserError, at_least_float32, full_precision


class PairedDistiller(Distiller):
    """Mean over the pairs of a loss between one feature of each network; knowledge is named ``map0``, ``map1``, ..."""

    uses_output = False

    def build(self, pairs: Sequence[TapShapes]) -> None:
        """Check the pairs and create layers of their sizes.

        Raises:
            UserError: no pairs, or taps that are not feature maps [C, H, W].
        """
        name = type(self).__name__
        if not pairs:
            raise UserError(f"{name} compares features: name at least one pair of taps")
        for pair in pairs:
            for tap_kind, shape in (("teacher", pair.teacher), ("student", pair.student)):
                if len(shape) != 3:
                    raise UserError(f"{name} needs taps of shape [C, H, W]; the {tap_kind}'s is {list(shape)}")
        self.size_for(pairs)

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters, where the method has any."""

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return the knowledge of one teacher feature [B, C, H, W], at least float32; by default the feature."""
        return teacher

    @abstractmethod
    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the scalar loss of the student's feature [B, C, H, W], at least float32, given ``describe``'s answer.

        It may be float64; ``forward`` converts the mean over the pairs to the format of the features.
        """

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Describe every tap of the teacher."""
        if not teacher.taps:
            return {}
        with torch.no_grad(), full_precision(teacher.taps[0]):
            return {f"map{i}": self.describe(i, at_least_float32(tap.detach())) for i, tap in enumerate(teacher.taps)}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean over the pairs.

        Raises:
            UserError: a batch smaller than ``least_batch``.
        """
        refuse_small_batch(self, len(batch))
        with full_precision(student.taps[0]):
            taps = [at_least_float32(tap) for tap in student.taps]
            losses = [self.compare(i, tap, knowledge[f"map{i}"]) for i, tap in enumerate(taps)]
            return torch.stack(losses).mean().to(taps[0].dtype)


def refuse_small_batch(distiller: Distiller, size: int) -> None:
    """Raise ``UserError`` when the batch is smaller than the distiller declares that it needs."""
    if size < distiller.least_batch:
        raise UserError(
            f"{type(distiller).__name__} relates the samples of a batch and needs at least "
            f"{distiller.least_batch}, not {size}; raise training.batch, drop the last incomplete batch, or choose "
            "an option that works within a sample"
        )
