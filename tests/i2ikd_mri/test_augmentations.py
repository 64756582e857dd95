"""Augmentations depend only on their generator and equal their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from i2ikd_mri.augmentations import AUGMENTATIONS, augment
from torch import Tensor

from i2ikd import UserError


def _augmented(image: Tensor, name: str, seed: int, other: Tensor | None = None) -> Tensor:
    return augment(image, [name], np.random.default_rng(seed), lambda random: image if other is None else other)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_an_augmentation_is_a_function_of_its_seed(name: str) -> None:
    image, other = torch.randn(16, 16), torch.randn(16, 16)
    assert torch.equal(_augmented(image, name, 3, other), _augmented(image, name, 3, other))
    assert any(
        not torch.equal(_augmented(image, name, 3, other), _augmented(image, name, seed, other)) for seed in range(20)
    )


def _distinct(image: Tensor, name: str, count: int = 200) -> set[tuple[float, ...]]:
    return {tuple(_augmented(image, name, seed).flatten().tolist()) for seed in range(count)}


def test_flip_reverses_either_axis_or_both() -> None:
    image = torch.arange(6.0).reshape(2, 3)
    expected = [image, image.flip(0), image.flip(1), image.flip(0, 1)]
    assert _distinct(image, "flip") == {tuple(e.flatten().tolist()) for e in expected}


def test_rotations_are_multiples_of_90_degrees_of_square_slices() -> None:
    image = torch.arange(9.0).reshape(3, 3)
    assert _distinct(image, "rotate90") == {tuple(torch.rot90(image, k).flatten().tolist()) for k in range(4)}
    with pytest.raises(UserError, match=r"expected square slices, got \[3, 4\]"):
        _augmented(torch.zeros(3, 4), "rotate90", 0)


def test_shifts_are_cyclic_and_at_most_an_eighth() -> None:
    image = torch.zeros(16, 8)
    image[0, 0] = 1
    corners = {int(torch.tensor(values).argmax()) for values in _distinct(image, "shift", 400)}
    assert corners == {(dy % 16) * 8 + dx % 8 for dy in (-2, -1, 0, 1, 2) for dx in (-1, 0, 1)}


def test_intensity_is_one_factor_between_0_8_and_1_2() -> None:
    image = torch.rand(4, 5) + 1
    factors = torch.stack([_augmented(image, "intensity", seed) / image for seed in range(100)])
    torch.testing.assert_close(factors, factors[:, :1, :1].expand_as(factors))
    assert 0.8 <= factors.min() < 0.85 < 1.15 < factors.max() <= 1.2


def test_mix_is_a_convex_combination_with_weight_at_least_half_on_the_sample() -> None:
    ones, zeros = torch.ones(4, 5), torch.zeros(4, 5)
    weights = torch.stack([_augmented(ones, "mix", seed, zeros) for seed in range(100)])
    assert 0.5 <= weights.min() < 0.6 < 0.9 < weights.max() <= 1
    assert torch.equal(_augmented(ones, "mix", 0, torch.zeros(9, 9)), ones)
