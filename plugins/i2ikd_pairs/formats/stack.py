"""Content of a file: slices with channels, and what is needed to write a result of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd import UserError

AXES = ("slices", "channels", "height", "width")
"""Names of the axes of an array, in the order of ``Stack.values``."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Content of one file.

    Attributes:
        values: [slices, channels, height, width], of the type of the file.
        axes: names of the axes in the order of the file.
        extra: further properties of the format, for writing (affine and header of NIfTI).
    """

    values: np.ndarray
    axes: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def in_file_order(self, values: np.ndarray) -> np.ndarray:
        """Return values [slices, channels, height, width] with the axes of the file.

        Axes that the file lacks are removed; an axis of channels or slices with several entries is kept at the end.

        Args:
            values: the values.
        """
        kept = [name for name, length in zip(AXES, values.shape) if length > 1 or name in self.axes]
        dropped = tuple(place for place, name in enumerate(AXES) if name not in kept)
        order = [name for name in self.axes if name in kept] + [name for name in kept if name not in self.axes]
        return values.squeeze(dropped).transpose([kept.index(name) for name in order])


def stacked(array: np.ndarray, axes: Sequence[str], path: Path, extra: dict[str, Any] | None = None) -> Stack:
    """Return an array as a stack.

    Args:
        array: of the file.
        axes: names of its axes, among ``AXES``, each once, height and width among them.
        path: the file, the prefix of messages.
        extra: see ``Stack``.

    Raises:
        UserError: another number of axes, an empty array, or values that are no finite real numbers.
    """
    if array.ndim != len(axes):
        raise UserError(
            f"{path}: expected {len(axes)} axes ({' '.join(axes)}), got an array of the shape {list(array.shape)}; set "
            "axes to the names of its axes, of slices, channels, height and width"
        )
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path}: expected real numbers, got values of type {array.dtype}")
    if 0 in array.shape:
        raise UserError(f"{path}: expected an image, got an empty array of the shape {list(array.shape)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{path}: it holds values that are not finite (NaN or infinity); repair or remove the file")
    present = [name for name in AXES if name in axes]
    values = array.transpose([list(axes).index(name) for name in present])
    for place, name in enumerate(AXES):
        if name not in axes:
            values = np.expand_dims(values, place)
    return Stack(values, tuple(axes), extra or {})


def array_axes(
    ndim: int, stated: Sequence[str] | None, path: Path, flat: Sequence[str] = ("height", "width")
) -> list[str]:
    """Return the names of the axes of an array whose format does not state them.

    Args:
        ndim: number of axes.
        stated: by the option ``axes``; ``None``: not stated.
        path: the file, the prefix of the message.
        flat: axes of an array that needs no statement.

    Raises:
        UserError: the order is not stated, and the array has more axes than ``flat``.
    """
    if ndim == 2:
        return ["height", "width"]
    if stated is not None:
        return list(stated)
    if ndim == len(flat):
        return list(flat)
    raise UserError(
        f"{path}: expected the order of its {ndim} axes, got no option axes; name them in order, such as "
        f"axes = {'height width channels' if ndim == 3 else ' '.join(AXES)!r}"
    )
