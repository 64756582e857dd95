"""Taps: features by module path, in order, from a network whose code is unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.taps import Taps, expand, resolve_pairs


class Cascade(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1, 1, 3, padding=1) for _ in range(depth))
        self.bypassed = nn.Conv2d(1, 1, 1)
        self.pair = Pair()

    def forward(self, image: Tensor) -> Tensor:
        for layer in self.layers:
            image = layer(image).relu()
        image = image + self.layers[0](image)
        return self.pair(image)[0] + self.bypassed.weight.sum()


class Pair(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image, image


class Cascades(nn.Module):
    def __init__(self, number: int, depth: int = 2) -> None:
        super().__init__()
        self.cascades = nn.ModuleList(Cascade(depth) for _ in range(number))

    def forward(self, image: Tensor) -> Tensor:
        for cascade in self.cascades:
            image = cascade(image)
        return image


@pytest.fixture
def network() -> Cascades:
    torch.manual_seed(2)
    return Cascades(2)


def image() -> Tensor:
    return torch.randn(2, 1, 5, 7, generator=torch.Generator().manual_seed(4))


class TestInputs:
    def test_of_a_module_are_captured_besides_its_output(self, network: Cascades) -> None:
        with Taps(network, ["cascades.1:input", "cascades.0", "cascades.0:input"]) as taps:
            network(image())
            second, first, whole = taps.take(["cascades.1:input", "cascades.0", "cascades.0:input"])
        assert second is first
        assert torch.equal(whole, image())

    def test_of_a_module_that_runs_twice_are_two(self, network: Cascades) -> None:
        with Taps(network, ["cascades.0.layers.0:input"]) as taps:
            network(image())
            first, again = taps.take(["cascades.0.layers.0:input"])
        assert torch.equal(first, image()) and not torch.equal(again, image())

    def test_leave_the_network_without_hooks(self, network: Cascades) -> None:
        Taps(network, ["cascades.0:input"]).close()
        assert all(not module._forward_pre_hooks for module in network.modules())

    def test_of_a_module_that_does_not_exist_are_refused(self, network: Cascades) -> None:
        with pytest.raises(UserError, match="tap path 'cascade' matches no module of the network"):
            Taps(network, ["cascade:input"])

    def test_that_are_no_positional_tensor_are_refused(self) -> None:
        class Named(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.block = nn.Identity()

            def forward(self, image: Tensor) -> Tensor:
                output: Tensor = self.block(input=image)
                return output

        network = Named()
        with Taps(network, ["block:input"]), pytest.raises(UserError, match="got no positional argument"):
            network(image())


class TestRunToLast:
    def test_ends_the_second_call_after_the_last_tap_with_the_same_features(self, network: Cascades) -> None:
        ran = list[str]()
        for path, module in network.named_modules():
            module.register_forward_pre_hook(lambda *_, path=path: ran.append(path))
        with Taps(network, ["cascades.0.layers.0:input", "cascades.1.layers.0"]) as taps:
            paths = ["cascades.1.layers.0", "cascades.0.layers.0:input"]
            whole = run(network, taps, paths)
            assert ran[-1] == "cascades.1.pair"
            ran.clear()
            again = run(network, taps, paths)
            assert ran[-1] == "cascades.1.layers.0", "its second call in a cascade is the last"
            assert len(again) == len(whole) == 4
            assert all(torch.equal(a, b) for a, b in zip(again, whole))
            assert not torch.equal(run(network, taps, paths, 2 * image())[0], whole[0])

    def test_does_not_end_other_calls(self, network: Cascades) -> None:
        with Taps(network, ["cascades.0"]) as taps:
            for _ in range(2):
                run(network, taps, ["cascades.0"])
            taps.clear()
            assert network(image()).shape == image().shape

    def test_lets_errors_of_the_network_through(self, network: Cascades) -> None:
        with Taps(network, ["cascades.0"]) as taps:
            run(network, taps, ["cascades.0"])
            with pytest.raises(RuntimeError, match="channels"):
                run(network, taps, ["cascades.0"], image().expand(-1, 3, -1, -1))


def run(network: nn.Module, taps: Taps, paths: list[str], given: Tensor | None = None) -> list[Tensor]:
    taps.run_to_last(lambda: network(image() if given is None else given))
    return taps.take(paths)


class TestExpand:
    def test_a_star_sorts_numbers_by_value(self) -> None:
        assert expand(Cascades(12), "cascades.*") == [f"cascades.{i}" for i in range(12)]
        paths = expand(Cascades(11), "cascades.*.layers.1")
        assert paths[8:] == ["cascades.8.layers.1", "cascades.9.layers.1", "cascades.10.layers.1"]

    def test_a_star_stands_for_one_component_or_a_part_of_one(self, network: Cascades) -> None:
        assert expand(network, "cascades.1.lay*") == ["cascades.1.layers"]
        assert expand(network, "cascades.*.*.0") == ["cascades.0.layers.0", "cascades.1.layers.0"]
        assert expand(network, "cascades.1") == ["cascades.1"]

    def test_a_path_that_matches_nothing_is_refused_with_existing_modules(self, network: Cascades) -> None:
        with pytest.raises(UserError) as caught:
            expand(network, "cascades.*.layer.1", "teacher")
        message = str(caught.value)
        assert message.startswith("tap path 'cascades.*.layer.1' matches no module of the teacher (Cascades)")
        assert "13 modules exist, e.g. " in message
        assert "cascades.0.layers.1" in message

    def test_a_path_unlike_any_module_is_refused_with_the_first_modules(self, network: Cascades) -> None:
        with pytest.raises(UserError, match=r"e.g. cascades, cascades.0, "):
            expand(network, "§§§")
        with pytest.raises(UserError, match="matches no module"):
            expand(network, "")


class TestResolvePairs:
    def test_stars_are_paired_in_order(self) -> None:
        teacher, student = Cascades(11, depth=3), Cascades(11, depth=2)
        pairs = resolve_pairs(teacher, student, [["cascades.*.layers.2", "cascades.*.layers.1"]])
        assert pairs == [(f"cascades.{i}.layers.2", f"cascades.{i}.layers.1") for i in range(11)]

    def test_pairs_keep_the_order_in_which_they_were_written(self, network: Cascades) -> None:
        written = [("cascades.1", "cascades.0"), ("cascades.0", "cascades.1.layers.0")]
        assert resolve_pairs(network, network, written) == written

    def test_unequal_counts_are_reported_for_both_sides(self) -> None:
        with pytest.raises(UserError) as caught:
            resolve_pairs(Cascades(3), Cascades(2), [["cascades.*", "cascades.*"]])
        message = str(caught.value)
        assert "matches 3 taps of the teacher (cascades.0, cascades.1, cascades.2)" in message
        assert "but 2 of the student (cascades.0, cascades.1)" in message

    def test_the_side_that_matches_nothing_is_named(self) -> None:
        with pytest.raises(UserError, match="of the student"):
            resolve_pairs(Cascades(3), Cascades(2), [["cascades.2", "cascades.2"]])
        with pytest.raises(UserError, match="of the teacher"):
            resolve_pairs(Cascades(2), Cascades(3), [["cascades.2", "cascades.2"]])

    def test_a_pair_has_two_sides(self, network: Cascades) -> None:
        with pytest.raises(UserError, match=r"\[teacher path, student path\], not \['cascades.0'\]"):
            resolve_pairs(network, network, [["cascades.0"]])


class TestTaps:
    def test_return_the_modules_outputs_in_the_requested_order(self, network: Cascades) -> None:
        first = network.cascades[0].layers[0](image())
        second = network.cascades[0].layers[1](first.relu())
        with Taps(network, ["cascades.0.layers.0", "cascades.0.layers.1", "cascades.1"]) as taps:
            output = network(image())
            last, middle = taps.take(["cascades.1", "cascades.0.layers.1"])
        assert torch.equal(last, output)
        assert torch.equal(middle, second)

    def test_a_module_that_runs_twice_gives_two_features(self, network: Cascades) -> None:
        with Taps(network, ["cascades.0.layers.0"]) as taps:
            network(image())
            once, again = taps.take(["cascades.0.layers.0"])
        assert torch.equal(once, network.cascades[0].layers[0](image()))
        assert not torch.equal(once, again)

    def test_a_path_requested_twice_is_captured_once(self, network: Cascades) -> None:
        with Taps(network, ["cascades.0.layers.1", "cascades.0.layers.1"]) as taps:
            network(image())
            assert len(taps.take(["cascades.0.layers.1"])) == 1

    def test_clear_forgets_the_last_pass(self, network: Cascades) -> None:
        with Taps(network, ["cascades.1"]) as taps:
            network(image())
            taps.clear()
            output = network(2 * image())
            (feature,) = taps.take(["cascades.1"])
        assert torch.equal(feature, output)

    def test_gradients_flow_through_them(self, network: Cascades) -> None:
        with Taps(network, ["cascades.0.layers.0"]) as taps:
            network(image())
            taps.take(["cascades.0.layers.0"])[0].sum().backward()
        assert network.cascades[0].layers[0].weight.grad is not None
        assert network.cascades[0].layers[1].weight.grad is None

    @pytest.mark.parametrize("path", ["cascades.0.bypassed", "cascades.1.layers"])
    def test_one_that_never_fired_is_an_error(self, network: Cascades, path: str) -> None:
        with Taps(network, [path], "student") as taps:
            network(image())
            with pytest.raises(UserError, match=f"the tap '{path}' of the student never fired"):
                taps.take([path])

    def test_one_that_gives_no_tensor_is_an_error(self, network: Cascades) -> None:
        message = r"'cascades.0.pair' of the teacher \(Pair\) returns a tuple"
        with Taps(network, ["cascades.0.pair"], "teacher"), pytest.raises(UserError, match=message):
            network(image())

    @pytest.mark.parametrize("path", ["cascades.7", "cascades.*"])
    def test_a_path_that_is_not_one_module_is_an_error_that_leaves_no_hook(self, network: Cascades, path: str) -> None:
        with pytest.raises(UserError, match=r"'cascades\.[7*]'"):
            Taps(network, ["cascades.0", path])
        assert hooks(network) == 0

    def test_closing_leaves_the_network_as_it_was(self, network: Cascades) -> None:
        before, weights = network(image()), {k: v.clone() for k, v in network.state_dict().items()}
        with Taps(network, ["cascades.0", "cascades.1.layers.0"]):
            assert hooks(network) == 2
            assert torch.equal(network(image()), before)
        assert hooks(network) == 0
        assert torch.equal(network(image()), before)
        assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())

    def test_a_pass_that_raises_still_closes_them(self, network: Cascades) -> None:
        with pytest.raises(RuntimeError), Taps(network, ["cascades.0"]):
            network(torch.zeros(2, 3, 5, 7))
        assert hooks(network) == 0

    def test_hooks_of_other_code_stay(self, network: Cascades) -> None:
        network.cascades[0].register_forward_hook(lambda module, inputs, output: None)
        with Taps(network, ["cascades.0"]):
            assert hooks(network) == 2
        assert hooks(network) == 1


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


class TestOverwrittenFeatures:
    """The next module changes the output of the tapped one in place."""

    def test_is_refused_instead_of_read(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
        with Taps(network, ["0", "1"], "teacher") as taps, torch.no_grad():
            network(torch.randn(1, 1, 6, 6))
            with pytest.raises(UserError, match=r"the tap '0' of the teacher was overwritten in place.*inplace=False"):
                taps.take(["0"])
            assert (taps.take(["1"])[0] >= 0).all()

    def test_is_refused_for_the_input_of_a_module(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
        with Taps(network, ["1:input"]) as taps:
            network(torch.randn(1, 1, 6, 6))
            with pytest.raises(UserError, match="overwritten in place"):
                taps.take(["1:input"])

    def test_a_second_pass_starts_anew(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
        with Taps(network, ["0"]) as taps:
            for _ in range(2):
                taps.clear()
                network(torch.randn(1, 1, 6, 6))
                assert (taps.take(["0"])[0] < 0).any()


class TestWrappers:
    @pytest.mark.parametrize("wrap", [nn.DataParallel, lambda network: torch.compile(network, backend="eager")])
    def test_paths_are_those_of_the_network_inside(self, wrap: Any) -> None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
        assert expand(wrap(network), "*") == ["0", "1"]
        with Taps(wrap(network), ["0"]) as taps:
            output = network(torch.randn(1, 1, 6, 6))
            assert torch.equal(taps.take(["0"])[0].relu(), output)
