"""Form of every file (size, channels, type, values), read once for each content, and its checks before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from i2ikd import UserError
from i2ikd.file_facts import FileFacts
from i2ikd_pairs.formats.stack import Stack
from i2ikd_pairs.pair import Pair, Part
from i2ikd_pairs.values import Range, refuse_outside

_VERSION = 1


@dataclass(frozen=True)
class Form:
    """Form of an input or a target.

    Attributes:
        slices: number of slices.
        channels: number of channels.
        height: of a slice, in pixels.
        width: of a slice, in pixels.
        low: lowest value of the file.
        high: highest value of the file.
        dtype: name of the type of the values.
    """

    slices: int
    channels: int
    height: int
    width: int
    low: float
    high: float
    dtype: str

    @classmethod
    def of(cls, stack: Stack) -> Form:
        """Return the form of the content of a file."""
        slices, channels, height, width = stack.values.shape
        low, high = float(stack.values.min()), float(stack.values.max())
        return cls(slices, channels, height, width, low, high, stack.values.dtype.name)

    @property
    def colours(self) -> str:
        """Name of the channels."""
        return colours(self.channels)


def colours(channels: int) -> str:
    """Return the name of a number of channels: ``grey``, ``RGB``, ``RGB with alpha`` or ``5 channels``."""
    return {1: "grey", 3: "RGB", 4: "4 channels (RGB with alpha?)"}.get(channels, f"{channels} channels")


@dataclass(frozen=True)
class Expected:
    """Form that all pairs have.

    Attributes:
        channels: of inputs.
        target_channels: of targets.
        scale: size of a target over that of its input.
        value_range: see ``range_of``.
        axes: names of the axes of arrays; ``None``: not stated.
    """

    channels: int
    target_channels: int
    scale: int
    value_range: Range | None
    axes: Sequence[str] | None


def form_of(part: Part, axes: Sequence[str] | None, facts: FileFacts) -> Form:
    """Return the form of an input or target; a file whose form is known for its present content is not read.

    Args:
        part: the input or target.
        axes: names of the axes of arrays; ``None``: not stated.
        facts: keeps the form.

    Raises:
        UserError: the file cannot be read.
    """
    if not part.path.is_file():
        raise UserError(f"{part.path}: no such file")
    key = f"pairs-form {_VERSION} {part.key} {part.item} {axes}"
    known = facts.get(key, [part.path])
    if known is not None:
        return Form(**known)
    form = Form.of(part.read(axes))
    facts.put(key, [part.path], asdict(form))
    return form


def check_pair(pair: Pair, expected: Expected, facts: FileFacts) -> Form:
    """Check the files of a pair against each other and the options of the task.

    Args:
        pair: the pair.
        expected: the form that all pairs have.
        facts: keeps the forms.

    Returns:
        The form of the input.

    Raises:
        UserError: another number of channels, another size, or values outside of the range.
    """
    form = form_of(pair.input, expected.axes, facts)
    check_input(form, expected, str(pair.input))
    if pair.target is None:
        return form
    target, where = form_of(pair.target, expected.axes, facts), str(pair.target)
    if target.channels != expected.target_channels:
        raise UserError(
            f"{where}: expected a target with {expected.target_channels} channel(s) "
            f"({colours(expected.target_channels)}), got {target.channels} ({target.colours}); set target_channels = "
            f"{target.channels} in [task], or convert the file"
        )
    size = (form.slices, form.height * expected.scale, form.width * expected.scale)
    found = (target.slices, target.height, target.width)
    if size != found:
        raise UserError(
            f"{where}: expected {size[0]} slice(s) of {size[1]} x {size[2]}, as its input has {form.slices} of "
            f"{form.height} x {form.width} and scale = {expected.scale}, got {found[0]} of {found[1]} x {found[2]}; "
            f"{_size_remedy(form, target)}"
        )
    refuse_outside(target.low, target.high, np.dtype(target.dtype), expected.value_range, where, target=True)
    return form


def check_input(form: Form, expected: Expected, where: str) -> None:
    """Check channels and values of an input.

    Args:
        form: of the input.
        expected: the form that all pairs have.
        where: the file, the prefix of messages.

    Raises:
        UserError: another number of channels, or values outside of the range.
    """
    if form.channels != expected.channels:
        raise UserError(
            f"{where}: expected an input with {expected.channels} channel(s) ({colours(expected.channels)}), got "
            f"{form.channels} ({form.colours}); set channels = {form.channels} in [task], or convert the file: colours "
            "are never converted"
        )
    refuse_outside(form.low, form.high, np.dtype(form.dtype), expected.value_range, where, target=False)


def _size_remedy(form: Form, target: Form) -> str:
    factors = {target.height / form.height, target.width / form.width}
    factor = factors.pop()
    if not factors and factor.is_integer() and target.slices == form.slices:
        return f"set scale = {int(factor)}"
    return "give input and target of a pair one field of view"
