"""Undersampling masks: which k-space samples are measured. A mask belongs to a sample, never to a network."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from i2ikd import UserError

PlaneShape = tuple[int, int]
"""(H, W) of a slice."""


def measured_acceleration(mask: Tensor) -> float:
    """Return samples in all / samples measured, of a mask of any shape.

    >>> measured_acceleration(torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    4.0
    """
    return mask.numel() / float(mask.sum())


class Mask(ABC):
    """What every undersampling mask does: called with the shape of a slice it gives ones where k-space is measured."""

    fixed: bool = True
    """Whether all samples of one shape have the same mask."""

    @abstractmethod
    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Make the mask.

        Args:
            shape: (H, W) of the slice.
            draw: numbers that tell one draw from another (sample, view seed); without effect on a fixed mask.
            centered: where zero frequency is: index 0 of each axis, or index n // 2.

        Returns:
            float32 of zeros and ones, [H, 1] or [1, W] when whole lines are measured (the shape itself says that it
            is one-dimensional), otherwise [H, W].

        Raises:
            UserError: the mask cannot be made for this shape.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells this mask from others: JSON-able, without paths."""


class _Lines(Mask):
    """Whole Cartesian lines along the phase-encode axis, round(n / acceleration) of them, with a full centre."""

    def __init__(
        self,
        acceleration: float,
        axis: Literal[0, 1],
        centre_lines: int | None,
        seed: int,
        fixed: bool,
    ) -> None:
        if not 1 <= acceleration < float("inf"):
            raise UserError(f"mask: acceleration = {acceleration} must be a number of at least 1")
        if axis not in (0, 1):
            raise UserError(f"mask: axis = {axis} must be 0 (lines chosen along H) or 1 (along W)")
        if centre_lines is not None and centre_lines < 0:
            raise UserError(f"mask: centre_lines = {centre_lines} must not be negative")
        if seed < 0:
            raise UserError(f"mask: seed = {seed} must not be negative")
        self.acceleration = acceleration
        self.axis = axis
        self.centre_lines = centre_lines
        self.seed = seed
        self.fixed = fixed

    @abstractmethod
    def _outside(self, frequencies: np.ndarray, length: int, count: int, random: np.random.Generator) -> np.ndarray:
        """Choose ``count`` of the frequencies outside the centre."""

    def _counts(self, length: int) -> tuple[int, int]:
        """Lines in all and lines in the centre."""
        count = max(1, round(length / self.acceleration))
        centre = self.centre_lines
        if centre is None:
            centre = min(count, max(1, round(0.32 * length / self.acceleration)))
        if centre > count:
            raise UserError(
                f"mask: centre_lines = {centre} are more than the {count} lines that acceleration = "
                f"{self.acceleration} leaves of {length}"
            )
        return count, centre

    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Make the mask; see ``Mask``."""
        length = shape[self.axis]
        count, centre = self._counts(length)
        frequencies = np.arange(length) - length // 2
        start = length // 2 - centre // 2
        line = np.zeros(length, dtype=np.float32)
        line[start : start + centre] = 1
        random = np.random.default_rng([self.seed, *(() if self.fixed else (number % 2**63 for number in draw))])
        outside = frequencies[line == 0]
        if count > centre:
            line[self._outside(outside, length, count - centre, random) + length // 2] = 1
        if not centered:
            line = np.fft.ifftshift(line)
        return torch.from_numpy(np.ascontiguousarray(line)).reshape((-1, 1) if self.axis == 0 else (1, -1))

    def identity(self) -> dict[str, Any]:
        """The options."""
        return {"kind": type(self).__name__, **vars(self)}


class VariableDensity(_Lines):
    """Lines drawn without replacement with the density (1 - |k| / k_max)^power, and a fully sampled centre.

    The density is the polynomial one of Lustig et al., Sparse MRI (2007). Exactly round(n / acceleration) lines are
    measured, the centre included.

    Args:
        acceleration: wanted acceleration, at least 1.
        axis: phase-encode axis, along which lines are chosen: 0 (mask [H, 1]) or 1 (mask [1, W]).
        centre_lines: number of fully sampled lines around zero frequency; a third of all measured ones when not given.
        power: how fast the density decays; 0 is uniform.
        seed: which draw.
        fixed: one mask for all samples; ``False``: each sample, and each view of it, has its own.

    Raises:
        UserError: an acceleration below 1, or a centre of more lines than there are to measure.
    """

    def __init__(
        self,
        acceleration: float = 4.0,
        axis: Literal[0, 1] = 0,
        centre_lines: int | None = None,
        power: float = 3.0,
        seed: int = 0,
        fixed: bool = True,
    ) -> None:
        super().__init__(acceleration, axis, centre_lines, seed, fixed)
        if not 0 <= power <= 100:
            raise UserError(f"mask: power = {power} must be between 0 and 100")
        self.power = power

    def _outside(self, frequencies: np.ndarray, length: int, count: int, random: np.random.Generator) -> np.ndarray:
        radius = np.abs(frequencies) / (length / 2)
        # The outermost line has density 0 and may still be needed when nearly all lines are measured.
        density = np.maximum(1 - radius, 1e-3) ** self.power
        return random.choice(frequencies, size=count, replace=False, p=density / density.sum())


class Equispaced(_Lines):
    """Lines at equal distances outside a fully sampled centre.

    Exactly round(n / acceleration) lines are measured, the centre included: the distance follows from it, so that the
    centre does not lower the acceleration.

    Args:
        acceleration: wanted acceleration, at least 1.
        axis: phase-encode axis: 0 (mask [H, 1]) or 1 (mask [1, W]).
        centre_lines: number of fully sampled lines around zero frequency; a third of all measured ones when not given.
        offset: how many lines the pattern is moved.
        seed: which draw, where the masks are not fixed.
        fixed: one mask for all samples; ``False``: the offset is drawn for each sample and view.

    Raises:
        UserError: an acceleration below 1, or a centre of more lines than there are to measure.
    """

    def __init__(
        self,
        acceleration: float = 4.0,
        axis: Literal[0, 1] = 0,
        centre_lines: int | None = None,
        offset: int = 0,
        seed: int = 0,
        fixed: bool = True,
    ) -> None:
        super().__init__(acceleration, axis, centre_lines, seed, fixed)
        self.offset = offset

    def _outside(self, frequencies: np.ndarray, length: int, count: int, random: np.random.Generator) -> np.ndarray:
        offset = self.offset if self.fixed else int(random.integers(len(frequencies)))
        positions = (offset + np.arange(count) * len(frequencies) // count) % len(frequencies)
        return frequencies[positions]


class MaskFile(Mask):
    """A mask of zeros and ones from a NumPy file; it is read on first use.

    Args:
        path: a .npy file, [H, W], or [n] with one number per line. A plane that is constant along one axis is kept as
            lines.
        axis: phase-encode axis of a file [n].
        centered: where zero frequency is in the file; when not given, where the task has it.

    Raises:
        UserError: on first use, for a file that is missing, no .npy, not made of zeros and ones, empty, or of another
            shape than the slices.
    """

    def __init__(self, path: Path, axis: Literal[0, 1] = 0, centered: bool | None = None) -> None:
        self.path = Path(path)
        self.axis = axis
        self.centered = centered
        self._read: tuple[PlaneShape | None, Tensor] | None = None

    def _load(self) -> tuple[PlaneShape | None, Tensor]:
        """Return the shape of the file's plane (``None`` for lines) and the mask."""
        if self._read is None:
            try:
                values = np.load(self.path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise UserError(f"mask {self.path}: cannot be read as a .npy file: {error}") from error
            if not isinstance(values, np.ndarray) or values.ndim not in (1, 2) or values.size == 0:
                found = getattr(values, "shape", type(values).__name__)
                raise UserError(f"mask {self.path}: must be an array [H, W] or [n], not {found}")
            if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
                raise UserError(f"mask {self.path}: must hold zeros and ones only")
            if not values.any():
                raise UserError(f"mask {self.path}: measures nothing, all its values are 0")
            plane = None if values.ndim == 1 else (values.shape[0], values.shape[1])
            self._read = plane, torch.from_numpy(self._lines(values.astype(np.float32)))
        return self._read

    def _lines(self, values: np.ndarray) -> np.ndarray:
        if values.ndim == 1:
            return values.reshape((-1, 1) if self.axis == 0 else (1, -1))
        if (values == values[:, :1]).all():
            return np.ascontiguousarray(values[:, :1])
        if (values == values[:1]).all():
            return np.ascontiguousarray(values[:1])
        return values

    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Give the file's mask for slices of its own shape; see ``Mask``."""
        plane, mask = self._load()
        fits = plane == tuple(shape) if plane is not None else mask.shape[self.axis] == shape[self.axis]
        if not fits:
            found = list(plane) if plane is not None else f"[{mask.numel()}] along axis {self.axis}"
            raise UserError(
                f"mask {self.path} is {found}, but the slices are {list(shape)}; "
                "give the dataset the mask's size, or another mask"
            )
        if self.centered is None or self.centered == centered:
            return mask
        return torch.fft.fftshift(mask) if centered else torch.fft.ifftshift(mask)

    def identity(self) -> dict[str, Any]:
        """A digest of what the file holds."""
        _, mask = self._load()
        digest = hashlib.sha256(repr(tuple(mask.shape)).encode() + mask.numpy().tobytes()).hexdigest()[:16]
        return {"kind": "MaskFile", "content": digest, "centered": self.centered}
