"""A written file computes what the network computes, at other sizes and batch sizes, in its runtime."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import i2ikd
from i2ikd import Batch, Exporter
from i2ikd.network import apply

from .conftest import CASES

FORMATS = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2", "safetensors": ".safetensors"}
SHAPES = [(1, 24, 20), (3, 33, 26)]
FP32_ALONE = {"dc-cnn-real-plane", "dc-cnn-complex-lines"}
"""Quantisation is of convolutions: the other two networks have each mode and each form of mask."""


def exporter(name: str) -> Exporter:
    made: Exporter = i2ikd.create("exporter", name)
    return made


@torch.no_grad()
def expected(network: torch.nn.Module, batch: Batch) -> Tensor:
    return apply(network, Batch(batch.input, torch.empty(0), batch.conditions, labelled=torch.zeros(len(batch))))


@pytest.mark.parametrize("name", CASES)
def test_onnx_and_openvino_agree_with_the_network(
    name: str, case: Callable[[str], Any], converted_once: None, tmp_path: Path
) -> None:
    made = case(name)
    for format_ in ("onnx", "openvino"):
        for precision in ("fp32",) if name in FP32_ALONE else ("fp32", "int8"):
            request = made.request(precision)
            path = tmp_path / f"{precision}{FORMATS[format_]}"
            exporter(format_).write(request, path)
            loaded = exporter(format_).load(request, path)
            for shape in SHAPES:
                batch = made.batches(*shape, seed=9)
                reference = expected(made.network, batch)
                difference = loaded(batch) - reference
                assert difference.shape == reference.shape
                if precision == "fp32":
                    assert float(difference.abs().max()) < 1e-5, (format_, shape)
                else:
                    spread = float(reference.max() - reference.min())
                    rms = float(difference.square().mean().sqrt())
                    # NNCF quantises the inputs of convolutions, onnxruntime the outputs too
                    limit = 0.006 if format_ == "openvino" else 0.02
                    assert 0 < rms < limit * spread, (format_, shape, rms, spread)
                    if name.startswith("dc-cnn-complex"):
                        assert measured_error(loaded(batch), batch) < 1e-5, "the measured samples keep float32"


def measured_error(image: Tensor, batch: Batch) -> float:
    """Return the largest difference of an image [B, 2, H, W] to its measured samples."""
    found = torch.fft.fft2(torch.complex(image[:, :1], image[:, 1:]), norm="ortho") * batch.conditions["mask"]
    return float((found - batch.conditions["kspace"]).abs().max())


@pytest.mark.parametrize("name", ["dc-cnn-real-lines", "dc-cnn-complex-plane", "vdsr", "docs", "conditional", "single"])
def test_a_program_is_called_as_the_network_is(name: str, case: Callable[[str], Any], tmp_path: Path) -> None:
    made = case(name)
    request = made.request()
    exporter("torch-export").write(request, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    used = {"dc-cnn": ["kspace", "mask"], "conditional": ["mask"]}
    names = next((several for start, several in used.items() if name.startswith(start)), [])
    for shape in SHAPES:
        batch = made.batches(*shape, seed=9)
        with torch.no_grad():
            output = program(batch.input, **{name: batch.conditions[name] for name in names})
        torch.testing.assert_close(output, expected(made.network, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("format_", "precision", "tolerance"),
    [
        ("onnx", "fp16", 2e-3),
        ("openvino", "fp16", 2e-3),
        ("torch-export", "bf16", 2e-2),
        ("safetensors", "fp32", 1e-6),
        ("safetensors", "fp16", 2e-3),
        ("safetensors", "bf16", 2e-2),
    ],
)
def test_reduced_precisions(
    format_: str, precision: str, tolerance: float, case: Callable[[str], Any], converted_once: None, tmp_path: Path
) -> None:
    made = case("docs")
    for parameter in made.network.parameters():
        parameter.data.mul_(1.5)
    sizes = {}
    for each in ("fp32", precision):
        request, path = made.request(each), tmp_path / f"{each}{FORMATS[format_]}"
        exporter(format_).write(request, path)
        sizes[each] = path.stat().st_size
    batch = made.batches(2, 24, 20, seed=9)
    difference = exporter(format_).load(request, path)(batch) - expected(made.network, batch)
    assert float(difference.abs().max()) < tolerance
    if precision != "fp32":
        assert float(difference.abs().max()) > 0
    if format_ in ("onnx", "safetensors") and precision != "fp32":
        assert sizes[precision] < sizes["fp32"]


@pytest.mark.parametrize("format_", ["onnx", "torch-export"])
def test_a_file_for_one_size_has_a_free_batch_axis(format_: str, case: Callable[[str], Any], tmp_path: Path) -> None:
    made = case("docs")
    request = made.request(size=(16, 16))
    path = tmp_path / f"network{FORMATS[format_]}"
    exporter(format_).write(request, path)
    loaded = exporter(format_).load(request, path)
    assert loaded.interface == {"input": ["batch", 1, 16, 16]}
    batch = made.batches(3, 16, 16, seed=9)
    torch.testing.assert_close(loaded(batch), expected(made.network, batch), rtol=1e-5, atol=1e-5)
    with pytest.raises(Exception, match=r"(?i)dimension|size|shape"):
        loaded(made.batches(1, 18, 16))


def test_an_onnx_model_has_named_inputs_and_axes_and_no_paths(case: Callable[[str], Any], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    exporter("onnx").write(case("dc-cnn-real-lines").request(), tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    onnx.checker.check_model(model, full_check=True)
    axes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert axes == {
        "input": ["batch", 1, "height", "width"],
        "mask": ["batch", 1, "height", 1],
        "output": ["batch", 1, "height", "width"],
    }
    assert model.opset_import[0].version >= 18
    assert b".py" not in (tmp_path / "network.onnx").read_bytes()


def test_a_magnitude_input_adds_the_measured_image(case: Callable[[str], Any], tmp_path: Path) -> None:
    made = case("dc-cnn-real-lines")

    def magnitude(*shape: int, seed: int = 0) -> Batch:
        batch = CASES["dc-cnn-real-lines"][1](*shape, seed=seed)
        zero_filled = torch.fft.ifft2(batch.conditions["kspace"], norm="ortho").abs()
        return Batch(zero_filled, batch.target, batch.conditions)

    made = type(made)(made.network, magnitude)
    request = made.request()
    exporter("onnx").write(request, tmp_path / "network.onnx")
    loaded = exporter("onnx").load(request, tmp_path / "network.onnx")
    assert list(loaded.interface) == ["input", "mask", "measured"]
    batch = magnitude(2, 33, 26, seed=9)
    torch.testing.assert_close(loaded(batch), expected(made.network, batch), rtol=1e-5, atol=1e-5)


def test_a_program_has_no_example_inputs(case: Callable[[str], Any], tmp_path: Path) -> None:
    exporter("torch-export").write(case("docs").request(), tmp_path / "network.pt2")
    assert torch.export.load(tmp_path / "network.pt2").example_inputs is None
    with zipfile.ZipFile(tmp_path / "network.pt2") as archive:
        assert all(info.file_size < 20_000 for info in archive.infolist())
