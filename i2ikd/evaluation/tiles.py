"""A large slice in overlapping tiles, whose outputs are blended: memory then depends on the tile, not on the slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from i2ikd.errors import UserError
from i2ikd.sample import Batch


@dataclass(frozen=True)
class Tiling:
    """How a slice is divided.

    Args:
        size: side of the square tiles, in pixels of the network's input.
        overlap: pixels that neighbouring tiles share; a quarter of the side when not given. A quarter of the overlap is
            dropped on either side, because a network sees a border there that the slice does not have; in the half
            between, one tile fades into the other. A network that looks no further than a quarter of the overlap
            gives what it gives for the whole slice.

    Raises:
        UserError: a size below 1, or an overlap that is negative or more than half of the size.
    """

    size: int
    overlap: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"tile = {self.size}: a tile has a side of at least 1 pixel")
        if not 0 <= self.shared <= self.size // 2:
            raise UserError(
                f"overlap = {self.shared}: it must be from 0 to half of the tile, {self.size // 2}; "
                "tiles that share more compute everything twice"
            )

    @property
    def shared(self) -> int:
        """The overlap, in pixels."""
        return self.size // 4 if self.overlap is None else self.overlap


class Span(NamedTuple):
    """A tile along one axis: where it starts and stops, and whether it has neighbours there."""

    start: int
    stop: int
    before: bool
    after: bool


def spans(length: int, tiling: Tiling) -> list[Span]:
    """Cover an axis; the last tile is moved back so that it ends with the slice.

    >>> [tuple(span)[:2] for span in spans(10, Tiling(4, 1))]
    [(0, 4), (3, 7), (6, 10)]
    >>> [tuple(span)[:2] for span in spans(9, Tiling(4, 2))]
    [(0, 4), (2, 6), (4, 8), (5, 9)]
    """
    if length <= tiling.size:
        return [Span(0, length, False, False)]
    last = length - tiling.size
    starts = [*range(0, last, tiling.size - tiling.shared), last]
    return [Span(start, start + tiling.size, start > 0, start < last) for start in starts]


def weights(span: Span, overlap: int) -> Tensor:
    """Return the weight [length] of a tile's pixels: 1, but 0 and then rising where a neighbour overlaps.

    >>> weights(Span(0, 6, False, True), 4)
    tensor([1.0000, 1.0000, 1.0000, 0.6667, 0.3333, 0.0000])
    """
    weight = torch.ones(span.stop - span.start)
    if overlap == 0:
        return weight
    dropped = overlap // 4
    steps = overlap - 2 * dropped
    rising = torch.cat([torch.zeros(dropped), torch.arange(1, steps + 1) / (steps + 1), torch.ones(dropped)])
    if span.before:
        weight[:overlap] *= rising
    if span.after:
        weight[-overlap:] *= rising.flip(0)
    return weight


def run_tiled(run: Callable[[Batch], Tensor], batch: Batch, tiling: Tiling) -> Tensor:
    """Apply ``run`` to every tile of a batch and blend the outputs.

    Args:
        run: gives the image [B, C, H, W] of a batch, on the CPU.
        batch: input [B, C, h, w]; the target may be larger by an integer factor. Conditions [B, ..., h, w] are divided
            with the input, others are given to every tile whole.
        tiling: how.

    Returns:
        [B, C, H, W] float32, of the target's size.

    Raises:
        UserError: a target that is no multiple of the input.
    """
    scale = _scale(batch)
    height, width = batch.input.shape[-2:]
    total = torch.zeros(())
    share = torch.zeros(batch.target.shape[-2:])
    for rows in spans(height, tiling):
        for columns in spans(width, tiling):
            down, across = (weights(span, tiling.shared).repeat_interleave(scale) for span in (rows, columns))
            weight = down[:, None] * across
            output = run(_part(batch, rows, columns, scale)).float()
            if total.ndim == 0:
                total = output.new_zeros(*output.shape[:2], height * scale, width * scale)
            _cut(total, rows, columns, scale).add_(weight * output)
            _cut(share, rows, columns, scale).add_(weight)
    return total / share


def _scale(batch: Batch) -> int:
    small, large = batch.input.shape[-2:], batch.target.shape[-2:]
    scale = large[0] // small[0]
    if scale < 1 or tuple(large) != (small[0] * scale, small[1] * scale):
        raise UserError(
            f"a slice of {small[0]}x{small[1]} whose result has {large[0]}x{large[1]} pixels cannot be tiled: the one "
            "must be a whole multiple of the other; leave out --tile"
        )
    return scale


def _part(batch: Batch, rows: Span, columns: Span, scale: int) -> Batch:
    size = batch.input.shape[-2:]
    conditions = {
        name: _cut(condition, rows, columns, 1) if condition.shape[-2:] == size else condition
        for name, condition in batch.conditions.items()
    }
    return Batch(_cut(batch.input, rows, columns, 1), _cut(batch.target, rows, columns, scale), conditions, batch.keys)


def _cut(image: Tensor, rows: Span, columns: Span, scale: int) -> Tensor:
    """Return a tile of [..., H, W], whose pixels it shares."""
    return image[..., rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
