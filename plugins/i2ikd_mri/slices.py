"""The slices of one split: read once, checked, and kept in memory as far as the budget goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from i2ikd import SampleKey, UserError, Volume
from i2ikd_mri.slice_cache import SliceCache


@dataclass(frozen=True)
class Slice:
    """One slice as it was read.

    Attributes:
        image: [H, W], float32 in real mode, complex64 in complex mode; ``None`` where the file has no fully sampled
            image (new data).
        kspace: [H, W] complex64, the file's undersampled k-space, if it was asked for and is there.
        undersampled: [H, W] float32 or complex64, the file's zero-filled image, likewise.
        where: which slice of which volume, for messages.
    """

    image: Tensor | None
    kspace: Tensor | None
    undersampled: Tensor | None
    where: str

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        field = self.image if self.image is not None else self.kspace
        assert field is not None, "a slice has an image or a k-space"
        return field.shape[0], field.shape[1]

    @property
    def size(self) -> int:
        """Bytes."""
        fields = (self.image, self.kspace, self.undersampled)
        return sum(f.numel() * f.element_size() for f in fields if f is not None)


class Slices:
    """The slices of one split, in order, slices of one volume side by side.

    Args:
        volumes: where they come from.
        mode: ``real`` takes the magnitude of complex images, ``complex`` keeps them.
        stored: whether the file's undersampled pair is read.
        memory: the budget.
        name: what tells this split from others in ``memory``.
        empty: whether slices that are all zero are taken, as the ends of a new volume may be.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        mode: Literal["real", "complex"],
        stored: bool,
        memory: SliceCache,
        name: str,
        empty: bool = False,
    ) -> None:
        self._volumes = volumes
        self._mode = mode
        self._stored = stored
        self._memory = memory
        self._name = name
        self._empty = empty
        self._places = [(v, s) for v, volume in enumerate(volumes) for s in range(len(volume))]
        self.keys = [SampleKey.of(volumes[v], s) for v, s in self._places]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Slice:
        """Return a slice.

        Raises:
            UserError: it cannot be used; the message names the volume and the slice.
        """
        kept: Slice | None = self._memory.get((self._name, "slice", index))
        if kept is None:
            volume, number = self._places[index]
            kept = self._check(self._volumes[volume], number)
            self._memory.keep((self._name, "slice", index), kept, kept.size)
        return kept

    def _check(self, volume: Volume, number: int) -> Slice:
        where = f"{getattr(volume, 'path', volume.name)}, slice {number}"
        fields = volume[number]
        image = _field(fields, "image", where)
        kspace = _field(fields, "kspace", where) if self._stored or image is None else None
        undersampled = _field(fields, "undersampled", where) if kspace is not None else None
        if not self._empty:
            _refuse_empty({"image": image, "kspace": kspace}, where)
        if image is None and kspace is None:
            raise UserError(
                f"{where}: neither a fully sampled image nor an undersampled k-space; "
                f"there is {', '.join(sorted(fields)) or 'nothing'}"
            )
        for name, field in (("kspace", kspace), ("undersampled", undersampled)):
            if field is not None and image is not None and field.shape != image.shape:
                raise UserError(f"{where}: {name} is {list(field.shape)}, the image is {list(image.shape)}")
        if image is not None:
            image = image.to(torch.complex64) if self._mode == "complex" else _magnitude(image)
        return Slice(image, None if kspace is None else kspace.to(torch.complex64), undersampled, where)


def _magnitude(image: Tensor) -> Tensor:
    return image.abs() if image.is_complex() else image


def _field(fields: Mapping[str, np.ndarray], name: str, where: str) -> Tensor | None:
    if name not in fields:
        return None
    values = np.asarray(fields[name])
    if values.dtype.kind not in "biufc":
        raise UserError(f"{where}: {name} holds {values.dtype}, not numbers")
    if values.ndim != 2 or 0 in values.shape:
        raise UserError(f"{where}: {name} is {list(values.shape)}, but a slice must be [H, W]")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values.astype(np.complex64 if values.dtype.kind == "c" else np.float32))
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise UserError(f"{where}: {name} has {bad} NaN or infinite of {values.size} values")
    return torch.from_numpy(values)


def _refuse_empty(fields: Mapping[str, Tensor | None], where: str) -> None:
    for name, field in fields.items():
        if field is not None and not field.any():
            raise UserError(
                f"{where}: {name} is all zero: there is nothing to learn from it, and a score divides by 0; "
                "leave the slice out (a folder's option slices.limit keeps those in the middle)"
            )
