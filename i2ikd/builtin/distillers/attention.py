"""Attention transfer: spatial energy maps of features, one per tap."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from i2ikd.distiller import Distiller, Features, Knowledge
from i2ikd.errors import UserError
from i2ikd.loss_precision import at_least_float32
from i2ikd.sample import Batch

FLOOR = 1e-6
"""Floor of the root of an energy in a divisor; energies are squares of features, so that their floor is 1e-12."""

RELATIVE_FLOOR = 1e-3
"""Floor of the root of an energy in mode ``code``, as a share of the root of the mean energy."""


class Attention(Distiller):
    """Distance between the attention maps of teacher and student.

    For features F [B, C, H, W], averaged over the pairs of taps:

    * ``mode = "squared"`` (default; Zagoruyko and Komodakis, arXiv:1612.03928, squared as in their code):
      q = n(vec_pixels(mean_c F^2)) per sample, n(v) = v / max(||v||_2, 1e-12); loss = mean_B ||q_S - q_T||_2^2.
      Deviation: a sum over pixels; the mean of their code makes the loss decrease with the image size.
    * ``mode = "paper"``: the same with the distance ||q_S - q_T||_2 without the square, as in the paper (equation 2).
    * ``mode = "code"``: reference code of KD-MRI (arXiv:2004.05319): Q = sum_c F^2, divided, per pixel, by its L2 norm
      over the *batch*; loss = mean absolute difference. The norm has a floor of 1e-6 of its mean over the pixels (a
      thousandth in units of features) and of 1e-12; in their code of 1e-12 alone. The loss of a slice depends on the
      other slices of its batch; for a batch of 1, loss and gradient are 0, so at least 2 slices are required.

    Requires taps; channels may differ. For feature maps of unequal size, the student's map is resized by area
    averaging to the teacher's size.

    Options:
        mode: ``squared``, ``paper`` or ``code``, see above.
    """

    uses_output: ClassVar[bool] = False

    def __init__(self, mode: Literal["squared", "paper", "code"] = "squared") -> None:
        super().__init__()
        self.mode = mode
        self.relates_samples = mode == "code"
        self.least_batch = 2 if self.relates_samples else 1
        self.cacheable = True

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Compute the teacher's attention maps.

        Args:
            teacher: features [B, C, H, W], one per tap.
            batch: unused.

        Returns:
            ``map{i}`` [B, H, W] per tap, at least float32: normalised per sample, or raw for mode ``code``,
            whose normalisation depends on the batch.
        """
        maps = [self._map(feature.detach()) for feature in teacher.taps]
        if not self.relates_samples:
            maps = [_normalise_pixels(map_) for map_ in maps]
        return {f"map{i}": map_ for i, map_ in enumerate(maps)}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Compute the distance of the maps, averaged over pairs.

        Args:
            student: features [B, C, H, W], one per tap.
            knowledge: output of ``knowledge``.
            batch: the batch, of at least 2 slices for mode ``code``.

        Returns:
            A scalar.

        Raises:
            UserError: mode ``code`` with a single slice.
        """
        if len(batch) < self.least_batch:
            raise UserError(f"attention: mode={self.mode!r}: expected a batch of at least 2 slices, got {len(batch)}")
        losses = []
        for i, feature in enumerate(student.taps):
            teacher_map, student_map = knowledge[f"map{i}"], self._map(feature)
            if student_map.shape != teacher_map.shape:
                student_map = F.interpolate(student_map[:, None], teacher_map.shape[-2:], mode="area")[:, 0]
            losses.append(self._distance(student_map, teacher_map))
        return torch.stack(losses).mean()

    def _map(self, feature: Tensor) -> Tensor:
        """Return sum_c F^2 (code) or mean_c F^2 as [B, H, W], at least float32."""
        summed = channel_energy(feature)
        return summed if self.mode == "code" else summed / feature.shape[1]

    def _distance(self, student_map: Tensor, teacher_map: Tensor) -> Tensor:
        """Return the mode's distance of two maps [B, H, W]; the teacher's is normalised except in mode ``code``."""
        if self.mode == "code":
            return (_normalise_batch(student_map) - _normalise_batch(teacher_map)).abs().mean()
        difference = (_normalise_pixels(student_map) - teacher_map).flatten(1)
        if self.mode == "paper":
            return _length(difference, (1,)).mean()
        return difference.square().sum(1).mean()


def channel_energy(feature: Tensor) -> Tensor:
    """Compute sum_c F^2, differentiable once.

    Args:
        feature: features F [B, C, H, W].

    Returns:
        [B, H, W], at least float32.
    """
    energy: Tensor = _ChannelEnergy.apply(feature)
    return energy


class _ChannelEnergy(torch.autograd.Function):
    """Sum of squares that keeps the features alone for its backward pass, in their own precision.

    autograd keeps a float32 copy of them, and allocates three tensors of their size in the backward pass. On a CPU, the
    squares of one sample at a time stay in the processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        ctx.save_for_backward(feature)
        parts = feature.split(1) if feature.device.type == "cpu" else [feature]
        return torch.cat([at_least_float32(part).square().sum(1) for part in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        return (at_least_float32(feature) * (2 * gradient).unsqueeze(1)).to(feature.dtype)


def _normalise_pixels(maps: Tensor) -> Tensor:
    """Divide each sample of [B, H, W] by its L2 norm over the pixels."""
    return maps / _length(maps, (1, 2))


def _normalise_batch(maps: Tensor) -> Tensor:
    """Divide each pixel of [B, H, W] by its L2 norm over the batch."""
    norm = _length(maps, (0,))
    return maps / torch.maximum(norm, RELATIVE_FLOOR**2 * norm.detach().mean())


def _length(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the L2 norm over the axes, keeping the dimensions, with the floor of an energy.

    ``torch.sum`` adds pairwise; ``vector_norm`` adds sequentially, which loses digits over an image, and takes 50 times
    as long over the samples of a batch on a CPU.
    """
    return values.square().sum(axes, keepdim=True).clamp_min(FLOOR**4).sqrt()
