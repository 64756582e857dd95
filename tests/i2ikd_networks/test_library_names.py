"""Selection of a network of another library by name: errors of one line for all that cannot be used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest
from i2ikd_networks import plugin

import i2ikd
from i2ikd import UserError, testing

AUTOENCODER = {"num_res_blocks": [1], "channels": [32], "attention_levels": [False]}
HALVING = {"kernel_size": [3] * 3, "strides": [2, 2, 2], "upsample_kernel_size": [2, 2], "filters": [2, 2, 2]}
UNETR = {"img_size": 32, "hidden_size": 12, "mlp_dim": 8, "num_heads": 3, "feature_size": 2}


def refused(model: str, message: str, **settings: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        i2ikd.create("model", model, **settings)
    assert "\n" not in str(caught.value)


def test_the_plugin_conforms() -> None:
    testing.check_plugin(plugin)


def test_models_are_listed_without_importing_a_library() -> None:
    code = "import i2ikd, sys; print(*i2ikd.list_components('model')); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    models, modules = (set(line.split()) for line in run.stdout.splitlines())
    assert {"monai", "deepinv"} <= models
    assert "i2ikd_networks.plugin" in modules
    assert not {"torch", "monai", "deepinv", "i2ikd_networks.models"} & modules


@pytest.mark.parametrize(("model", "title", "namespace"), [
    ("monai", "MONAI", "monai.networks.nets"),
    ("deepinv", "deepinv", "deepinv.models"),
])  # fmt: skip
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, model: str, title: str, namespace: str
) -> None:
    monkeypatch.setitem(sys.modules, model, None)
    monkeypatch.setitem(sys.modules, namespace, None)
    refused(model, rf'^the model {model!r} needs {title}, which is not installed: pip install "i2ikd\[{model}\]"$')


class TestMonai:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("monai")

    def test_a_misspelt_network_or_option_names_the_nearest(self) -> None:
        refused("monai", "MONAI has no network 'SegResnet'; did you mean 'SegResNet'", network="SegResnet")
        refused("monai", "BasicUNet: unknown argument 'feature'; did you mean 'features'", options={"feature": [4]})
        refused("monai", "unknown option 'netwrok'; did you mean 'network'", netwrok="UNet")

    def test_names_outside_the_public_namespace_are_unknown(self) -> None:
        for name in ("monai.networks.nets.UNet", "unet.UNet", "__builtins__", "resnet18", "warnings"):
            refused("monai", "MONAI has no network", network=name)

    def test_missing_required_options_are_named(self) -> None:
        refused("monai", "options of UNet: channels, strides must be set", network="UNet")
        refused("monai", "UNet: strides must be set", network="UNet", options={"channels": [4, 8]})

    def test_dimensions_channels_and_weights_are_not_options(self) -> None:
        for name in ("spatial_dims", "out_channels"):
            refused("monai", f"{name!r} cannot be set", options={name: 3})
        options = {"backbone": "efficientnet-b0", "pretrained": True}
        refused("monai", "'pretrained' cannot be set.*weights =", network="FlexibleUNet", options=options)

    def test_the_error_of_a_constructor_is_reported(self) -> None:
        options = {"channels": [4, 8, 16], "strides": [2]}
        refused("monai", "UNet cannot be built: ValueError: .*strides", network="UNet", options=options)

    def test_a_residual_network_has_as_many_output_as_input_channels(self) -> None:
        refused("monai", r"output channels \(1\) as input channels \(2\)", in_channels=2, out_channels=1)

    @pytest.mark.parametrize(
        ("network", "options", "reason"),
        [
            ("DenseNet121", {}, r"expected one output image \[B, C, H, W\], got a tensor \[1, 1\]$"),
            (
                "BasicUNetPlusPlus",
                {"features": [8] * 6, "deep_supervision": True},
                "expected one output image .* got a list; if this is deep supervision, disable it",
            ),
            ("AutoencoderKL", AUTOENCODER, "expected one output image .* got a tuple"),
            ("DiffusionModelUNet", {}, "it requires timesteps besides the image"),
            ("UNETR", UNETR, "expected an output of the size of the input, got another for all sizes; .* must match"),
            ("DynUNet", HALVING, "expected an output of the size of the input.* 64 x 96 from 128 x 192"),
            ("VoxelMorph", {}, "has no argument for the number of channels"),
        ],
    )
    def test_a_network_that_is_not_image_to_image_is_refused_with_the_reason(
        self, network: str, options: dict[str, Any], reason: str
    ) -> None:
        refused("monai", f"{network} .*{reason}", network=network, options=options)

    def test_deep_supervision_in_training_mode_is_refused(self) -> None:
        options = {
            "kernel_size": [3, 3, 3, 3],
            "strides": [1, 2, 2, 2],
            "upsample_kernel_size": [2, 2, 2],
            "filters": [4, 4, 8, 8],
            "deep_supervision": True,
        }
        refused("monai", "DynUNet .*got a tensor .*deep supervision, disable it", network="DynUNet", options=options)


class TestDeepinv:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("deepinv")

    def test_a_misspelt_network_or_option_names_the_nearest(self) -> None:
        refused("deepinv", "deepinv has no network 'DNCNN'; did you mean 'DnCNN'", network="DNCNN")
        refused("deepinv", "DnCNN: unknown argument 'dept'; did you mean 'depth'", options={"dept": 4})

    def test_nothing_is_downloaded_and_no_file_is_read(self) -> None:
        for value in ("download", "weights.pth", None):
            refused("deepinv", "'pretrained' cannot be set", network="DRUNet", options={"pretrained": value})
        refused("deepinv", "'device' cannot be set", options={"device": "cuda"})

    @pytest.mark.parametrize("network", ["Client", "DEAL", "DiffusersDenoiserWrapper", "BM3D"])
    def test_a_class_without_a_channels_argument_is_refused(self, network: str) -> None:
        if not hasattr(importlib.import_module("deepinv.models"), network):
            pytest.skip(f"this version of deepinv has no {network}")
        refused("deepinv", f"{network} has no argument for the number of channels.*DRUNet", network=network)

    def test_a_network_with_further_inputs_is_refused(self) -> None:
        refused("deepinv", "PDNet_PrimalBlock cannot be used: it requires Atu besides", network="PDNet_PrimalBlock")

    def test_a_third_dimension_is_refused(self) -> None:
        refused(
            "deepinv",
            "DnCNN cannot be used: .*expected an output of the size of the input",
            options={"dim": 3, "depth": 3, "nf": 2},
        )
