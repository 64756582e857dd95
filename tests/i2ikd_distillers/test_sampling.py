"""The even grid of positions: never more than requested, in an image of any shape."""

from __future__ import annotations

import itertools
import math

import pytest
from i2ikd_distillers.sampling import grid

SIDES = (1, 2, 3, 5, 17, 64, 150, 368, 640, 2000)
COUNTS = (1, 2, 7, 100, 512, 4096)


@pytest.mark.parametrize(("shape", "expected"), [((2000, 1), (512, 1)), ((1, 2000), (1, 512)), ((600, 1), (512, 1))])
def test_an_image_of_one_line_has_as_many_positions_as_requested(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert grid(*shape, 512) == expected


@pytest.mark.parametrize("count", COUNTS)
def test_there_are_at_most_so_many_positions_and_none_twice(count: int) -> None:
    for height, width in itertools.product(SIDES, SIDES):
        rows, columns = grid(height, width, count)
        assert 1 <= rows <= height and 1 <= columns <= width, (height, width)
        assert rows * columns <= count, (height, width)


def test_where_the_image_is_wide_enough_cells_are_nearly_square() -> None:
    """Rows and columns are whole numbers: each side of a cell is off by at most one part in its number."""
    for height, width in itertools.product((150, 256, 368, 640), repeat=2):
        rows, columns = grid(height, width, 512)
        ratio = math.log((height / rows) / (width / columns))
        assert abs(ratio) <= math.log(1 + 1 / (rows - 1)) + math.log(1 + 1 / (columns - 1)), (height, width)
