"""Undersampling masks: which k-space samples are measured. A mask is a property of a sample, never of a network."""

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
from i2ikd_mri.conventions import is_centred_at_other_position
from i2ikd_mri.readers.opening import read_header

PlaneShape = tuple[int, int]
"""(H, W) of a slice."""


def measured_acceleration(mask: Tensor) -> float:
    """Compute the acceleration of a mask: number of k-space samples divided by the number of measured ones.

    Args:
        mask: zeros and ones of any shape, with at least one 1.

    Returns:
        The acceleration, at least 1.

    >>> measured_acceleration(torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    4.0
    """
    return mask.numel() / float(mask.sum())


def support(kspace: Tensor) -> Tensor:
    """Derive the mask of a stored k-space from its samples other than 0.

    Args:
        kspace: [H, W], real or complex.

    Returns:
        float32 mask: [H, 1] or [1, W] if whole rows or columns are 0 and more than 90 % of the samples of the others
        are not (a measured sample may be 0 by chance), otherwise [H, W].
    """
    measured = (kspace != 0).float()
    for lines in (measured.amax(1, keepdim=True), measured.amax(0, keepdim=True)):
        if not lines.all() and measured.sum() > 0.9 * lines.expand_as(measured).sum():
            return lines
    return measured


def reduced_to_lines(mask: Tensor) -> Tensor:
    """Return a mask of whole lines as such.

    Args:
        mask: [H, 1], [1, W] or [H, W].

    Returns:
        [H, 1] or [1, W] where [H, W] is constant along an axis, otherwise the mask itself.
    """
    if 1 in mask.shape:
        return mask
    if bool((mask == mask[:, :1]).all()):
        return mask[:, :1].contiguous()
    if bool((mask == mask[:1]).all()):
        return mask[:1].contiguous()
    return mask


class Mask(ABC):
    """Undersampling mask: a callable from the shape of a slice to an array that is 1 where k-space is measured."""

    fixed: bool = True
    """Whether all slices of one shape have the same mask."""

    @abstractmethod
    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Generate the mask of a slice.

        Args:
            shape: (H, W) of the slice.
            draw: seeds of the random lines (sample index, augmentation seed); ignored by a fixed mask.
            centered: position of zero frequency along each axis of length n: index 0 (``False``) or n // 2 (``True``).

        Returns:
            float32 zeros and ones: [H, 1] or [1, W] where whole lines are measured, so that the shape states that
            the mask is one-dimensional, otherwise [H, W].

        Raises:
            UserError: the mask cannot be generated for this shape.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the options that the mask depends on, JSON-serialisable and without paths."""


def lines(line: np.ndarray, axis: Literal[0, 1], centered: bool) -> Tensor:
    """Return the mask of whole lines.

    Args:
        line: float32 [n], 1 for a measured line, zero frequency at n // 2.
        axis: phase-encode axis, along which the lines are chosen.
        centered: requested position of zero frequency: index 0 (``False``) or n // 2 (``True``).

    Returns:
        [n, 1] for axis 0, [1, n] for axis 1.
    """
    moved = line if centered else np.fft.ifftshift(line)
    return torch.from_numpy(np.ascontiguousarray(moved)).reshape((-1, 1) if axis == 0 else (1, -1))


class _Lines(Mask):
    """round(n / acceleration) Cartesian lines along the phase-encode axis, with a fully sampled centre."""

    def __init__(
        self,
        acceleration: float,
        axis: Literal[0, 1],
        centre_lines: int | None,
        seed: int,
        fixed: bool,
    ) -> None:
        if not 1 <= acceleration < float("inf"):
            raise UserError(f"mask: expected acceleration >= 1, got {acceleration}")
        if axis not in (0, 1):
            raise UserError(f"mask: expected axis 0 (lines chosen along H) or 1 (along W), got {axis}")
        if centre_lines is not None and centre_lines < 0:
            raise UserError(f"mask: expected centre_lines >= 0, got {centre_lines}")
        if seed < 0:
            raise UserError(f"mask: expected seed >= 0, got {seed}")
        self.acceleration = acceleration
        self.axis = axis
        self.centre_lines = centre_lines
        self.seed = seed
        self.fixed = fixed

    @abstractmethod
    def _outside(self, frequencies: np.ndarray, length: int, count: int, random: np.random.Generator) -> np.ndarray:
        """Choose ``count`` of the frequencies outside the centre."""

    def _counts(self, length: int) -> tuple[int, int]:
        """Return the number of measured lines and how many of them are in the centre."""
        count = max(1, round(length / self.acceleration))
        centre = self.centre_lines
        if centre is None:
            centre = min(count, max(1, round(0.32 * length / self.acceleration)))
        if centre > count:
            raise UserError(
                f"mask: expected centre_lines <= {count}, the lines that acceleration = {self.acceleration} leaves of "
                f"{length}, got {centre}; lower centre_lines or acceleration"
            )
        return count, centre

    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Generate the mask; see ``Mask``."""
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
        return lines(line, self.axis, centered)

    def identity(self) -> dict[str, Any]:
        """Return the class and its options."""
        return {"kind": type(self).__name__, **vars(self)}


