"""Attention transfer: where a network looks, as one map per tap."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from i2ikd.distiller import Distiller, Features, Knowledge
from i2ikd.errors import UserError
from i2ikd.loss_precision import at_least_float32
from i2ikd.sample import Batch

FLOOR = 1e-6
"""Least root of an energy that anything is divided by; an energy, a square of features, has its square, 1e-12."""

RELATIVE_FLOOR = 1e-3
"""Least root of an energy in mode ``code``, as a share of the root of the mean energy, for features of every scale."""


class Attention(Distiller):
    """Attention maps of a teacher and a student, compared per sample or as KD-MRI's code does.

    Formulas, for features F [B, C, H, W], per pair and averaged over pairs:

    * ``mode = "squared"`` (default; Zagoruyko and Komodakis, arXiv:1612.03928, as their code squares it):
      q = n(vec_pixels(mean_c F^2)) per sample, n(v) = v / max(||v||_2, 1e-12); loss = mean_B ||q_S - q_T||_2^2. Where
      this is a sum over the pixels their code has the mean, which makes the loss shrink as the image grows.
    * ``mode = "paper"``: the same with the distance ||q_S - q_T||_2 not squared, as the paper prints it (equation 2).
    * ``mode = "code"``: the reference code of KD-MRI (arXiv:2004.05319): Q = sum_c F^2, divided, per pixel, by its L2
      norm over the *batch*; loss = mean absolute difference. The norm has a floor of 1e-6 of its mean over the
      pixels (a thousandth in units of features) and of 1e-12, theirs of 1e-12 alone. The loss of a slice then
      depends on its batch mates, and with one slice loss and gradient are 0: at least 2 are needed.

    Needs: taps; channels may differ. Feature maps of unequal size: the student's map is averaged or interpolated to the
    teacher's size.

    Options:
        mode: see above.
    """

    def __init__(self, mode: Literal["squared", "paper", "code"] = "squared") -> None:
        super().__init__()
        self.mode = mode
        self.relates_samples = mode == "code"
        self.least_batch = 2 if self.relates_samples else 1
        self.cacheable = True

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """One map [B, H, W] per tap: normalised per sample, or raw for the normalisation over a batch."""
        maps = [self._map(feature.detach()) for feature in teacher.taps]
        if not self.relates_samples:
            maps = [_normalise_pixels(m) for m in maps]
        return {f"map{i}": m for i, m in enumerate(maps)}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean over pairs of the distance of the maps.

        Raises:
            UserError: mode ``code`` with a single slice.
        """
        if len(batch) < self.least_batch:
            raise UserError(f"attention: mode {self.mode!r} relates samples: a batch of {len(batch)} says nothing")
        losses = []
        for i, feature in enumerate(student.taps):
            told, own = knowledge[f"map{i}"], self._map(feature)
            if own.shape != told.shape:
                own = F.interpolate(own[:, None], told.shape[-2:], mode="area")[:, 0]
            losses.append(self._distance(own, told))
        return torch.stack(losses).mean()

    def _map(self, feature: Tensor) -> Tensor:
        """Return sum_c F^2 (code) or mean_c F^2 as [B, H, W], in float32."""
        summed = channel_energy(at_least_float32(feature))
        return summed if self.mode == "code" else summed / feature.shape[1]

    def _distance(self, own: Tensor, told: Tensor) -> Tensor:
        if self.mode == "code":
            return (_normalise_batch(own) - _normalise_batch(told)).abs().mean()
        difference = (_normalise_pixels(own) - told).flatten(1)
        if self.mode == "paper":
            return _length(difference, (1,)).mean()
        return difference.square().sum(1).mean()


def channel_energy(feature: Tensor) -> Tensor:
    """Return sum_c F^2 [B, H, W] of features [B, C, H, W]; once differentiable."""
    energy: Tensor = _ChannelEnergy.apply(feature)
    return energy


class _ChannelEnergy(torch.autograd.Function):
    """Its gradient takes one map of the features' size, where autograd's own takes three."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        ctx.save_for_backward(feature)
        return feature.square().sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        return feature * (2 * gradient).unsqueeze(1)


def _normalise_pixels(maps: Tensor) -> Tensor:
    return maps / _length(maps, (1, 2))


def _normalise_batch(maps: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(maps, dim=0, keepdim=True)
    least = RELATIVE_FLOOR**2 * norm.detach().mean()
    return maps / torch.maximum(norm, least.clamp_min(FLOOR**2))


def _length(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the L2 norm over the axes, which are kept, not below the floor of an energy.

    ``torch.sum`` adds in pairs; ``vector_norm`` adds one by one and loses digits over an image.
    """
    return values.square().sum(axes, keepdim=True).clamp_min(FLOOR**4).sqrt()
