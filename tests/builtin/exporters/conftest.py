"""Networks of every bundled kind, tiny, with a batch of their task."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import Batch, ExportRequest
from i2ikd.builtin.exporters import onnx_file, openvino_file
from i2ikd.export_form import form_of, stand_in


class Denoiser(nn.Module):
    """The network of the page about own networks."""

    def __init__(self, width: int = 8, depth: int = 3) -> None:
        super().__init__()
        blocks = [nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU())]
        for _ in range(depth - 2):
            blocks.append(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()))
        self.body = nn.Sequential(*blocks)
        self.tail = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        return input + self.tail(self.body(input))


class Weighted(Denoiser):
    """A network that depends on one of its conditions, taken by any name."""

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        return input + conditions["mask"] * self.tail(self.body(input))


class Single(Denoiser):
    """A network with one argument, of a name of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def undersampled(samples: int, height: int, width: int, images: int = 1, lines: bool = True, seed: int = 0) -> Batch:
    """Return zero-filled images with k-space and mask."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(samples, 1, height, width, generator=random) + 0j
    mask = (torch.rand(samples, 1, height, 1 if lines else width, generator=random) < 0.5).float()
    kspace = torch.fft.fft2(image, norm="ortho") * mask
    zero_filled = torch.fft.ifft2(kspace, norm="ortho")
    channels = zero_filled.real if images == 1 else torch.cat([zero_filled.real, zero_filled.imag], 1)
    return Batch(channels.contiguous(), torch.zeros_like(channels), {"kspace": kspace, "mask": mask})


def images(samples: int, height: int, width: int, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(samples, 1, height, width, generator=random)
    return Batch(image, torch.zeros_like(image))


def model(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: i2ikd.create("model", name, **options)


def recon(mode: str, cascades: int = 1) -> Callable[[], nn.Module]:
    return model("dc-cnn", cascades=cascades, depth=2, channels=8, mode=mode)


def real_lines(*shape: int, seed: int = 0) -> Batch:
    return undersampled(*shape, seed=seed)


def real_plane(*shape: int, seed: int = 0) -> Batch:
    return undersampled(*shape, lines=False, seed=seed)


def complex_lines(*shape: int, seed: int = 0) -> Batch:
    return undersampled(*shape, images=2, seed=seed)


def complex_plane(*shape: int, seed: int = 0) -> Batch:
    return undersampled(*shape, images=2, lines=False, seed=seed)


Batches = Callable[..., Batch]

CASES: dict[str, tuple[Callable[[], nn.Module], Batches]] = {
    "dc-cnn-real-lines": (recon("real", cascades=2), real_lines),
    "dc-cnn-real-plane": (recon("real"), real_plane),
    "dc-cnn-complex-lines": (recon("complex"), complex_lines),
    "dc-cnn-complex-plane": (recon("complex"), complex_plane),
    "vdsr": (model("vdsr", depth=3, channels=8), images),
    "upsampling-cnn": (model("upsampling-cnn", depth=2, channels=8, factor=2), images),
    "timm-unet": (model("timm-unet", encoder="test_efficientnet", decoder_channels=[4] * 5), images),
    "monai": (model("monai", network="UNet", options={"channels": [4, 8], "strides": [2]}), images),
    "deepinv": (model("deepinv", network="DnCNN", options={"depth": 3, "nf": 8}), images),
    "docs": (Denoiser, real_lines),
    "conditional": (Weighted, real_lines),
    "single": (Single, real_lines),
}


@dataclass(frozen=True)
class Case:
    """A network in eval mode, and batches of its task by number of samples, height and width."""

    network: nn.Module
    batches: Batches

    def request(self, precision: str = "fp32", size: tuple[int, int] | None = None) -> ExportRequest:
        example = self.batches(2, 24, 20, seed=1)
        return ExportRequest(
            network=self.network,
            make_form=partial(form_of, self.network, example),
            batch=stand_in(example, 2, size or (24, 20)),
            precision=precision,  # type: ignore[arg-type]
            fixed=size is not None,
            calibration=[self.batches(1, 24, 20, seed=seed) for seed in range(2, 6)] if precision == "int8" else (),
        )


@pytest.fixture
def case(no_network: None) -> Callable[[str], Case]:
    """Return a function that builds a case from a fixed seed."""

    def build(name: str) -> Case:
        for library in ("monai", "deepinv"):
            if name == library:
                pytest.importorskip(library)
        torch.manual_seed(3)
        make, batches = CASES[name]
        network = make().eval()
        last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
        if not last.weight.any():  # networks that start as the identity
            nn.init.normal_(last.weight, std=0.1)
        return Case(network, batches)

    return build


@pytest.fixture
def converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert each network once for all formats and precisions that start from its ONNX model in fp32."""
    convert = onnx_file.onnx_model
    models: dict[tuple[int, bool], Any] = {}

    def cached(request: ExportRequest, exporter: str) -> Any:
        key = (id(request.network), request.fixed)
        if key not in models:
            models[key] = convert(request, exporter)
        return copy.deepcopy(models[key])

    monkeypatch.setattr(onnx_file, "onnx_model", cached)
    monkeypatch.setattr(openvino_file, "onnx_model", cached)
