"""Networks of the core: output shapes, gradients, taps, refused options."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from i2ikd.builtin.models.backbone import Level, feature_encoder
from i2ikd.builtin.models.plain import PlainCNN
from i2ikd.builtin.models.unet import TimmUNet, decoder_steps, pad_to_multiple
from i2ikd.errors import UserError
from i2ikd.options import check
from i2ikd.taps import expand

ENCODERS = ["resnet18", "mobilenetv3_small_050", "convnext_atto"]


@pytest.fixture(autouse=True)
def offline(no_network: None) -> None:
    """Block network access in all tests of this module."""


@pytest.fixture(scope="module")
def unets() -> dict[str, TimmUNet]:
    torch.manual_seed(3)
    return {name: TimmUNet(name, in_channels=2, decoder_channels=[12, 10, 8, 6, 4]) for name in ENCODERS}


class TestPlainCNN:
    def test_equals_convolutions_with_relu_plus_the_input(self) -> None:
        network = PlainCNN(in_channels=2, depth=3, channels=5, kernel=5)
        image = torch.randn(2, 2, 9, 7)
        weights = [dict(network.named_parameters())[f"layers.{i}.convolution.weight"] for i in range(3)]
        biases = [dict(network.named_parameters())[f"layers.{i}.convolution.bias"] for i in range(3)]
        expected = image
        for index, (weight, bias) in enumerate(zip(weights, biases)):
            expected = F.conv2d(expected, weight, bias, padding=2)
            expected = expected.clamp(min=0) if index < 2 else expected
        torch.testing.assert_close(network(image), image + expected)

    @pytest.mark.parametrize(
        ("depth", "channels", "kernel", "count"),
        [(5, 32, 3, 28353), (3, 4, 3, 225), (1, 32, 3, 10), (2, 3, 5, 154)],
    )
    def test_parameter_count_is_that_of_its_convolutions(
        self, depth: int, channels: int, kernel: int, count: int
    ) -> None:
        network = PlainCNN(depth=depth, channels=channels, kernel=kernel)
        assert sum(parameter.numel() for parameter in network.parameters()) == count

    def test_layers_can_be_tapped_before_and_after_the_activation(self) -> None:
        network = PlainCNN(depth=3)
        assert expand(network, "layers.*.convolution") == [f"layers.{i}.convolution" for i in range(3)]
        assert expand(network, "layers.*.activation") == ["layers.0.activation", "layers.1.activation"]

    def test_supports_other_output_channels_and_ignores_conditions(self) -> None:
        network = PlainCNN(in_channels=3, out_channels=2, depth=2, residual=False)
        image = torch.randn(1, 3, 6, 5)
        assert network(image).shape == (1, 2, 6, 5)
        assert torch.equal(network(image, mask=torch.ones(6)), network(image))

    def test_refuses_an_even_kernel_and_a_residual_between_different_channels(self) -> None:
        with pytest.raises(UserError, match=r"expected an odd kernel size, got 4"):
            PlainCNN(kernel=4)
        with pytest.raises(UserError, match=r"expected out_channels = in_channels \(2\), got 1; set residual = false"):
            PlainCNN(in_channels=2, out_channels=1)

    def test_options_are_checked_against_its_arguments(self) -> None:
        assert check(PlainCNN, {"depth": 4, "channels": 8}, "student") == {"depth": 4, "channels": 8}
        with pytest.raises(UserError, match="depth = 0"):
            check(PlainCNN, {"depth": 0}, "student")
        with pytest.raises(UserError, match="did you mean 'channels'"):
            check(PlainCNN, {"chanels": 8}, "student")


class TestTimmUNet:
    @pytest.mark.parametrize("name", ENCODERS)
    @pytest.mark.parametrize("size", [(37, 50), (64, 96), (5, 3), (1, 1)])
    def test_output_has_the_size_of_the_input(
        self, unets: dict[str, TimmUNet], name: str, size: tuple[int, int]
    ) -> None:
        output = unets[name](torch.randn(1, 2, *size), mask=torch.ones(1))
        assert output.shape == (1, 2, *size)
        assert torch.isfinite(output).all()

    @pytest.mark.parametrize(("channels", "outputs"), [(1, None), (2, 3), (3, 1)])
    def test_supports_any_number_of_channels(self, channels: int, outputs: int | None) -> None:
        network = TimmUNet(
            "mobilenetv3_small_050", in_channels=channels, out_channels=outputs, residual=outputs is None
        )
        assert network(torch.randn(2, channels, 37, 50)).shape == (2, outputs or channels, 37, 50)

    @pytest.mark.parametrize("name", ENCODERS)
    def test_every_parameter_receives_a_gradient_from_one_small_image(
        self, unets: dict[str, TimmUNet], name: str
    ) -> None:
        network = copy.deepcopy(unets[name]).train()
        network(torch.randn(1, 2, 31, 20)).square().mean().backward()
        without = [path for path, parameter in network.named_parameters() if parameter.grad is None]
        assert without == []
        first = next(network.encoder.parameters())
        assert first.grad is not None
        assert first.grad.any()

    @pytest.mark.parametrize("name", ENCODERS)
    def test_a_state_dict_reproduces_the_output_in_a_fresh_network(self, unets: dict[str, TimmUNet], name: str) -> None:
        fresh = TimmUNet(name, in_channels=2, decoder_channels=[12, 10, 8, 6, 4]).eval()
        image = torch.randn(1, 2, 37, 50)
        trained = copy.deepcopy(unets[name]).eval()
        assert not torch.equal(fresh(image), trained(image))
        fresh.load_state_dict(trained.state_dict())
        assert torch.equal(fresh(image), trained(image))

    def test_the_input_is_added_only_when_residual(self) -> None:
        networks = [TimmUNet("mobilenetv3_small_050", residual=flag).eval() for flag in (True, False)]
        networks[1].load_state_dict(networks[0].state_dict())
        image = torch.randn(1, 1, 37, 50)
        torch.testing.assert_close(networks[0](image), image + networks[1](image))

    def test_padding_reflects_and_is_omitted_for_multiples_of_the_stride(self, unets: dict[str, TimmUNet]) -> None:
        assert pad_to_multiple(torch.zeros(1, 1, 64, 96), 32).shape == (1, 1, 64, 96)
        image = torch.arange(6.0).reshape(1, 1, 2, 3)
        padded = pad_to_multiple(image, 2)
        assert torch.equal(padded[0, 0, :2], torch.tensor([[0.0, 1, 2, 1], [3, 4, 5, 4]]))
        assert torch.equal(padded[0, 0, 2:], torch.tensor([[3.0, 4, 5, 4], [3, 4, 5, 4]]))

    def test_encoder_and_decoder_can_be_tapped(self, unets: dict[str, TimmUNet]) -> None:
        assert expand(unets["resnet18"], "encoder.layer*") == [f"encoder.layer{i}" for i in range(1, 5)]
        for network in unets.values():
            assert expand(network, "decoder.*") == [f"decoder.{i}" for i in range(5)]

    def test_the_encoder_equals_that_of_timm(self) -> None:
        import timm

        torch.manual_seed(5)
        encoder, levels = feature_encoder("resnet18", 1, pretrained=False)
        torch.manual_seed(5)
        reference = timm.create_model("resnet18", features_only=True, in_chans=1)
        assert all(torch.equal(a, b) for a, b in zip(encoder.state_dict().values(), reference.state_dict().values()))
        assert all(module.training for module in encoder.modules())
        assert [level.reduction for level in levels] == [2, 4, 8, 16, 32]

    def test_decoder_steps_end_at_the_image_for_any_pyramid(self) -> None:
        from_four = decoder_steps([Level(40, 4), Level(80, 8), Level(160, 32)], in_channels=2)
        assert from_four == [(4, 80), (2, 40), (2, 0), (2, 2)]
        assert decoder_steps([Level(64, 1), Level(128, 2)], in_channels=2) == [(2, 64)]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("resnet19", "the nearest are .*resnet18"),
            ("§§§", "timm.list_models"),
            ("vit_tiny_patch16_224", "do not form a pyramid.*e.g. resnet18"),
            (
                "swin_tiny_patch4_window7_224",
                "expected a timm model with feature maps of decreasing size.*e.g. resnet18",
            ),
        ],
    )
    def test_refuses_unknown_and_unsuitable_encoders(self, name: str, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            TimmUNet(name)
        assert "\n" not in str(caught.value)

    def test_refuses_a_wrong_number_of_decoder_widths(self) -> None:
        with pytest.raises(UserError, match=r"expected 5 widths for the encoder 'resnet18', got 2: \[8, 4\]"):
            TimmUNet("resnet18", decoder_channels=[8, 4])
        with pytest.raises(UserError, match=r"expected out_channels = in_channels \(1\), got 2; set residual = false"):
            TimmUNet("resnet18", in_channels=1, out_channels=2)

    def test_options_are_checked_against_its_arguments(self) -> None:
        options = {"encoder": "resnet18", "decoder_channels": [8, 8, 8, 8, 8], "pretrained": False}
        assert check(TimmUNet, options, "teacher") == options
        with pytest.raises(UserError, match=r"decoder_channels\.1"):
            check(TimmUNet, {"decoder_channels": [8, 0]}, "teacher")
