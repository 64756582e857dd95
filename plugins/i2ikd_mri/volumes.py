"""Volumes prepared for tasks: slices are selected, checked, scaled and resampled, and read on access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt

from i2ikd import UserError
from i2ikd.source import Volume
from i2ikd.split_names import SPLITS as SPLITS
from i2ikd.split_names import Split as Split
from i2ikd_mri.conventions import refuse_implausible_axes, refuse_kspace
from i2ikd_mri.intensities import Intensities
from i2ikd_mri.readers.process_caches import DECODED
from i2ikd_mri.resample import resample_slice

UNSCALED = ("mask", "maps")
"""Fields without the unit of the image: they are neither scaled nor resampled."""


class SliceChoice(BaseModel):
    """Selection of slices of a volume: every ``step``-th one, and of those the ``limit`` in the middle.

    Attributes:
        step: distance between two selected slices, at least 1.
        limit: greatest number of selected slices; ``None``: no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: PositiveInt = 1
    limit: PositiveInt | None = None

    def indices(self, length: int) -> Sequence[int]:
        """Return the indices of the selected slices.

        Args:
            length: number of slices of the volume.

        >>> list(SliceChoice(step=2, limit=3).indices(12))
        [2, 4, 6]
        """
        every = range(0, length, self.step)
        if self.limit is None or self.limit >= len(every):
            return every
        first = (len(every) - self.limit) // 2
        return every[first : first + self.limit]


class KnownIntensities(Protocol):
    """Store of the properties of one volume."""

    def load(self) -> Intensities | None:
        """Return the properties, if they are known for the present content of the volume."""
        ...

    def keep(self, intensities: Intensities) -> None:
        """Store the properties.

        Args:
            intensities: of the present content.
        """
        ...


