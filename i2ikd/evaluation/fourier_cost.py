"""What a Fourier transform costs, as formulas that torch's FlopCounterMode takes; torch itself counts none.

A complex transform of N points takes 5 N log2 N real operations (the convention of Cooley-Tukey's radix 2,
used by FFTW's benchmarks for every N); a real one half of that. N is the number of points over the
transformed axes, so that a 2-D transform of H x W points is one of N = H W points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch


def fourier_operations(shape: Sequence[int], axes: Sequence[int], real: bool = False) -> int:
    """Return the real operations of transforming an array of ``shape`` along ``axes``.

    Args:
        shape: of the complex array, or of the real one where one side of the transform is real.
        axes: the transformed ones.
        real: whether one side is real.

    >>> fourier_operations((3, 8, 4), axes=[1])  # 3 x 4 transforms of 8 points
    1440
    """
    points = math.prod(shape[axis] for axis in axes)
    if points < 2:
        return 0
    operations = 5 * math.prod(shape) * math.log2(points)
    return round(operations / 2 if real else operations)


def _complex(shape: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> int:
    return fourier_operations(shape, axes)


def _from_real(shape: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> int:
    return fourier_operations(shape, axes, real=True)


def _to_real(shape: Sequence[int], axes: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return fourier_operations(out_shape, axes, real=True)


FOURIER_OPERATIONS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._fft_c2c: _complex,
    torch.ops.aten._fft_r2c: _from_real,
    torch.ops.aten._fft_c2r: _to_real,
}
"""For ``FlopCounterMode(custom_mapping=...)``."""
