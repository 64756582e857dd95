"""Data consistency with several coils: one gradient step, or a fixed number of conjugate-gradient steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd_mri.coils.operator import SenseOperator
from i2ikd_mri.fourier import from_channels, to_channels
from i2ikd_mri.precision import full_precision

Kind = Literal["gradient", "cg"]


@dataclass(frozen=True)
class SenseMeasurement:
    """Measurement of a batch, shared by all data-consistency steps of any kind.

    Attributes:
        operator: the measurement operator A.
        adjoint: zero-filled image AH(measured k-space), complex [B, 1, H, W].
    """

    operator: SenseOperator
    adjoint: Tensor

    @classmethod
    def of(
        cls, kspace: Tensor, mask: Tensor, maps: Tensor, centered: bool, dtype: torch.dtype = torch.float32
    ) -> SenseMeasurement:
        """Precompute the measurement of a batch, in complex64 under any autocast (complex128 for float64).

        Args:
            kspace: complex [B, C, H, W], orthonormal; ignored where not measured.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.
            maps: complex [B, C, H, W], with a sum of squares over the coils of 1 or 0.
            centered: position of zero frequency and image origin: index 0 (``False``) or n // 2 (``True``).
            dtype: real dtype of the images of the steps.

        Raises:
            UserError: the shapes of k-space, mask and maps do not match.
        """
        if kspace.shape != maps.shape:
            raise UserError(
                f"data consistency: expected maps of the shape of the k-space {list(kspace.shape)}, got "
                f"{list(maps.shape)}"
            )
        double = dtype == torch.float64
        kind = torch.complex128 if double else torch.complex64
        with full_precision(kspace):
            operator = SenseOperator(maps.to(kind), mask.to(torch.float64 if double else torch.float32), centered)
            return cls(operator, operator.AH(kspace.to(kind)))

    @property
    def image(self) -> Tensor:
        """Zero-filled image [B, 2, H, W], real and imaginary channels."""
        return to_channels(self.adjoint[:, 0])


class SenseConsistency(nn.Module):
    """Move an image towards its measurement, y = A x (``SenseOperator``).

    ``gradient``: x' = x - w AH(A x - y) with a learned weight w, initially 1: a step of gradient descent on
    ||A x - y||^2 / 2 (Hammernik et al. 2018, arXiv:1704.00447; Sriram et al. 2020, arXiv:2004.06688).

    ``cg``: ``steps`` steps of conjugate gradients on the same error, from x on: the components of x that no measured
    sample depends on are unchanged. Without a parameter (Aggarwal et al. 2019, arXiv:1712.02862, with the number of
    steps in place of a regularisation weight).

    With one coil of map 1, one step of either kind replaces the measured samples: the closed form of
    ``DataConsistency`` in complex mode. Arithmetic is float32 and complex64 under any autocast (float64 and complex128
    for a float64 image).

    Args:
        kind: ``gradient`` or ``cg``.
        steps: number of conjugate-gradient steps.
    """

    def __init__(self, kind: Kind = "gradient", steps: PositiveInt = 4) -> None:
        super().__init__()
        self.kind = kind
        self.steps = steps
        if kind == "gradient":
            self.weight = nn.Parameter(torch.ones(()))

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return f"kind={self.kind!r}" + (f", steps={self.steps}" if self.kind == "cg" else "")

    def forward(self, image: Tensor, measurement: SenseMeasurement) -> Tensor:
        """Move an image towards its measurement.

        Args:
            image: [B, 2, H, W], real and imaginary channels.
            measurement: of the same batch.

        Returns:
            Image [B, 2, H, W], float32 (float64 for float64).
        """
        with full_precision(image):
            values = image if image.dtype == torch.float64 else image.float()
            x = from_channels(values).unsqueeze(1)
            residual = measurement.adjoint - measurement.operator.normal(x)
            if self.kind == "gradient":
                x = x + self.weight * residual
            else:
                x = x + conjugate_gradients(measurement.operator, residual, self.steps)
            return to_channels(x[:, 0])


def conjugate_gradients(operator: SenseOperator, right: Tensor, steps: int) -> Tensor:
    """Solve AH A x = right approximately by conjugate gradients from 0, each sample for itself.

    Source: Hestenes and Stiefel 1952. A sample whose residual is as small as rounding is left as it is: its directions
    would be rounding errors, which leave the range of AH.

    Args:
        operator: A.
        right: complex [B, 1, H, W], in the range of AH.
        steps: number of steps.

    Returns:
        Complex [B, 1, H, W].
    """
    x = torch.zeros_like(right)
    residual = direction = right
    energy = _energy(residual)
    rounding = energy.detach() * (16 * torch.finfo(right.dtype).eps) ** 2
    for _ in range(steps):
        active = energy > rounding
        applied = operator.normal(direction)
        curvature = (direction.conj() * applied).real.sum((1, 2, 3), keepdim=True)
        length = _ratio(energy, curvature, active)
        x = x + length * direction
        residual = residual - length * applied
        previous, energy = energy, _energy(residual)
        direction = residual + _ratio(energy, previous, active) * direction
    return x


def _energy(values: Tensor) -> Tensor:
    return torch.view_as_real(values).square().sum((1, 2, 3, 4)).reshape(-1, 1, 1, 1)


def _ratio(numerator: Tensor, denominator: Tensor, active: Tensor) -> Tensor:
    """Divide; the ratio of a sample that is not active is 0, with a gradient of 0."""
    safe = torch.where(active, denominator, torch.ones_like(denominator))
    return torch.where(active, numerator / safe, torch.zeros_like(numerator))
