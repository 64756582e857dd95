"""Slices of one split: read once, checked, and cached within a memory limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from i2ikd import BoundedCache, SampleKey, UserError, Volume
from i2ikd.reading_progress import reading
from i2ikd_mri.nifti_output import stored_volume
from i2ikd_mri.volumes import PreparedVolume, all_finite


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
    def complete(self) -> bool:
        """Whether the slice is fully sampled."""
        return self.image is not None

    @property
    def tensors(self) -> list[Tensor]:
        """The fields that exist."""
        return [field for field in (self.image, self.kspace, self.undersampled, self.mask) if field is not None]


class StoredSlice(Protocol):
    """Slice of a file, of any kind."""

    @property
    def where(self) -> str:
        """File and slice, the prefix of messages."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the slice is fully sampled."""
        ...

    @property
    def tensors(self) -> list[Tensor]:
        """The fields that exist."""
        ...


OneSlice = TypeVar("OneSlice", bound=StoredSlice)


class VolumeSlices(ABC, Generic[OneSlice]):
    """Sequence of the slices of one split, read once within a memory limit; slices of one volume are neighbours.

    Args:
        volumes: the volumes of the split.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
    """

    def __init__(self, volumes: Sequence[Volume], memory: BoundedCache[Any], name: str) -> None:
        self._volumes = volumes
        self._memory = memory
        self._name = name
        lengths = [
            len(volume) for volume in reading(volumes, "volume")
        ]  # of a volume that is read for its empty slices
        self._places = [(v, s) for v, length in enumerate(lengths) for s in range(length)]
        self.keys = [SampleKey.of(volumes[v], _number(volumes[v], s)) for v, s in self._places]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def resampled_from(self) -> Sequence[tuple[int, int]]:
        """Stored sizes (height, width) of slices that are resampled, each once."""
        found = (size for volume in self._volumes for size in getattr(volume, "resampled_from", ()))
        return list(dict.fromkeys(found))

    @property
    def shapes(self) -> Sequence[str] | None:
        """Description of the shape of every slice, from which that of its tensors follows; ``None``: all are equal.

        Raises:
            UserError: a volume is unreadable, or has no positive value.
        """
        sizes = [list(getattr(volume, "size_after", ())) for volume in reading(self._volumes, "volume")]
        if not all(sizes):
            return None
        described = [_described(of_volume[0], volume) for of_volume, volume in zip(sizes, self._volumes)]
        return [
            described[number] if len(sizes[number]) == 1 else _described(self[index].shape, self._volumes[number])
            for index, (number, _) in enumerate(self._places)
        ]

    @abstractmethod
    def read(self, volume: Volume, index: int, where: str) -> OneSlice:
        """Read and check one slice.

        Args:
            volume: the volume.
            index: index of the slice in the volume.
            where: file and slice, the prefix of messages.

        Raises:
            UserError: the slice is invalid.
        """

    def __getitem__(self, index: int) -> OneSlice:
        """Return a slice.

        Args:
            index: index in the split.

        Raises:
            UserError: the slice is invalid; the message names the volume and the slice.
        """
        cached: OneSlice | None = self._memory.get((self._name, "slice", index))
        if cached is None:
            number, within = self._places[index]
            volume = self._volumes[number]
            where = f"{getattr(volume, 'path', volume.name)}, slice {_number(volume, within)}"
            cached = self.read(volume, within, where)
            size = sum(tensor.numel() * tensor.element_size() for tensor in cached.tensors)
            self._memory.put((self._name, "slice", index), cached, size)
        return cached


def _described(size: tuple[int, int], volume: Volume) -> str:
    """Return size, number of coils and size to reconstruct of a slice."""
    stored = stored_volume(volume)
    coils, cropped = getattr(stored, "coils", 1), getattr(stored, "reconstruction_size", None)
    return (
        f"{size[0]} x {size[1]}"
        + f", {coils} coils" * (coils > 1)
        + ("" if cropped is None else f", to reconstruct {cropped[0]} x {cropped[1]}")
    )


