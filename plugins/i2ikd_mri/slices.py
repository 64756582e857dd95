"""Slices of one split: read once, checked, and cached within a memory limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from i2ikd import BoundedCache, SampleKey, UserError, Volume
from i2ikd_mri.volumes import PreparedVolume


@dataclass(frozen=True)
class Slice:
    """One slice of a file.

    Attributes:
        image: [H, W], float32 in real mode, complex64 in complex mode; ``None`` where the file has no fully sampled
            image (new data).
        kspace: [H, W] complex64, the undersampled k-space of the file, if requested and stored.
        undersampled: [H, W] float32 or complex64, the zero-filled image of the file, if requested and stored.
        where: file and slice, the prefix of messages.
        mask: [H, 1], [1, W] or [H, W] float32 zeros and ones, the undersampling mask of the file, if stored.
    """

    image: Tensor | None
    kspace: Tensor | None
    undersampled: Tensor | None
    where: str
    mask: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        field = self.image if self.image is not None else self.kspace
        assert field is not None, "a slice has an image or a k-space"
        return field.shape[0], field.shape[1]

    @property
    def size(self) -> int:
        """Size of all fields in bytes."""
        fields = (self.image, self.kspace, self.undersampled, self.mask)
        return sum(f.numel() * f.element_size() for f in fields if f is not None)


class Slices:
    """Sequence of the slices of one split; slices of one volume are neighbours.

    Args:
        volumes: the volumes of the split.
        mode: ``real`` takes the magnitude of complex images, ``complex`` converts images to complex64.
        stored: whether undersampled image and k-space of the files are read.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
        empty: whether the data is new: slices may be all zero, as they occur at the ends of a volume, and may lack the
            fully sampled image.

    Raises:
        UserError: a volume has k-space of several coils.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        mode: Literal["real", "complex"],
        stored: bool,
        memory: BoundedCache[Any],
        name: str,
        empty: bool = False,
    ) -> None:
        self._volumes = volumes
        self._mode = mode
        self._stored = stored
        self._memory = memory
        self._name = name
        self._empty = empty
        for volume in volumes:
            if isinstance(volume, PreparedVolume):
                volume.refuse_several_coils()
        self._places = [(v, s) for v, volume in enumerate(volumes) for s in range(len(volume))]
        self.keys = [SampleKey.of(volumes[v], _number(volumes[v], s)) for v, s in self._places]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Slice:
        """Return a slice.

        Args:
            index: index in the split.

        Raises:
            UserError: the slice is invalid; the message names the volume and the slice.
        """
        cached: Slice | None = self._memory.get((self._name, "slice", index))
        if cached is None:
            volume, number = self._places[index]
            cached = self._check(self._volumes[volume], number)
            self._memory.put((self._name, "slice", index), cached, cached.size)
        return cached

    def _check(self, volume: Volume, index: int) -> Slice:
        where = f"{getattr(volume, 'path', volume.name)}, slice {_number(volume, index)}"
        fields = volume[index]
        image = _field(fields, "image", where)
        kspace = _field(fields, "kspace", where) if self._stored or image is None else None
        undersampled = _field(fields, "undersampled", where) if kspace is not None else None
        if not self._empty:
            _refuse_empty({"image": image, "kspace": kspace}, where)
        if image is None and kspace is None:
            raise UserError(
                f"{where}: expected a fully sampled image or an undersampled k-space, "
                f"got {', '.join(sorted(fields)) or 'no field'}"
            )
        if image is None and not self._empty:
            raise UserError(
                f"{where}: expected a fully sampled image, which training and scores need, got undersampled k-space "
                "alone; leave the file out of the splits (options of folder: include, or splits = { test = [] } and "
                "hold_out), and reconstruct it with i2ikd infer"
            )
        for name, field in (("kspace", kspace), ("undersampled", undersampled)):
            if field is not None and image is not None and field.shape != image.shape:
                raise UserError(f"{where}: expected {name} of size {list(image.shape)}, got {list(field.shape)}")
        if image is not None:
            image = image.to(torch.complex64) if self._mode == "complex" else _magnitude(image)
        kspace = None if kspace is None else kspace.to(torch.complex64)
        found = Slice(image, kspace, undersampled, where)
        return replace(found, mask=_mask(fields, found.shape, where))


def _number(volume: Volume, index: int) -> int:
    """Return the number of a slice in its file, which differs from its index where slices are selected."""
    numbers: Sequence[int] | None = getattr(volume, "numbers", None)
    return index if numbers is None else numbers[index]


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


def _mask(fields: Mapping[str, np.ndarray], shape: tuple[int, int], where: str) -> Tensor | None:
    mask = _field(fields, "mask", where)
    if mask is None:
        return None
    if any(length not in (1, whole) for length, whole in zip(mask.shape, shape)):
        raise UserError(f"{where}: expected a mask of size {list(shape)} or of lines, got {list(mask.shape)}")
    if mask.is_complex() or not torch.isin(mask, torch.tensor([0.0, 1.0])).all() or not mask.any():
        raise UserError(f"{where}: expected a mask of zeros and ones, with a 1, got other values")
    return mask


def _refuse_empty(fields: Mapping[str, Tensor | None], where: str) -> None:
    for name, field in fields.items():
        if field is not None and not field.any():
            raise UserError(
                f"{where}: {name} is all zero, so that it holds no training signal and metrics divide by 0; "
                "exclude the slice (dataset options of folder: empty = 'skip', or slices.limit)"
            )
