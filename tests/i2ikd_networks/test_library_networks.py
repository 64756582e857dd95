"""Networks of MONAI and deepinv map one image of any size to one of the same size, with the library's weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import i2ikd
from i2ikd import Batch, ExportRequest, testing
from i2ikd.evaluation.profile import profile
from i2ikd.export_form import form_of, stand_in
from i2ikd.network import conditions_for

Build = Callable[..., nn.Module]

NETWORKS: list[tuple[str, str, dict[str, Any]]] = [
    ("monai", "BasicUNet", {"features": [4, 4, 8, 8, 8, 4]}),
    ("monai", "BasicUNetPlusPlus", {"features": [4, 4, 8, 8, 8, 4]}),
    ("monai", "UNet", {"channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1}),
    ("monai", "AttentionUnet", {"channels": [4, 8], "strides": [2]}),
    ("monai", "SegResNet", {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}),
    ("monai", "SegResNetDS", {"init_filters": 4, "blocks_down": [1, 1, 1]}),
    (
        "monai",
        "DynUNet",
        {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 4, 8]},
    ),
    ("monai", "FlexibleUNet", {"backbone": "resnet18", "decoder_channels": [8, 8, 4, 4, 4]}),
    ("deepinv", "DnCNN", {"depth": 4, "nf": 6}),
    ("deepinv", "UNet", {"channels_per_scale": [4, 8, 8]}),
    ("deepinv", "DRUNet", {"nc": [4, 8, 8, 8], "nb": 1}),
    ("deepinv", "Restormer", {"dim": 8, "num_blocks": [1] * 4, "num_refinement_blocks": 1, "heads": [1, 1, 2, 2]}),
]
UNET: dict[str, Any] = {"channels": [4, 8], "strides": [2]}
"""Options of a small UNet of MONAI, which supports sizes that are multiples of 2."""
PHANTOM = {"name": "phantom", "train": 1, "val": 1, "test": 1, "slices": 2, "size": [33, 26]}


def examples(task: str, **options: Any) -> Batch:
    """Return a batch of two slices of the phantom, of odd size."""
    dataset = i2ikd.create("task", task, dataset=PHANTOM, **options).dataset("train")
    return Batch.collate([dataset[0], dataset[1]])


@pytest.mark.parametrize(("model", "network", "options"), NETWORKS, ids=lambda value: str(value) * (type(value) is str))
def test_the_output_has_the_size_of_the_input(build: Build, model: str, network: str, options: dict[str, Any]) -> None:
    built = build(model, network, in_channels=2, options=options)
    assert type(built).__name__ == network
    assert all(module.training for module in built.modules())
    for size in ((21, 34), (5, 3), (1, 1)):
        for training in (True, False):
            output = built.train(training)(torch.rand(1, 2, *size))
            assert output.shape == (1, 2, *size)
            assert torch.isfinite(output).all()


@pytest.mark.parametrize(
    ("model", "network", "options", "multiple"),
    [
        ("monai", "UNet", {"channels": [4, 8, 8], "strides": [2, 2]}, 4),
        ("monai", "UNet", {"channels": [4, 8], "strides": [3]}, 3),
        ("monai", "UNet", {"channels": [4, 8, 8], "strides": [2, 3]}, 6),
        ("deepinv", "DnCNN", {"depth": 3, "nf": 4}, 1),
    ],
)
def test_an_image_is_padded_by_reflection_to_a_supported_size(
    build: Build, model: str, network: str, options: dict[str, Any], multiple: int
) -> None:
    sizes: list[tuple[int, ...]] = []
    built = build(model, network, options=options).eval()
    first = next(module for module in built.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    image = torch.rand(1, 1, 12, 17)
    output = built(image)
    assert sizes == [(12, -(-17 // multiple) * multiple)]
    padded = F.pad(image, (0, sizes[0][1] - 17, 0, 0), mode="reflect")
    assert torch.equal(output, built(padded)[..., :17])


@pytest.mark.parametrize(("model", "namespace", "network", "options", "fixed"), [
    ("monai", "monai.networks.nets", "UNet", UNET, {"spatial_dims": 2}),
    ("monai", "monai.networks.nets", "BasicUNet", {"features": [4, 4, 8, 8, 8, 4]}, {"spatial_dims": 2}),
    ("deepinv", "deepinv.models", "DnCNN", {"depth": 4, "nf": 6}, {"pretrained": None}),
])  # fmt: skip
def test_it_equals_the_network_of_the_library_plus_its_input_when_residual(
    build: Build, model: str, namespace: str, network: str, options: dict[str, Any], fixed: dict[str, Any]
) -> None:
    network_of_i2ikd = build(model, network, in_channels=2, residual=True, options=options)
    state_after = torch.get_rng_state()
    torch.manual_seed(11)
    kind = getattr(importlib.import_module(namespace), network)
    library_network = kind(in_channels=2, out_channels=2, **fixed, **options)
    assert torch.equal(state_after, torch.get_rng_state())
    assert isinstance(network_of_i2ikd, kind)
    assert list(network_of_i2ikd.state_dict()) == list(library_network.state_dict())
    assert [path for path, _ in network_of_i2ikd.named_modules()] == [
        path for path, _ in library_network.named_modules()
    ]
    library_network.load_state_dict(network_of_i2ikd.state_dict())
    image = torch.rand(2, 2, 32, 44)
    with torch.no_grad():
        torch.testing.assert_close(network_of_i2ikd.eval()(image), image + library_network.eval()(image))
        plain = build(model, network, in_channels=2, residual=False, options=options).eval()
        torch.testing.assert_close(plain(image), library_network(image))


def test_it_maps_to_another_number_of_channels(build: Build) -> None:
    for model, network, options in NETWORKS[2], ("deepinv", "UNet", {"channels_per_scale": [4, 8], "residual": False}):
        built = build(model, network, in_channels=3, out_channels=1, residual=False, options=options)
        assert built(torch.rand(2, 3, 9, 14)).shape == (2, 1, 9, 14)


def test_sigma_is_passed_to_a_network_that_requires_a_noise_level(build: Build) -> None:
    image = torch.rand(1, 1, 32, 40)
    options = {"nc": [4, 4, 4, 4], "nb": 1}
    built = build("deepinv", "DRUNet", sigma=0.2, options=options).eval()
    kind = type(built).__mro__[2]
    assert torch.equal(built(image), kind.forward(built, image, 0.2))
    other = build("deepinv", "DRUNet", sigma=0.3, options=options).eval()
    assert not torch.equal(built(image), other(image))


@pytest.mark.parametrize(("task", "channels", "settings"), [
    ("mri-recon", 1, {"mode": "real"}),
    ("mri-recon", 2, {"mode": "complex"}),
    ("mri-sr", 1, {"factor": 2}),
])  # fmt: skip
@pytest.mark.parametrize("number", [2, 4, 8, 10])
def test_it_conforms_on_every_task(
    build: Build, drawn_once: None, number: int, task: str, channels: int, settings: dict[str, Any]
) -> None:
    model, network, options = NETWORKS[number]
    batch = examples(task, **settings)
    assert batch.input.shape == (2, channels, 33, 26)
    assert conditions_for(build(model, network, in_channels=channels, options=options), batch) == {}
    testing.check_model(lambda: build(model, network, in_channels=channels, options=options), batch)


@pytest.mark.parametrize("number", [2, 8])
def test_the_exported_program_has_the_same_output(build: Build, drawn_once: None, number: int, tmp_path: Path) -> None:
    model, network, options = NETWORKS[number]
    built, batch = build(model, network, in_channels=2, options=options).eval(), examples("mri-recon", mode="complex")
    request = ExportRequest(built, lambda: form_of(built, batch), stand_in(batch, 2), fixed=True)
    i2ikd.create("exporter", "torch-export").write(request, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(program(batch.input), built(batch.input))


def test_the_profile_has_the_multiply_adds_of_its_convolutions(build: Build) -> None:
    built = build("deepinv", "DnCNN", in_channels=2, options={"depth": 4, "nf": 6})
    costs = profile(built, Batch(torch.rand(1, 2, 9, 14), torch.rand(1, 2, 9, 14)), repeats=1, warm_up=0)
    weights = 9 * (2 * 6 + 6 * 6 + 6 * 6 + 6 * 2)
    assert costs.macs == weights * 9 * 14
    assert costs.parameters == weights + 3 * 6 + 2
