"""Order of the axes of stored arrays, stated by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from i2ikd import UserError

NAMES = ("slices", "coils", "height", "width")
"""Names of axes, in the order in which readers return them."""

EXAMPLE = "slices height width"

Side = Literal["height", "width"]


@runtime_checkable
class Reorderable(Protocol):
    """Volume whose reader has an option for the order of the axes."""

    def slices_along(self, side: Side) -> dict[str, object]:
        """Return the option that makes slices of what is one side of the slices now.

        Args:
            side: ``height`` or ``width``.
        """
        ...


def other_axis(axis: int, side: Side) -> dict[str, object]:
    """Return the option ``axis`` of an array of three axes that makes slices of one side of its slices.

    Args:
        axis: present slice axis, 0..2.
        side: ``height`` or ``width``, the first or second of the other axes.

    >>> other_axis(2, "height"), other_axis(0, "height")
    ({'axis': 0}, {'axis': 1})
    """
    return {"axis": [other for other in range(3) if other != axis][side == "width"]}


@dataclass(frozen=True)
class Axes:
    """Order of the axes of one array.

    Attributes:
        names: subset of ``NAMES``, each once, with ``height`` and ``width``.
    """

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> Axes:
        """Convert the text of an option.

        Args:
            text: names separated by spaces, such as ``slices height width``.
            where: prefix of messages.

        Raises:
            UserError: an unknown or repeated name, or ``height`` or ``width`` is missing.

        >>> Axes.parse("height width slices", "reader").slice_axis
        2
        """
        names = tuple(text.split())
        if len(set(names)) != len(names) or not set(names) <= set(NAMES) or not {"height", "width"} <= set(names):
            raise UserError(
                f"{where}: axes = {text!r}: expected height and width, and slices and coils where stored, each once; "
                f"set axes = {EXAMPLE!r}"
            )
        return cls(names)

    @classmethod
    def stack(cls, axis: int) -> Axes:
        """Return the order [slices, H, W], [H, slices, W] or [H, W, slices].

        Args:
            axis: slice axis, 0..2.
        """
        names = ["height", "width"]
        names.insert(axis, "slices")
        return cls(tuple(names))

    @property
    def slice_axis(self) -> int | None:
        """Index of the slice axis; ``None``: the array is one slice."""
        return self.names.index("slices") if "slices" in self.names else None

    def reduced(self, count: int, first: str = "coils") -> Axes | None:
        """Return the order of an array with fewer axes.

        Args:
            count: number of axes of the array, at least 2.
            first: axis that is absent from an array with one axis less, ``coils`` or ``slices``.

        Returns:
            The order without ``first`` and, if necessary, without the other of the two; ``None`` if no such order has
            ``count`` axes.
        """
        names = list(self.names)
        for absent in (first, "slices" if first == "coils" else "coils"):
            if len(names) > count and absent in names:
                names.remove(absent)
        return Axes(tuple(names)) if len(names) == count else None

    def with_slices_along(self, side: Side) -> Axes:
        """Return the order in which the axis of slices and one side of the slices are exchanged.

        Args:
            side: ``height`` or ``width``.
        """
        exchanged = {side: "slices", "slices": side}
        return Axes(tuple(exchanged.get(name, name) for name in self.names))

    def reversed(self) -> Axes:
        """Return the opposite order: column-major arrays of MATLAB are stored with their axes reversed."""
        return Axes(self.names[::-1])

    def arranged(self, values: np.ndarray, index: int | None = None) -> np.ndarray:
        """Return a slice with its axes in the order of ``NAMES``.

        Args:
            values: an array in this order; without its slice axis where ``index`` is ``None``.
            index: slice to select; ``None``: ``values`` is one slice.

        Returns:
            [H, W], or [coils, H, W], a view.
        """
        if index is not None and self.slice_axis is not None:
            values = np.moveaxis(values, self.slice_axis, 0)[index]
        order = [name for name in self.names if name != "slices"]
        return values.transpose([order.index(name) for name in NAMES if name in order])

    def __str__(self) -> str:
        short = {"height": "H", "width": "W"}
        return f"[{', '.join(short.get(name, name) for name in self.names)}]"
