"""The registered pairs name existing modules in the middle of each network, for all depths."""

from __future__ import annotations

import pytest
import torch
from i2ikd_mri_sr.upsampling import UpsamplingCNN
from i2ikd_mri_sr.vdsr import VDSR
from torch import nn

import i2ikd
from i2ikd import Taps, UserError


def _pairs(name: str, teacher: nn.Module, student: nn.Module) -> list[tuple[str, str]]:
    return i2ikd.get("pairs", name)(teacher, student)


def _shapes(network: nn.Module, paths: list[str]) -> list[tuple[int, ...]]:
    with Taps(network, paths) as taps:
        network(torch.zeros(1, 1, 4, 6))
        return [tuple(tap.shape[1:]) for tap in taps.take(paths)]


def test_kd_mri_pairs_conv_6_of_11_with_conv_4_of_7() -> None:
    networks = VDSR(11, 3), VDSR(7, 3)
    assert _pairs("vdsr", *networks) == [("layers.5", "layers.3")]
    assert _pairs("vdsr-preactivations", *networks) == [("layers.5.convolution", "layers.3.convolution")]
    assert _pairs("vdsr-images", *networks) == [("layers.10", "layers.6")]


@pytest.mark.parametrize("name", ["vdsr", "upsampling-cnn"])
@pytest.mark.parametrize("depths", [(11, 7), (5, 5), (3, 8), (4, 2)])
def test_each_layer_of_the_shorter_network_starts_as_one_of_equal_shape_in_its_group(
    name: str, depths: tuple[int, int]
) -> None:
    make = VDSR if name == "vdsr" else lambda depth, channels: UpsamplingCNN(2, depth, channels)
    networks = make(depths[0], 3), make(depths[1], 3)
    pairs = _pairs(f"{name}-layers", *networks)
    for left, right in pairs:
        (large, small) = (network.get_submodule(path).state_dict() for network, path in zip(networks, (left, right)))
        assert {name: t.shape for name, t in large.items()} == {name: t.shape for name, t in small.items()}
    places = [tuple(int(path.removeprefix("layers.")) for path in pair) for pair in pairs if pair != ("tail", "tail")]
    assert len(places) == min(depths) and (places[0], places[-1]) == ((0, 0), (depths[0] - 1, depths[1] - 1))
    blocks = [[path.split("..") for path in pair] for pair in _pairs(f"{name}-blocks", *networks) if ".." in pair[0]]
    ends = [[[int(end.removeprefix("layers.")) for end in side] for side in pair] for pair in blocks]
    for place in places:
        assert any(all(a <= index <= b for index, (a, b) in zip(place, pair)) for pair in ends), place


@pytest.mark.parametrize("depths", [(11, 7), (20, 2), (3, 8), (5, 5)])
def test_blocks_of_vdsrs_are_groups_of_layers_that_contain_each_layer_once(depths: tuple[int, int]) -> None:
    networks = VDSR(depths[0], 3), VDSR(depths[1], 3)
    for depth, paths in zip(depths, zip(*_pairs("vdsr-blocks", *networks))):
        ends = [tuple(int(end.removeprefix("layers.")) for end in path.split("..")) for path in paths]
        assert [index for first, last in ends for index in range(first, last + 1)] == list(range(depth))
        assert len(ends) == max(1, min(depths) // 2)


def test_layers_and_blocks_of_upsampling_cnns_include_the_tail() -> None:
    networks = UpsamplingCNN(2, 6, 3), UpsamplingCNN(2, 3, 3)
    assert _pairs("upsampling-cnn-layers", *networks) == [
        *((f"layers.{t}", f"layers.{s}") for t, s in ((0, 0), (1, 1), (5, 2))),
        ("tail", "tail"),
    ]
    assert _pairs("upsampling-cnn-layers", UpsamplingCNN(2, 3), UpsamplingCNN(2, 1)) == [
        ("layers.0", "layers.0"),
        ("tail", "tail"),
    ]
    assert _pairs("upsampling-cnn-blocks", *networks) == [
        ("layers.0..layers.5", "layers.0..layers.2"),
        ("tail", "tail"),
    ]


@pytest.mark.parametrize("depths", [(11, 7), (20, 2), (3, 8)])
def test_vdsrs_of_any_depth_have_features_images_and_preactivations(depths: tuple[int, int]) -> None:
    networks = VDSR(depths[0], 5), VDSR(depths[1], 3)
    for name, channels in (("vdsr", (5, 3)), ("vdsr-preactivations", (5, 3)), ("vdsr-images", (1, 1))):
        for network, count, paths in zip(networks, channels, zip(*_pairs(name, *networks))):
            assert _shapes(network, list(paths)) == [(count, 4, 6)]


def test_upsampling_cnns_are_paired_in_the_middle_and_before_the_tail() -> None:
    networks = UpsamplingCNN(2, 7, 3), UpsamplingCNN(2, 4, 3, "residual")
    assert _pairs("upsampling-cnn", *networks) == [("layers.3", "layers.2"), ("layers.6", "layers.3")]
    short = UpsamplingCNN(2, 2, 3), UpsamplingCNN(2, 1, 3)
    assert _pairs("upsampling-cnn", *short) == [("layers.1", "layers.0")]


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_taps_of_upsampling_cnns_are_on_the_low_grid_and_images_on_the_target_grid(blocks: str) -> None:
    networks = UpsamplingCNN(3, 5, 6, blocks), UpsamplingCNN(3, 3, 4, blocks)
    for name, channels in (("upsampling-cnn", (6, 4)), ("upsampling-cnn-preactivations", (6, 4))):
        for network, count, paths in zip(networks, channels, zip(*_pairs(name, *networks))):
            assert _shapes(network, list(paths)) == [(count, 4, 6)] * 2
    assert _shapes(networks[1], [_pairs("upsampling-cnn-images", *networks)[0][1]]) == [(1, 12, 18)]


def test_other_networks_are_refused() -> None:
    with pytest.raises(UserError, match="two networks VDSR, but the student is a UpsamplingCNN"):
        _pairs("vdsr", VDSR(2, 2), UpsamplingCNN())
    with pytest.raises(UserError, match="the teacher is a Conv2d"):
        _pairs("upsampling-cnn-images", nn.Conv2d(1, 1, 3), UpsamplingCNN())
    with pytest.raises(UserError, match="set one residual for both"):
        _pairs("upsampling-cnn-images", UpsamplingCNN(), UpsamplingCNN(residual="none"))