class PreparedVolume:
    """Volume whose selected slices are scaled by one factor and resampled to one size.

    Args:
        volume: the stored volume.
        name: its name, unique in the dataset.
        size: (height, width) in pixels to resample to through k-space; ``None``: the stored size. Resampled values can
            leave 0..1 by the ripple of a sharp edge.
        normalise: ``volume`` divides every field by the largest magnitude of ``image`` in the whole stored volume
            (without a fully sampled image of ``undersampled``, or of the zero-filled image of ``kspace``, or, with
            several coils, of the low-resolution image of its centre); ``none`` keeps the stored values. In both cases
            the intensities of the selected slices are checked (``Intensities``) before the first slice is returned.
        slices: selection of slices; ``None``: all of them.
        subject: subject of the volume; ``None``: its name.
        skip_empty: whether selected slices that are all zero are left out; the volume is read for its length then.
        known: loads and keeps the result of reading the whole volume, to read it once only.
        check_conventions: whether a volume is refused whose axes look swapped, or whose images look like k-space.
        reader: name and options of the reader, for messages.
    """

    def __init__(
        self,
        volume: Volume,
        name: str,
        size: tuple[int, int] | None = None,
        normalise: Literal["volume", "none"] = "volume",
        slices: SliceChoice | None = None,
        subject: str | None = None,
        skip_empty: bool = False,
        known: KnownIntensities | None = None,
        check_conventions: bool = False,
        reader: Mapping[str, object] | None = None,
    ) -> None:
        self.stored = volume
        self.name = name
        self.subject = name if subject is None else subject
        self._size = size
        self._normalise = normalise
        self._slices = slices or SliceChoice()
        self._skip_empty = skip_empty
        self._known = known
        self._check_conventions = check_conventions
        self._reader = reader
        self._intensities: Intensities | None = None
        self._numbers: Sequence[int] | None = None
        self._scale = 0.0
        self._ahead_bytes = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def refuse_several_coils(self) -> None:
        """Check that slices are images, or k-space of one coil.

        Raises:
            UserError: the file has k-space of several coils.
        """
        coils = int(getattr(self.stored, "coils", 1))
        if coils > 1:
            remedies = filter(None, ("set name = 'mri-multicoil' in [task]", getattr(self.stored, "one_coil", "")))
            raise UserError(
                f"volume {self.name!r}: expected images, or k-space of one coil, got {coils} coils; "
                f"{', or '.join(remedies)}"
            )

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of the slices in the stored volume, from 0.

        Raises:
            UserError: empty slices are left out, and the volume is unreadable, or has no positive value.
        """
        if self._numbers is None:
            self._numbers = self._slices.indices(len(self.stored))
            if self._skip_empty:
                empty = set(self.intensities.empty)
                self._numbers = [number for number in self._numbers if number not in empty]
        return self._numbers

    @property
    def left_out(self) -> int:
        """Number of selected slices that are left out because they are all zero."""
        return len(self._slices.indices(len(self.stored))) - len(self)

    @property
    def intensities(self) -> Intensities:
        """Properties that need every slice; read on first use.

        Raises:
            UserError: the volume is unreadable or all zero, or no value is positive.
        """
        if self._intensities is None:
            found = self._known.load() if self._known is not None else None
            read = found is None
            found = self._read_all() if found is None else found
            found.check(self.name)
            if self._check_conventions:
                self._refuse_other_conventions(found)
            if read and self._known is not None:
                self._known.keep(found)
            self._intensities = found
        return self._intensities

    def _refuse_other_conventions(self, found: Intensities) -> None:
        refuse_implausible_axes(self.stored, found.sizes, f"volume {self.name!r}", self._reader)
        if 2 * found.resembling > found.images:
            refuse_kspace(f"volume {self.name!r}")

    @property
    def size_after(self) -> Sequence[tuple[int, int]]:
        """Sizes (height, width) of the slices as they are returned, each once.

        Raises:
            UserError: see ``intensities``.
        """
        return self.intensities.sizes if self._size is None else [self._size]

    @property
    def resampled_from(self) -> Sequence[tuple[int, int]]:
        """Stored sizes (height, width) of slices that are resampled, each once.

        Raises:
            UserError: see ``intensities``.
        """
        return [] if self._size is None else [size for size in self.intensities.sizes if size != self._size]

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the fields of a slice by name.

        Args:
            index: index among the selected slices.

        Returns:
            ``image`` [H, W] float32 or complex64, and further stored fields: ``undersampled`` and ``kspace``, scaled,
            ``mask`` and ``maps`` as stored.

        Raises:
            UserError: the file is unreadable, no value is positive, or a stored k-space would have to be resampled.
        """
        scale = self.scale
        place = self.numbers[index]
        fields = self._taken(place) or self.stored[place]
        return {
            name: values if name in UNSCALED else self._resampled(values, fields, name) / scale
            for name, values in fields.items()
        }

    @property
    def scale(self) -> np.float32:
        """Divisor of the values, computed on first use from every stored slice, with a check of the intensities.

        Raises:
            UserError: the volume is all zero, or no value is positive.
        """
        if not self._scale:
            intensities = self.intensities
            self._scale = self._divisor(intensities) if self._normalise == "volume" else 1.0
        return np.float32(self._scale)

    def _divisor(self, intensities: Intensities) -> float:
        """Return the largest magnitude, or raise ``UserError`` for a volume without any image."""
        if intensities.largest is None:
            raise UserError(
                f"volume {self.name!r}: normalise = 'volume' needs an image or a k-space, and the volume has neither; "
                "set normalise = 'none'"
            )
        return intensities.largest

    def _read_all(self) -> Intensities:
        """Read the slices that the scale and the check need, and cache the selected ones."""
        selected = self._slices.indices(len(self.stored))
        ahead: dict[int, Mapping[str, np.ndarray]] = {}
        intensities, size = Intensities(), 0
        for place in range(len(self.stored)) if self._normalise == "volume" else selected:
            fields, used = self.stored[place], place in selected
            intensities.add(fields, used, place)
            if used:
                size += _bytes(fields)
                if size <= DECODED.limit:
                    ahead[place] = fields
        self._ahead_bytes = sum(_bytes(fields) for fields in ahead.values())
        DECODED.put(id(self), ahead, self._ahead_bytes, owner=self)
        return intensities

    def _taken(self, place: int) -> Mapping[str, np.ndarray] | None:
        """Remove a slice that was read for the scale from the cache and return it."""
        ahead: dict[int, Mapping[str, np.ndarray]] = DECODED.get(id(self)) or {}
        fields = ahead.pop(place, None)
        if fields is not None:
            self._ahead_bytes -= _bytes(fields)
            DECODED.put(id(self), ahead, self._ahead_bytes, owner=self)
        return fields

    def _resampled(self, values: np.ndarray, fields: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if self._size is None or values.shape[-2:] == self._size:
            return values
        if "kspace" in fields:
            raise UserError(
                f"volume {self.name!r} is {values.shape[-2]}x{values.shape[-1]} and its stored k-space cannot be "
                f"resampled to {self._size[0]}x{self._size[1]}; remove size, or remove the reader option acceleration "
                f"so that the k-space is simulated"
            )
        return resample_slice(values, self._size)


def _bytes(fields: Mapping[str, np.ndarray]) -> int:
    return sum(values.nbytes for values in fields.values())


def checked_slice(values: np.ndarray, where: str, coils: bool = False) -> np.ndarray:
    """Check a slice and convert its type.

    Args:
        values: [H, W], or [coils, H, W], boolean, integer, real or complex.
        where: file and slice, the prefix of messages.
        coils: whether the slice has a coil axis.

    Returns:
        [H, W], or [coils, H, W], contiguous, complex64 for complex values and float32 otherwise.

    Raises:
        UserError: the array has another number of axes, or is empty, not numeric or not finite.
    """
    check_numeric(values.dtype, where)
    if values.ndim != 2 + coils or 0 in values.shape:
        expected = "[coils, H, W]" if coils else "[H, W]"
        raise UserError(f"{where}: expected a filled slice {expected}, got the shape {values.shape}")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, np.complex64 if values.dtype.kind == "c" else np.float32)
    if values.dtype.kind in "fc" and not all_finite(converted):
        raise UserError(f"{where}: it holds values that are not finite (NaN or infinity); repair or remove the file")
    return converted


def all_finite(values: np.ndarray) -> bool:
    """Return whether every value is finite; a finite sum proves it without an array of flags.

    Args:
        values: real or complex.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def check_numeric(dtype: np.dtype, where: str) -> None:
    """Check that a type is boolean, integer, real or complex.

    Args:
        dtype: the type.
        where: file and slice, the prefix of the message.

    Raises:
        UserError: the type is none of these.
    """
    if dtype.kind not in "biufc":
        raise UserError(f"{where}: its values are of type {dtype}; images are numbers")


def position(index: int, length: int) -> int:
    """Convert an index that may be negative to 0..length - 1.

    Args:
        index: -length..length - 1.
        length: number of slices.

    Raises:
        IndexError: the index is out of range, which ends an iteration over a volume.
    """
    if not -length <= index < length:
        raise IndexError(f"slice {index} of {length}")
    return index % length
