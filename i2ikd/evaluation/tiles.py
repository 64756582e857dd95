"""Tiled inference: overlapping tiles with blended outputs, so that memory depends on the tile size only."""

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
    """Division of a slice into square tiles.

    A quarter of the overlap is discarded on either side, where a tile's output is affected by the tile's border; in
    the half between, the outputs are blended linearly. For a network whose receptive field extends at most a quarter
    of the overlap, the result equals that of the whole slice.

    Args:
        size: side of the tiles, in pixels of the network's input, at least 1.
        overlap: overlap of neighbouring tiles in pixels, from 0 to half the size; a quarter of the size when ``None``.

    Raises:
        UserError: a value out of range.
    """

    size: int
    overlap: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"tile size: expected at least 1 pixel, got {self.size}")
        if not 0 <= self.shared <= self.size // 2:
            raise UserError(f"overlap: expected 0 to {self.size // 2} pixels (half of the tile), got {self.shared}")

    @property
    def shared(self) -> int:
        """The overlap, in pixels."""
        return self.size // 4 if self.overlap is None else self.overlap


class Span(NamedTuple):
    """Extent of a tile along one axis.

    Attributes:
        start: first pixel.
        stop: pixel after the last.
        before: whether a neighbouring tile precedes.
        after: whether a neighbouring tile follows.
    """

    start: int
    stop: int
    before: bool
    after: bool


def spans(length: int, tiling: Tiling) -> list[Span]:
    """Divide an axis into tiles; the last one is shifted back to end with the axis.

    Args:
        length: length of the axis in pixels.
        tiling: size and overlap.

    Returns:
        Spans in ascending order; a single one of ``length`` pixels if the axis is not longer than a tile.

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
    """Return the blending weights of a tile along one axis.

    Args:
        span: extent of the tile.
        overlap: overlap in pixels.

    Returns:
        [stop - start] float32: 1, with a ramp from 0 in the overlap with a neighbour. The weights of overlapping tiles
        need not sum to 1; ``run_tiled`` normalises them.

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
    """Apply a network to every tile of a batch and blend the outputs.

    Args:
        run: computes the output [B, C, H, W] of a batch, on the CPU.
        batch: input [B, C, h, w]; the target may be larger by an integer factor. Conditions [B, ..., h, w] are divided
            with the input; other conditions are passed unchanged to every tile.
        tiling: size and overlap of the tiles.

    Returns:
        [B, C, H, W] float32, of the target's size.

    Raises:
        UserError: the target's size is not a multiple of the input's.
    """
    scale = _scale(batch)
    height, width = batch.input.shape[-2:]
    total = torch.zeros(())
    total_weight = torch.zeros(batch.target.shape[-2:])
    for rows in spans(height, tiling):
        for columns in spans(width, tiling):
            down, across = (weights(span, tiling.shared).repeat_interleave(scale) for span in (rows, columns))
            weight = down[:, None] * across
            output = run(_part(batch, rows, columns, scale)).float()
            if total.ndim == 0:
                total = output.new_zeros(*output.shape[:2], height * scale, width * scale)
            _cut(total, rows, columns, scale).add_(weight * output)
            _cut(total_weight, rows, columns, scale).add_(weight)
    return total / total_weight


def _scale(batch: Batch) -> int:
    """Return the target's size over the input's."""
    small, large = batch.input.shape[-2:], batch.target.shape[-2:]
    scale = large[0] // small[0]
    if scale < 1 or tuple(large) != (small[0] * scale, small[1] * scale):
        raise UserError(
            f"tiling: expected an output size that is a multiple of the input size {small[0]}x{small[1]}, "
            f"got {large[0]}x{large[1]}; omit --tile"
        )
    return scale


def _part(batch: Batch, rows: Span, columns: Span, scale: int) -> Batch:
    """Return one tile of a batch."""
    size = batch.input.shape[-2:]
    conditions = {
        name: _cut(condition, rows, columns, 1) if condition.shape[-2:] == size else condition
        for name, condition in batch.conditions.items()
    }
    return Batch(_cut(batch.input, rows, columns, 1), _cut(batch.target, rows, columns, scale), conditions, batch.keys)


def _cut(image: Tensor, rows: Span, columns: Span, scale: int) -> Tensor:
    """Return a tile of an image [..., H, W] as a view; ``scale`` is the image's size over the input's."""
    return image[..., rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
