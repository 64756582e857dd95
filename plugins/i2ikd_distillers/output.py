"""Distillers of images: frequency bands of the output, and the images between cascades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Batch, Distiller, Features, Knowledge, TapShapes, UserError, at_least_float32, full_precision
from i2ikd_distillers.bands import haar, laplacian, lines
from i2ikd_distillers.paired import PairedDistiller


class Frequency(Distiller):
    """Mean absolute difference of the high frequencies of the two output images.

    Paper: Zhang et al., "Wavelet Knowledge Distillation: Towards Efficient Image-to-Image Translation",
    arXiv:2203.06321.

    Formula: mean |band(y_S - y_T)|, averaged over the bands; every band is linear.

    Needs: the output image; no taps, no parameters. Works at batch 1, knowledge is cacheable.

    Differs from the authors' code: a mean over the levels, theirs is a sum; two levels by default, their runs have four
    (Haar as well, though their options' default is db3 with three); odd sides are extended by repetition, theirs by
    zeros. Their README has the L1 norm, as here, their CycleGAN training the squared one. ``laplacian`` and
    ``lines`` (k-space lines between two fractions of the Nyquist frequency) are additions. With ``lines`` the L1 norm
    of k-space is sparse for periodic images: it is independent of the image size only for noise-like differences.

    Args:
        bands: ``haar``, ``laplacian`` or ``lines``.
        levels: how many levels of the first two.
        axis: for ``lines``, the axis along which lines are counted: 0 height, 1 width.
        lowest: for ``lines``, the least frequency, as a fraction of the Nyquist frequency.
        highest: for ``lines``, the greatest.
    """

    uses_taps = False
    cacheable = True

    def __init__(
        self,
        bands: Literal["haar", "laplacian", "lines"] = "haar",
        levels: Annotated[int, Field(ge=1, le=8)] = 2,
        axis: Literal[0, 1] = 0,
        lowest: Annotated[float, Field(ge=0, le=1)] = 0.25,
        highest: Annotated[float, Field(ge=0, le=1)] = 1.0,
    ) -> None:
        super().__init__()
        if lowest >= highest:
            raise UserError(f"frequency: lowest = {lowest} must be below highest = {highest}")
        self.bands, self.levels, self.axis, self.lowest, self.highest = bands, levels, axis, lowest, highest

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return the teacher's image."""
        return {"image": at_least_float32(teacher.image().detach())}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean over the bands."""
        with full_precision(student.image()):
            found = self._split(at_least_float32(student.image()) - knowledge["image"])
            return torch.stack([band.abs().mean() for band in found]).mean()

    def _split(self, difference: Tensor) -> list[Tensor]:
        size = tuple(difference.shape[-2:])
        if self.bands == "lines":
            found = lines(difference, self.axis, self.lowest, self.highest)
            if found[0].numel() == 0:
                raise UserError(f"frequency: an image of {size} has no line within [{self.lowest}, {self.highest}]")
            return found
        if min(size) < 2**self.levels:
            raise UserError(f"frequency: an image of {size} is too small for {self.levels} levels")
        return haar(difference, self.levels) if self.bands == "haar" else laplacian(difference, self.levels)


class Cascade(PairedDistiller):
    """Mean absolute difference of the images that the two networks have after each cascade.

    Paper: none of its own; deep supervision of unrolled networks with the teacher's intermediate images.

    Formula: mean over cascades k of mean |image_S,k - image_T,k|, each after its data consistency.

    Needs: networks that unroll, with taps on images (kind ``images``) of one shape. No parameters; works at batch 1,
    knowledge is cacheable.
    """

    tap_kind: ClassVar[Literal["features", "preactivations", "images"]] = "images"
    cacheable = True

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Refuse taps of unequal shape: images of one sample cannot differ."""
        for pair in pairs:
            if tuple(pair.teacher) != tuple(pair.student):
                raise UserError(
                    f"cascade compares images: the teacher's tap is {list(pair.teacher)}, the student's "
                    f"{list(pair.student)}; tap the images after each cascade in both networks"
                )

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean absolute difference."""
        return F.l1_loss(student, knowledge)