class Slices(VolumeSlices[Slice]):
    """Slices with one image each, single-coil.

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
        for volume in volumes:
            if isinstance(volume, PreparedVolume):
                volume.refuse_several_coils()
        super().__init__(volumes, memory, name)
        self._mode = mode
        self._stored = stored
        self._empty = empty

    def read(self, volume: Volume, index: int, where: str) -> Slice:
        """Read and check one slice; see ``VolumeSlices.read``."""
        fields = volume[index]
        image = field_of(fields, "image", where)
        kspace = field_of(fields, "kspace", where) if self._stored or image is None else None
        undersampled = field_of(fields, "undersampled", where) if kspace is not None else None
        if not self._empty:
            refuse_empty({"image": image, "kspace": kspace}, where)
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
        found = Slice(image, None if kspace is None else kspace.to(torch.complex64), undersampled, where)
        return replace(found, mask=_mask(fields, found))


def _number(volume: Volume, index: int) -> int:
    """Return the number of a slice in its file, which differs from its index where slices are selected."""
    numbers: Sequence[int] | None = getattr(volume, "numbers", None)
    return index if numbers is None else numbers[index]


def _magnitude(image: Tensor) -> Tensor:
    return image.abs() if image.is_complex() else image


def field_of(fields: Mapping[str, np.ndarray], name: str, where: str, axes: int = 2) -> Tensor | None:
    """Check a field of a slice and convert its type.

    Args:
        fields: fields of the slice.
        name: name of the field.
        where: file and slice, the prefix of messages.
        axes: number of axes: 2 ([H, W]) or 3 ([coils, H, W]).

    Returns:
        complex64 for complex values and float32 otherwise; ``None``: there is no such field.

    Raises:
        UserError: the field has another number of axes, or is empty, not numeric or not finite.
    """
    if name not in fields:
        return None
    values = np.asarray(fields[name])
    if values.dtype.kind not in "biufc":
        raise UserError(f"{where}: {name} holds {values.dtype}, not numbers")
    if values.ndim != axes or 0 in values.shape:
        expected = "[H, W]" if axes == 2 else "[coils, H, W]"
        raise UserError(f"{where}: {name} is {list(values.shape)}, but a slice must be {expected}")
    with np.errstate(over="ignore"):
        values = values.astype(np.complex64 if values.dtype.kind == "c" else np.float32, order="C")
    if not all_finite(values):
        bad = int((~np.isfinite(values)).sum())
        raise UserError(f"{where}: {name} has {bad} NaN or infinite of {values.size} values")
    return torch.from_numpy(values)


def _mask(fields: Mapping[str, np.ndarray], found: Slice) -> Tensor | None:
    """Return the mask of the file, if it has one; a stored k-space must be 0 where the mask is 0."""
    mask = field_of(fields, "mask", found.where)
    if mask is None:
        return None
    if any(length not in (1, whole) for length, whole in zip(mask.shape, found.shape)):
        raise UserError(
            f"{found.where}: expected a mask of size {list(found.shape)} or of lines, got {list(mask.shape)}"
        )
    if mask.is_complex() or not torch.isin(mask, torch.tensor([0.0, 1.0])).all() or not mask.any():
        raise UserError(
            f"{found.where}: expected a mask of 0 and 1, with a 1, got other values; remove the reader option mask"
        )
    outside = 0 if found.kspace is None else int(((found.kspace != 0) & (mask == 0)).sum())
    if outside:
        raise UserError(
            f"{found.where}: expected a k-space that is 0 where its mask is 0, got {outside} other samples there; "
            "multiply it by the mask, or remove the mask from the file or the reader's options"
        )
    return mask


def refuse_empty(fields: Mapping[str, Tensor | None], where: str) -> None:
    """Check that no field is all zero.

    Args:
        fields: fields of a slice by name; absent ones are ``None``.
        where: file and slice, the prefix of the message.

    Raises:
        UserError: a field is all zero.
    """
    for name, field in fields.items():
        if field is not None and not field.any():
            raise UserError(
                f"{where}: {name} is all zero, so that it holds no training signal and metrics divide by 0; "
                "exclude the slice (dataset options of folder: empty = 'skip', or slices.limit)"
            )
