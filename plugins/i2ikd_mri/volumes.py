"""Volumes as tasks see them: slices checked, scaled, resampled and chosen, read only when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from i2ikd import UserError
from i2ikd.source import Volume
from i2ikd_mri.readers.budget import DECODED_BYTES
from i2ikd_mri.resample import resample_slice

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Count = Annotated[int, Field(ge=1)]


class SliceChoice(BaseModel):
    """Which slices of a volume are used: every ``step``-th one, and of those the ``limit`` in the middle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Count = 1
    limit: Count | None = None

    def indices(self, length: int) -> Sequence[int]:
        """Return the positions that are used in a volume of ``length`` slices.

        >>> list(SliceChoice(step=2, limit=3).indices(12))
        [2, 4, 6]
        """
        every = range(0, length, self.step)
        if self.limit is None or self.limit >= len(every):
            return every
        first = (len(every) - self.limit) // 2
        return every[first : first + self.limit]


class PreparedVolume:
    """A volume whose slices are scaled by one factor, resampled to one size, and chosen.

    Args:
        volume: what is stored.
        name: its name in the dataset, unique there.
        size: (height, width) to resample to through k-space; ``None`` keeps the stored size. Resampling can leave
            0..1 by the ripple of a sharp edge.
        normalise: ``volume`` divides every field by the largest magnitude of ``image`` in the whole stored volume
            (of ``undersampled`` where new data has no image); ``none`` leaves the values.
        slices: which slices are used.
    """

    def __init__(
        self,
        volume: Volume,
        name: str,
        size: tuple[int, int] | None = None,
        normalise: Literal["volume", "none"] = "volume",
        slices: SliceChoice | None = None,
    ) -> None:
        self.stored = volume
        self.name = name
        self._size = size
        self._normalise = normalise
        self._slices = slices or SliceChoice()
        self._scale = 0.0
        self._ahead: dict[int, Mapping[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._slices.indices(len(self.stored)))

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the fields of a slice: ``image`` [H, W] float32 or complex64, and what else is stored.

        Raises:
            UserError: the file is wrong, the volume is all zero, or a stored k-space would have to be resampled.
        """
        scale = self.scale
        place = self._slices.indices(len(self.stored))[index]
        fields = self._taken(place) or self.stored[place]
        return {name: self._resampled(values, fields, name) / scale for name, values in fields.items()}

    @property
    def scale(self) -> np.float32:
        """What the values are divided by; computed on first use, from every stored slice.

        Raises:
            UserError: the volume is all zero.
        """
        if not self._scale:
            self._scale = 1.0
            if self._normalise == "volume":
                self._scale = self._largest()
            if not self._scale:
                raise UserError(f"volume {self.name!r} is all zero: remove it, or read it with normalise = 'none'")
        return np.float32(self._scale)

    def release(self) -> None:
        """Forget the slices that were read for the scale and not asked for yet."""
        self._ahead = {}

    def _largest(self) -> float:
        """Read every slice, and keep those that will be asked for, within the budget of the process."""
        wanted = set(self._slices.indices(len(self.stored)))
        largest, size = 0.0, 0
        for place in range(len(self.stored)):
            fields = self.stored[place]
            largest = max(largest, _largest(fields))
            if place in wanted:
                size += _bytes(fields)
                if size <= DECODED_BYTES.limit:
                    self._ahead[place] = fields
        self._account()
        return largest

    def _taken(self, place: int) -> Mapping[str, np.ndarray] | None:
        """Return a slice that was read for the scale, which is then kept by whoever asked for it."""
        fields = self._ahead.pop(place, None)
        if fields is not None:
            self._account()
        return fields

    def _account(self) -> None:
        DECODED_BYTES.use(self, sum(_bytes(fields) for fields in self._ahead.values()))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_ahead": {}}

    def _resampled(self, values: np.ndarray, fields: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if self._size is None or values.shape == self._size:
            return values
        if "kspace" in fields:
            raise UserError(
                f"volume {self.name!r} is {values.shape[0]}x{values.shape[1]} and its stored k-space cannot be "
                f"resampled to {self._size[0]}x{self._size[1]}: leave out size, or leave out the reader's "
                f"acceleration to simulate the k-space instead of reading it"
            )
        return resample_slice(values, self._size)


def _bytes(fields: Mapping[str, np.ndarray]) -> int:
    return sum(values.nbytes for values in fields.values())


def _largest(fields: Mapping[str, np.ndarray]) -> float:
    return float(np.abs(fields["image" if "image" in fields else "undersampled"]).max())


def checked_slice(values: np.ndarray, where: str) -> np.ndarray:
    """Return a slice [H, W] as contiguous float32, or complex64.

    Args:
        values: what was read.
        where: the file and the place in it, for a message.

    Raises:
        UserError: not two axes, empty, not numeric, or not finite.
    """
    check_numeric(values.dtype, where)
    if values.ndim != 2 or 0 in values.shape:
        raise UserError(f"{where}: a slice is a filled [H, W] array, this one has the shape {values.shape}")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, np.complex64 if values.dtype.kind == "c" else np.float32)
    if not np.isfinite(converted).all():
        raise UserError(f"{where}: it holds values that are not finite (NaN or infinity); repair or remove the file")
    return converted


def check_numeric(dtype: np.dtype, where: str) -> None:
    """Raise a ``UserError`` unless the type is boolean, integer, real or complex."""
    if dtype.kind not in "biufc":
        raise UserError(f"{where}: its values are of type {dtype}; images are numbers")


def position(index: int, length: int) -> int:
    """Return ``index`` counted from the front.

    Raises:
        IndexError: it is outside, which ends an iteration over a volume.
    """
    if not -length <= index < length:
        raise IndexError(f"slice {index} of {length}")
    return index % length
