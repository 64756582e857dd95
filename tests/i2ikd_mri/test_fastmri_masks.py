"""fastMRI's masks: the lines that its definition measures, counted one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import i2ikd
from i2ikd import UserError

KINDS = ["fastmri-random", "fastmri-equispaced"]


def line(name: str, length: int, draw: tuple[int, ...] = (), **options: Any) -> list[int]:
    """Return the measured lines, zero frequency at n // 2."""
    mask = i2ikd.create("mask", name, **options)((5, length), draw, centered=True)
    assert mask.shape == (1, length) and set(mask.unique().tolist()) <= {0.0, 1.0}
    found: list[int] = mask[0].nonzero()[:, 0].tolist()
    return found


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("length", "first", "last"), [(368, 170, 198), (40, 19, 21), (41, 19, 21), (38, 18, 20)])
def test_the_centre_is_the_share_of_the_lines(name: str, length: int, first: int, last: int) -> None:
    """40: 3.2 lines, 41: 3.28, 38: 3.04, 368: 29.44."""
    assert set(range(first, last + 1)) <= set(line(name, length, center_fraction=0.08))
    assert last - first + 1 == round(0.08 * length)


def test_an_even_centre_of_an_odd_length_begins_at_zero_frequency_s_neighbour() -> None:
    """Two of 25 lines: (25 - 2 + 1) // 2 = 12."""
    assert {12, 13} <= set(line("fastmri-random", 25, center_fraction=0.08))


def test_adjusted_lines_have_fractional_distances() -> None:
    """320 lines, 26 in the centre, 4x: one of 4 (320 - 26) / (320 - 104) = 5.444 lines."""
    found = line("fastmri-equispaced", 320, acceleration=4, center_fraction=0.08, offset=2)
    position, expected = 2.0, set(range(147, 173))
    while position < 319:
        expected.add(int(np.rint(position)))
        position += 4 * (320 - 26) / (320 - 4 * 26)
    assert found == sorted(expected)
    assert abs(len(found) - 80) <= 2


def test_nominal_lines_have_the_distance_of_the_acceleration() -> None:
    found = line("fastmri-equispaced", 320, acceleration=4, center_fraction=0.08, spacing="nominal", offset=3)
    assert found == sorted({*range(3, 320, 4), *range(147, 173)})


def test_random_lines_have_the_expected_number() -> None:
    counts = [len(line("fastmri-random", 320, seed=seed)) for seed in range(200)]
    assert np.mean(counts) == pytest.approx(80, abs=3 * np.std(counts) / np.sqrt(200))
    outer = np.mean([set(line("fastmri-random", 320, seed=seed)) >= {5} for seed in range(200)])
    assert outer == pytest.approx(54 / 294, abs=0.1)


def test_the_offset_is_drawn_for_each_sample_below_the_distance() -> None:
    firsts = {line("fastmri-equispaced", 320, (1, d), fixed=False)[0] for d in range(60)}
    assert firsts == {0, 1, 2, 3, 4}
    assert line("fastmri-equispaced", 320, (1, 2)) == line("fastmri-equispaced", 320, (3, 4))
    assert i2ikd.create("mask", "fastmri-equispaced", offset=1, fixed=False).fixed


@pytest.mark.parametrize("name", KINDS)
def test_axis_and_centring_are_those_of_every_mask(name: str) -> None:
    rows = i2ikd.create("mask", name, axis=0)((48, 5), (), centered=True)
    assert rows.shape == (48, 1)
    assert torch.equal(torch.fft.ifftshift(rows, (0, 1)), i2ikd.create("mask", name, axis=0)((48, 5)))
    assert rows[:, 0].nonzero()[:, 0].tolist() == line(name, 48)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fastmri-random", {"acceleration": 8, "center_fraction": 0.2}, "center_fraction < 1 / acceleration = 0.125"),
        ("fastmri-equispaced", {"offset": 7}, "expected offset < 5, the distance of the lines, got offset = 7"),
        ("fastmri-random", {"center_fraction": 0.0, "acceleration": 1e9}, "leave none of 320 lines"),
        ("fastmri-random", {"acceleration": 0.5}, "acceleration = 0.5"),
        ("fastmri-random", {"acceleration": float("nan")}, "acceleration = nan"),
        ("fastmri-random", {"centre_fraction": 0.1}, "did you mean 'center_fraction'"),
        ("fastmri-equispaced", {"spacing": "even"}, "spacing = 'even'"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        line(name, 320, **options)
