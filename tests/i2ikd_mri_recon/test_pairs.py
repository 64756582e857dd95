"""The registered pairs name existing modules in the middle of each cascade, for all depths."""

from __future__ import annotations

import pytest
from i2ikd_mri_recon.network import DCCNN
from torch import nn

import i2ikd
from i2ikd import Taps, UserError


def _pairs(name: str, teacher: nn.Module, student: nn.Module) -> list[tuple[str, str]]:
    return i2ikd.get("pairs", name)(teacher, student)


def test_kd_mri_pairs_conv_3_of_5_with_conv_2_of_3_in_each_cascade() -> None:
    teacher, student = DCCNN(depth=5), DCCNN(depth=3)
    expected = [(f"cascades.{k}.layers.2", f"cascades.{k}.layers.1") for k in range(5)]
    assert _pairs("dc-cnn", teacher, student) == expected
    before = [(f"{t}.convolution", f"{s}.convolution") for t, s in expected]
    assert _pairs("dc-cnn-preactivations", teacher, student) == before
    assert _pairs("dc-cnn-images", teacher, student) == [(f"cascades.{k}", f"cascades.{k}") for k in range(5)]


@pytest.mark.parametrize("depths", [(5, 3), (4, 2), (2, 7)])
@pytest.mark.parametrize("name", ["dc-cnn", "dc-cnn-preactivations", "dc-cnn-images"])
def test_every_path_exists_and_features_are_never_the_image(name: str, depths: tuple[int, int]) -> None:
    networks = [DCCNN(2, depth, 4) for depth in depths]
    for paths, network in zip(zip(*_pairs(name, *networks)), networks):
        Taps(network, paths).close()
        if name == "dc-cnn":
            modules = dict(network.named_modules())
            assert all(hasattr(modules[path], "activation") for path in paths)


def test_unequal_numbers_of_cascades_are_spread_evenly_with_a_pair_of_the_last() -> None:
    five, three = DCCNN(5, 2, 4), DCCNN(3, 2, 4)
    expected = [("cascades.1", "cascades.0"), ("cascades.2", "cascades.1"), ("cascades.4", "cascades.2")]
    assert _pairs("dc-cnn-images", five, three) == expected
    assert _pairs("dc-cnn-images", three, five) == [(b, a) for a, b in expected]


def test_layers_are_the_first_ones_and_the_last_of_each_cascade() -> None:
    expected = [
        (f"cascades.{k}.layers.{t}", f"cascades.{k}.layers.{s}") for k in range(5) for t, s in ((0, 0), (1, 1), (4, 2))
    ]
    assert _pairs("dc-cnn-layers", DCCNN(depth=5), DCCNN(depth=3)) == expected


@pytest.mark.parametrize("depths", [(5, 3), (4, 4), (2, 6)])
def test_layers_have_equal_shapes_whatever_the_depths(depths: tuple[int, int]) -> None:
    networks = [DCCNN(2, depth, 4) for depth in depths]
    pairs = _pairs("dc-cnn-layers", *networks)
    assert len(pairs) == 2 * min(depths) == len({left for left, _ in pairs}) == len({right for _, right in pairs})
    for left, right in pairs:
        (large, small) = (network.get_submodule(path).state_dict() for network, path in zip(networks, (left, right)))
        assert {name: t.shape for name, t in large.items()} == {name: t.shape for name, t in small.items()}


def test_blocks_are_the_cascades_of_networks_that_have_equally_many() -> None:
    assert _pairs("dc-cnn-blocks", DCCNN(3, 4, 4), DCCNN(3, 2, 8)) == [
        (f"cascades.{k}", f"cascades.{k}") for k in range(3)
    ]
    with pytest.raises(UserError, match="equally many cascades, got 3 and 2; set cascades of both"):
        _pairs("dc-cnn-blocks", DCCNN(3, 2, 4), DCCNN(2, 2, 4))


def test_another_network_is_refused() -> None:
    with pytest.raises(UserError, match="the student is a Conv2d"):
        _pairs("dc-cnn", DCCNN(1, 2, 4), nn.Conv2d(1, 1, 3))
