"""Tiled inference: coverage, blending weights, equality with whole slices for small receptive fields."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from i2ikd import Batch, UserError
from i2ikd.evaluation.tiles import Tiling, run_tiled, spans, weights


@given(st.integers(1, 90), st.integers(1, 40), st.data())
def test_every_pixel_has_a_positive_weight_and_every_tile_its_size(length: int, size: int, data: st.DataObject) -> None:
    tiling = Tiling(size, data.draw(st.integers(0, size // 2)))
    total = torch.zeros(length)
    for start, stop, *neighbours in spans(length, tiling):
        assert stop - start == min(size, length)
        assert neighbours == [start > 0, stop < length]
        total[start:stop] += weights(type(spans(length, tiling)[0])(start, stop, *neighbours), tiling.shared)
    assert total.min() > 0


def test_weights_of_regular_tiles_sum_to_one() -> None:
    total = torch.zeros(26)
    for span in spans(26, Tiling(10, 2)):
        total[span.start : span.stop] += weights(span, 2)
    torch.testing.assert_close(total, torch.ones(26))


def test_tiles_equal_the_whole_slice_for_a_receptive_field_within_a_quarter_of_the_overlap() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=1))
    image = torch.randn(2, 2, 37, 23)
    seen = []

    def run(batch: Batch) -> torch.Tensor:
        seen.append(tuple(batch.input.shape[-2:]))
        with torch.no_grad():
            return network(batch.input)

    batch = Batch(image, torch.zeros(2, 1, 37, 23))
    tiled, whole = run_tiled(run, batch, Tiling(16, 8)), run(batch)
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-6)
    assert set(seen[:-1]) == {(16, 16)} and len(seen) == 4 * 2 + 1
    rough = run_tiled(run, batch, Tiling(16, 0))
    assert (rough - whole).abs().max() > 1e-2, "without an overlap the seams must show, or this test shows nothing"


def test_outputs_may_be_larger_and_conditions_are_divided_with_the_input() -> None:
    image = torch.arange(7.0 * 5).reshape(1, 1, 7, 5)
    batch = Batch(image, torch.zeros(1, 1, 21, 15), {"level": image / 2, "gain": torch.tensor([[3.0]])})

    def run(part: Batch) -> torch.Tensor:
        assert part.target.shape[-1] == 3 * part.input.shape[-1]
        grown = F.interpolate(part.input + part.conditions["level"], scale_factor=3.0, mode="nearest")
        return grown * part.conditions["gain"]

    expected = (image * 4.5).repeat_interleave(3, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(run_tiled(run, batch, Tiling(4, 1)), expected)


def test_an_output_size_that_is_not_a_multiple_is_refused() -> None:
    batch = Batch(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 12, 12))
    with pytest.raises(UserError, match="expected an output size that is a multiple of the input size 8x8, got 12x12"):
        run_tiled(lambda part: part.target, batch, Tiling(4))
