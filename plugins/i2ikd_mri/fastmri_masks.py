"""The undersampling masks of fastMRI: a fully sampled share of the lines in the centre, and the others drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.masks import Mask, PlaneShape, lines


class _CentreFraction(Mask):
    """Lines of which a share in the centre is measured, as in ``fastmri.data.subsample`` (arXiv:1811.08839)."""

    def __init__(
        self, acceleration: float, center_fraction: float, axis: Literal[0, 1], seed: int, fixed: bool
    ) -> None:
        if acceleration * center_fraction >= 1:
            raise UserError(
                f"mask: expected center_fraction < 1 / acceleration = {1 / acceleration:.3g}, got {center_fraction}: "
                "the centre alone has as many lines as the acceleration leaves"
            )
        self.acceleration = acceleration
        self.center_fraction = center_fraction
        self.axis = axis
        self.seed = seed
        self.fixed = fixed

    @abstractmethod
    def _outer(self, length: int, centre: int, random: np.random.Generator) -> np.ndarray:
        """Return which of ``length`` lines are measured, before the centre is added; ``centre`` lines are in it."""

    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Generate the mask; see ``Mask``."""
        length = shape[self.axis]
        centre = round(length * self.center_fraction)
        random = np.random.default_rng([self.seed, *(() if self.fixed else (number % 2**63 for number in draw))])
        line = self._outer(length, centre, random).astype(np.float32)
        start = (length - centre + 1) // 2
        line[start : start + centre] = 1
        if not line.any():
            raise UserError(
                f"mask: center_fraction = {self.center_fraction} and acceleration = {self.acceleration} leave none of "
                f"{length} lines; raise center_fraction"
            )
        return lines(line, self.axis, centered)

    def identity(self) -> dict[str, Any]:
        """Return the class and its options."""
        return {"kind": type(self).__name__, **vars(self)}


class FastMriRandom(_CentreFraction):
    """Lines outside the centre measured with one probability, as fastMRI's ``random`` (knee).

    The expected number of measured lines, the centre included, is n / acceleration.

    Args:
        acceleration: expected acceleration, at least 1.
        center_fraction: share of all lines in the fully sampled centre, below 1 / acceleration; fastMRI: 0.08 at 4x,
            0.04 at 8x.
        axis: phase-encode axis: 0 (mask [H, 1]) or 1 (mask [1, W], fastMRI's).
        seed: seed of the random lines, at least 0.
        fixed: ``True``: one mask for all samples; ``False``: a mask for each sample and augmentation seed.

    Raises:
        UserError: the centre has as many lines as are measured.
    """

    def __init__(
        self,
        acceleration: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0,
        center_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.08,
        axis: Literal[0, 1] = 1,
        seed: Annotated[int, Field(ge=0)] = 0,
        fixed: bool = True,
    ) -> None:
        super().__init__(acceleration, center_fraction, axis, seed, fixed)

    def _outer(self, length: int, centre: int, random: np.random.Generator) -> np.ndarray:
        probability = (length / self.acceleration - centre) / (length - centre)
        return random.uniform(size=length) < probability


class FastMriEquispaced(_CentreFraction):
    """Lines at equal distances, and the centre, as fastMRI's ``equispaced`` and ``equispaced_fraction`` (brain).

    Args:
        acceleration: nominal acceleration, at least 1.
        center_fraction: share of all lines in the fully sampled centre, below 1 / acceleration; fastMRI: 0.08 at 4x,
            0.04 at 8x.
        spacing: distance of the lines. ``adjusted``: larger than the acceleration, so that with the centre about
            n / acceleration lines are measured (``equispaced_fraction``; distances differ by rounding). ``nominal``:
            the acceleration, so that the centre lowers it (``equispaced``).
        offset: first line, less than the distance; ``None``: drawn.
        axis: phase-encode axis: 0 (mask [H, 1]) or 1 (mask [1, W], fastMRI's).
        seed: seed of the random offset, at least 0.
        fixed: ``True``: one mask for all samples; ``False``: an offset drawn for each sample and augmentation seed.

    Raises:
        UserError: the centre has as many lines as are measured, or ``offset`` is not less than the distance.
    """

    def __init__(
        self,
        acceleration: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0,
        center_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.08,
        spacing: Literal["adjusted", "nominal"] = "adjusted",
        offset: Annotated[int, Field(ge=0)] | None = None,
        axis: Literal[0, 1] = 1,
        seed: Annotated[int, Field(ge=0)] = 0,
        fixed: bool = True,
    ) -> None:
        super().__init__(acceleration, center_fraction, axis, seed, fixed)
        self.spacing = spacing
        self.offset = offset
        if offset is not None:
            self.fixed = True

    def _outer(self, length: int, centre: int, random: np.random.Generator) -> np.ndarray:
        distance = float(round(self.acceleration))
        if self.spacing == "adjusted":
            distance = self.acceleration * (length - centre) / (length - centre * self.acceleration)
        if self.offset is not None and self.offset >= round(distance):
            raise UserError(
                f"mask: expected offset < {round(distance)}, the distance of the lines, got offset = {self.offset}"
            )
        offset = int(random.integers(max(1, round(distance)))) if self.offset is None else self.offset
        end = length - 1 if self.spacing == "adjusted" else length
        measured = np.zeros(length, bool)
        measured[np.around(np.arange(offset, end, distance)).astype(int)] = True
        return measured
