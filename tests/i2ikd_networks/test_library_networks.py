"""Networks of MONAI and deepinv: the library's own, called with one image of any size, giving one of the same size."""

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
from i2ikd import Batch, testing
from i2ikd.evaluation.profile import profile
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
"""The smallest one of MONAI, which takes sizes that are multiples of 2."""
PHANTOM = {"name": "phantom", "train": 1, "val": 1, "test": 1, "slices": 2, "size": [33, 26]}


def examples(task: str, **options: Any) -> Batch:
    """Two slices of the phantom, of odd size."""
    dataset = i2ikd.create("task", task, dataset=PHANTOM, **options).dataset("train")
    return Batch.collate([dataset[0], dataset[1]])


@pytest.mark.parametrize(("model", "network", "options"), NETWORKS, ids=lambda value: str(value) * (type(value) is str))
def test_gives_an_image_of_the_size_it_was_given(
    build: Build, model: str, network: str, options: dict[str, Any]
) -> None:
    made = build(model, network, in_channels=2, options=options)
    assert type(made).__name__ == network
    assert all(module.training for module in made.modules())
    for size in ((21, 34), (5, 3), (1, 1)):
        for training in (True, False):
            output = made.train(training)(torch.rand(1, 2, *size))
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
def test_an_image_is_padded_by_reflection_to_what_the_network_can_take(
    build: Build, model: str, network: str, options: dict[str, Any], multiple: int
) -> None:
    seen: list[tuple[int, ...]] = []
    made = build(model, network, options=options).eval()
    first = next(module for module in made.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    image = torch.rand(1, 1, 12, 17)
    output = made(image)
    assert seen == [(12, -(-17 // multiple) * multiple)]
    padded = F.pad(image, (0, seen[0][1] - 17, 0, 0), mode="reflect")
    assert torch.equal(output, made(padded)[..., :17])


@pytest.mark.parametrize(("model", "namespace", "network", "options", "fixed"), [
    ("monai", "monai.networks.nets", "UNet", UNET, {"spatial_dims": 2}),
    ("monai", "monai.networks.nets", "BasicUNet", {"features": [4, 4, 8, 8, 8, 4]}, {"spatial_dims": 2}),
    ("deepinv", "deepinv.models", "DnCNN", {"depth": 4, "nf": 6}, {"pretrained": None}),
])  # fmt: skip
def test_is_the_librarys_own_network_plus_its_input_when_residual(
    build: Build, model: str, namespace: str, network: str, options: dict[str, Any], fixed: dict[str, Any]
) -> None:
    ours = build(model, network, in_channels=2, residual=True, options=options)
    after_ours = torch.get_rng_state()
    torch.manual_seed(11)
    kind = getattr(importlib.import_module(namespace), network)
    theirs = kind(in_channels=2, out_channels=2, **fixed, **options)
    assert torch.equal(after_ours, torch.get_rng_state())
    assert isinstance(ours, kind)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [path for path, _ in ours.named_modules()] == [path for path, _ in theirs.named_modules()]
    theirs.load_state_dict(ours.state_dict())
    image = torch.rand(2, 2, 32, 44)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(image), image + theirs.eval()(image))
        plain = build(model, network, in_channels=2, residual=False, options=options).eval()
        torch.testing.assert_close(plain(image), theirs(image))


def test_maps_to_another_number_of_channels(build: Build) -> None:
    for model, network, options in NETWORKS[2], ("deepinv", "UNet", {"channels_per_scale": [4, 8], "residual": False}):
        made = build(model, network, in_channels=3, out_channels=1, residual=False, options=options)
        assert made(torch.rand(2, 3, 9, 14)).shape == (2, 1, 9, 14)


def test_a_network_that_needs_a_noise_level_is_given_the_option(build: Build) -> None:
    image = torch.rand(1, 1, 32, 40)
    options = {"nc": [4, 4, 4, 4], "nb": 1}
    made = build("deepinv", "DRUNet", sigma=0.2, options=options).eval()
    kind = type(made).__mro__[2]
    assert torch.equal(made(image), kind.forward(made, image, 0.2))
    other = build("deepinv", "DRUNet", sigma=0.3, options=options).eval()
    assert not torch.equal(made(image), other(image))


@pytest.mark.parametrize(("task", "channels", "settings"), [
    ("mri-recon", 1, {"mode": "real"}),
    ("mri-recon", 2, {"mode": "complex"}),
    ("mri-sr", 1, {"factor": 2}),
])  # fmt: skip
@pytest.mark.parametrize("number", [2, 4, 8, 10])
def test_keeps_the_rules_for_networks_on_every_task(
    build: Build, drawn_once: None, number: int, task: str, channels: int, settings: dict[str, Any]
) -> None:
    model, network, options = NETWORKS[number]
    batch = examples(task, **settings)
    assert batch.input.shape == (2, channels, 33, 26)
    assert conditions_for(build(model, network, in_channels=channels, options=options), batch) == {}
    testing.check_model(lambda: build(model, network, in_channels=channels, options=options), batch)


@pytest.mark.parametrize("number", [2, 8])
def test_is_exported_as_a_program_that_gives_the_same_image(
    build: Build, drawn_once: None, number: int, tmp_path: Path
) -> None:
    model, network, options = NETWORKS[number]
    made, batch = build(model, network, in_channels=2, options=options).eval(), examples("mri-recon", mode="complex")
    i2ikd.get("exporter", "torch-export")(made, batch, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(program(batch.input), made(batch.input))


def test_is_profiled_with_the_multiply_adds_of_its_convolutions(build: Build) -> None:
    made = build("deepinv", "DnCNN", in_channels=2, options={"depth": 4, "nf": 6})
    found = profile(made, Batch(torch.rand(1, 2, 9, 14), torch.rand(1, 2, 9, 14)), repeats=1, warm_up=0)
    weights = 9 * (2 * 6 + 6 * 6 + 6 * 6 + 6 * 2)
    assert found.macs == weights * 9 * 14
    assert found.parameters == weights + 3 * 6 + 2
