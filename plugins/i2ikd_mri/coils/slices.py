"""Slices of multi-coil k-space: fields of a file, what was measured of them, and the size to reconstruct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2ikd import BoundedCache, UserError, Volume
from i2ikd_mri.masks import reduced_to_lines, support
from i2ikd_mri.nifti_output import stored_volume
from i2ikd_mri.slices import VolumeSlices, field_of, refuse_empty


@dataclass(frozen=True)
class CoilSlice:
    """One slice of multi-coil k-space.

    Attributes:
        kspace: complex64 [C, H, W], 0 where not measured.
        measured: float32 [H, 1], [1, W] or [H, W], 1 where the file has samples; lines of padding are 0.
        complete: whether the slice is fully sampled, apart from padding at its borders.
        mask: undersampling mask of the file, of a form as ``measured``; ``None``: it has none.
        maps: complex64 [C, H, W], coil maps of the file; ``None``: it has none.
        reconstruction_size: (height, width) of the image to reconstruct; ``None``: that of k-space.
        where: file and slice, the prefix of messages.
    """

    kspace: Tensor
    measured: Tensor
    complete: bool
    mask: Tensor | None
    maps: Tensor | None
    reconstruction_size: tuple[int, int] | None
    where: str

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of k-space."""
        return self.kspace.shape[-2], self.kspace.shape[-1]

    @property
    def tensors(self) -> list[Tensor]:
        """The fields that exist."""
        return [field for field in (self.kspace, self.measured, self.mask, self.maps) if field is not None]


class CoilSlices(VolumeSlices[CoilSlice]):
    """Slices of volumes with the field ``kspace`` [C, H, W], and ``mask`` and ``maps`` where they are stored.

    The stored volume may have the attribute ``reconstruction_size``, (height, width).

    Args:
        volumes: the volumes of the split.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
        empty: whether slices that are all zero are accepted, as they occur at the ends of a new volume.
    """

    def __init__(self, volumes: Sequence[Volume], memory: BoundedCache[Any], name: str, empty: bool = False) -> None:
        super().__init__(volumes, memory, name)
        self._empty = empty

    def read(self, volume: Volume, index: int, where: str) -> CoilSlice:
        """Read and check one slice; see ``VolumeSlices.read``."""
        fields = volume[index]
        if "kspace" not in fields or np.ndim(fields["kspace"]) == 2:
            raise UserError(
                f"{where}: expected multi-coil k-space [coils, H, W], got {', '.join(sorted(fields)) or 'no field'} of "
                "one coil; read k-space of several coils (i2ikd list readers), or set name = 'mri-recon' in [task]"
            )
        kspace = field_of(fields, "kspace", where, axes=3)
        assert kspace is not None, "the field is present"
        kspace = kspace.to(torch.complex64)
        coils, height, width = kspace.shape
        if coils > min(height, width):
            raise UserError(
                f"{where}: expected k-space [coils, H, W], got {coils} coils of {height} x {width}; check the order of "
                "the axes (reader option axes)"
            )
        if not self._empty:
            refuse_empty({"kspace": kspace}, where)
        measured = support(kspace.abs().amax(0)) if kspace.any() else torch.ones(height, width)
        size = getattr(stored_volume(volume), "reconstruction_size", None)
        return CoilSlice(
            kspace,
            reduced_to_lines(measured),
            without_gaps(measured),
            _mask(fields, (height, width), where),
            _maps(fields, kspace, where),
            None if size is None else (min(size[0], height), min(size[1], width)),
            where,
        )


def without_gaps(measured: Tensor) -> bool:
    """Return whether the measured samples of each row and of each column are adjacent.

    Padding at the borders, a partial Fourier acquisition and an elliptical k-space have no gaps; undersampling has.

    Args:
        measured: [H, 1], [1, W] or [H, W], 1 where measured.
    """
    for axis in (0, 1):
        steps = torch.diff(torch.nn.functional.pad(measured, (0, 0, 1, 1) if axis == 0 else (1, 1)), dim=axis)
        if bool(((steps > 0).sum(axis) > 1).any()):
            return False
    return True


def _mask(fields: Mapping[str, np.ndarray], shape: tuple[int, int], where: str) -> Tensor | None:
    mask = field_of(fields, "mask", where)
    if mask is None:
        return None
    if tuple(mask.shape) not in (shape, (shape[0], 1), (1, shape[1])) or not bool(((mask == 0) | (mask == 1)).all()):
        raise UserError(
            f"{where}: expected a mask of zeros and ones of the size of the k-space {list(shape)}, or its lines, got "
            f"{list(mask.shape)} with values in {float(mask.min()):g}..{float(mask.max()):g}"
        )
    return reduced_to_lines(mask)


def _maps(fields: Mapping[str, np.ndarray], kspace: Tensor, where: str) -> Tensor | None:
    maps = field_of(fields, "maps", where, axes=3)
    if maps is not None and maps.shape != kspace.shape:
        raise UserError(
            f"{where}: expected coil maps of the shape of the k-space {list(kspace.shape)}, got {list(maps.shape)}"
        )
    return None if maps is None else maps.to(torch.complex64)
