"""Networks are captured with plain convolutions, whatever captures them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from i2ikd_mri.data_consistency import keep_missing
from i2ikd_mri.kernels.thin_convolution import ThinConvolution
from torch import nn

import i2ikd


def vdsr() -> nn.Module:
    network: nn.Module = i2ikd.create("model", "vdsr", depth=3, channels=8)
    nn.init.normal_(network.get_parameter("layers.2.convolution.weight"), std=0.1)
    return network.eval()


@pytest.mark.parametrize("gradients", [True, False])
def test_torch_jit_trace(gradients: bool) -> None:
    network = vdsr()
    with warnings.catch_warnings(), torch.set_grad_enabled(gradients):
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.rand(1, 1, 9, 7))
        kinds = [node.kind() for node in traced.inlined_graph.nodes()]
        assert kinds.count("aten::_convolution") == 3
        assert not [kind for kind in kinds if "Python" in kind]
        image = torch.rand(2, 1, 12, 10)
        torch.testing.assert_close(traced(image), network(image))


def test_the_onnx_exporter_that_is_built_on_torch_jit_trace(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    network, path = vdsr(), tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.rand(1, 1, 9, 7),), str(path), dynamo=False, input_names=["input"])
    kinds = [node.op_type for node in onnx.load(path).graph.node if node.op_type != "Identity"]
    assert kinds == ["Conv", "Relu", "Conv", "Relu", "Conv", "Add"]
    image = torch.rand(1, 1, 9, 7)
    (output,) = onnxruntime.InferenceSession(str(path)).run(None, {"input": image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(output), network(image))


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 8), (8, 1)])
def test_torch_jit_script(inputs: int, outputs: int) -> None:
    thin = ThinConvolution(inputs, outputs, 3, padding=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(thin)
    image = torch.rand(2, inputs, 9, 7)
    torch.testing.assert_close(scripted(image), thin(image))


def test_data_consistency_is_traced_where_gradients_are_enabled() -> None:
    missing, axes = torch.rand(1, 1, 5, 1), (-2,)
    image = torch.rand(1, 1, 8, 6, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(lambda x: keep_missing(x, missing, axes, "real"), image)
    assert not [node.kind() for node in traced.inlined_graph.nodes() if "Python" in node.kind()]
    torch.testing.assert_close(traced(2 * image), keep_missing(2 * image, missing, axes, "real"))