class VariableDensity(_Lines):
    """Lines drawn without replacement with the density (1 - |k| / k_max)^power, and a fully sampled centre.

    The density is the polynomial one of Lustig et al., Sparse MRI, Magn. Reson. Med. 58 (2007). Exactly
    round(n / acceleration) lines are measured, the centre included.

    Args:
        acceleration: nominal acceleration, at least 1.
        axis: phase-encode axis, along which lines are chosen: 0 (mask [H, 1]) or 1 (mask [1, W]).
        centre_lines: number of fully sampled lines around zero frequency, at least 0; ``None``: a third of all measured
            lines.
        power: exponent of the density, 0..100; 0 is uniform.
        seed: seed of the random lines, at least 0.
        fixed: ``True``: one mask for all samples; ``False``: a mask for each sample and augmentation seed.

    Raises:
        UserError: an option is out of its range, or the centre has more lines than are measured.
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
            raise UserError(f"mask: expected power in 0..100, got {power}")
        self.power = power

    def _outside(self, frequencies: np.ndarray, length: int, count: int, random: np.random.Generator) -> np.ndarray:
        radius = np.abs(frequencies) / (length / 2)
        # The outermost line has density 0 and may still be needed when nearly all lines are measured.
        density = np.maximum(1 - radius, 1e-3) ** self.power
        return random.choice(frequencies, size=count, replace=False, p=density / density.sum())


class Equispaced(_Lines):
    """Lines at equal distances outside a fully sampled centre.

    Exactly round(n / acceleration) lines are measured, the centre included: the distance between lines follows from
    that number, so that the centre does not lower the acceleration.

    Args:
        acceleration: nominal acceleration, at least 1.
        axis: phase-encode axis: 0 (mask [H, 1]) or 1 (mask [1, W]).
        centre_lines: number of fully sampled lines around zero frequency, at least 0; ``None``: a third of all measured
            lines.
        offset: number of lines by which the pattern is shifted cyclically.
        seed: seed of the random offsets, at least 0; without effect on fixed masks.
        fixed: ``True``: one mask for all samples; ``False``: an offset drawn for each sample and augmentation seed.

    Raises:
        UserError: an option is out of its range, or the centre has more lines than are measured.
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
    """Mask of zeros and ones from a NumPy file, which is read on first use.

    Args:
        path: a .npy file, [H, W], or [n] with one number per line. A plane that is constant along one axis is reduced
            to lines.
        axis: phase-encode axis of a file [n]: 0 (mask [H, 1]) or 1 (mask [1, W]).
        centered: position of zero frequency in the file; ``None``: as in the task, with an error for a mask whose fully
            sampled centre is at the other position.

    Raises:
        UserError: on first use, for a file that is missing, not a .npy file, empty, of other values than zeros and
            ones, or of another shape than the slices.
    """

    def __init__(self, path: Path, axis: Literal[0, 1] = 0, centered: bool | None = None) -> None:
        self.path = Path(path)
        self.axis = axis
        self.centered = centered
        self._read: tuple[PlaneShape | None, Tensor] | None = None

    def _load(self) -> tuple[PlaneShape | None, Tensor]:
        """Return the shape of the file's plane (``None`` for lines) and the mask."""
        if self._read is None:
            values = read_header(self.path, self._stored, "the mask cannot be read as a .npy file")
            if not isinstance(values, np.ndarray) or values.ndim not in (1, 2) or values.size == 0:
                shape = getattr(values, "shape", type(values).__name__)
                raise UserError(f"mask {self.path}: expected an array [H, W] or [n], got {shape}")
            if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
                raise UserError(f"mask {self.path}: expected zeros and ones, got other values")
            if not values.any():
                raise UserError(f"mask {self.path}: expected at least one measured sample, got zeros only")
            plane = None if values.ndim == 1 else (values.shape[0], values.shape[1])
            self._read = plane, self._lines(values.astype(np.float32))
        return self._read

    def _stored(self) -> np.ndarray:
        return np.array(np.lib.format.open_memmap(self.path, mode="r"))

    def _lines(self, values: np.ndarray) -> Tensor:
        """Reduce values [n], or [H, W] constant along one axis, to lines [H, 1] or [1, W]."""
        if values.ndim == 1:
            return torch.from_numpy(values.reshape((-1, 1) if self.axis == 0 else (1, -1)))
        return reduced_to_lines(torch.from_numpy(values))

    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Return the mask of the file; see ``Mask``.

        Args:
            shape: (H, W) of the slice, which the file must match.
            draw: ignored, since the mask is fixed.
            centered: requested position of zero frequency; see ``Mask``.

        Raises:
            UserError: the file is invalid, or has another shape.
        """
        plane, mask = self._load()
        fits = plane == tuple(shape) if plane is not None else mask.shape[self.axis] == shape[self.axis]
        if not fits:
            size = list(plane) if plane is not None else f"[{mask.numel()}] along axis {self.axis}"
            raise UserError(
                f"mask {self.path}: expected the size of the slices {list(shape)}, got {size}; "
                "set the dataset's size to that of the mask, or use another mask"
            )
        if self.centered is None and is_centred_at_other_position(mask.numpy(), centered):
            stated, position = ("n // 2", "index 0") if centered else ("index 0", "n // 2")
            raise UserError(
                f"mask {self.path}: expected zero frequency at {stated}, as in the task, got a fully sampled centre at "
                f"{position}; set centered = {str(not centered).lower()} in [task.mask], or {str(centered).lower()} to "
                "use the mask as it is"
            )
        if self.centered is None or self.centered == centered:
            return mask
        return torch.fft.fftshift(mask) if centered else torch.fft.ifftshift(mask)

    def identity(self) -> dict[str, Any]:
        """Return a digest of the mask values."""
        _, mask = self._load()
        digest = hashlib.sha256(repr(tuple(mask.shape)).encode() + mask.numpy().tobytes()).hexdigest()[:16]
        return {"kind": "MaskFile", "content": digest, "centered": self.centered}
