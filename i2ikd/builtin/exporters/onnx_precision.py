"""Precisions of an ONNX model: weights in half precision, and convolutions in int8."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd.builtin.exporters.packages import require
from i2ikd.errors import UserError

CONVOLUTIONS = ("Conv", "ConvTranspose")


def half_weights(model: Any) -> None:
    """Store weights in half precision, in place; a cast to float32 follows each, so that arithmetic stays float32.

    Args:
        model: an ``onnx.ModelProto`` in fp32.
    """
    onnx = require("onnx", "onnx", "onnx")
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def quantised(
    model: Any, calibration: Sequence[dict[str, np.ndarray]], folder: Path, full_precision: Collection[str] = ()
) -> Any:
    """Return a model with convolutions in int8: QDQ, one scale for each output channel, static ranges.

    A ReLU after a convolution is part of its output's range, which then has no bits for negative values.

    Args:
        model: an ``onnx.ModelProto`` in fp32; changed in place.
        calibration: inputs that the ranges of activations (smallest and largest value) are determined from.
        folder: for temporary files.
        full_precision: names of the weights of convolutions that stay float32.

    Raises:
        UserError: onnxruntime is missing, or the model has no convolution to quantise.
    """
    onnx = require("onnx", "onnx", "onnx")
    quantization = require("onnxruntime.quantization", "onnx", "onnx")
    kept = [node.name for node in model.graph.node if _is_convolution(node) and node.input[1] in full_precision]
    if len(kept) == sum(map(_is_convolution, model.graph.node)):
        raise UserError("int8: expected a network with convolutions to quantise, got none; export it in fp32")
    _separate_inputs(model, onnx, kept)
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=folder) as temporary, _quiet():
        source, target = Path(temporary) / "fp32.onnx", Path(temporary) / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            str(source),
            str(target),
            _reader(quantization, calibration),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=[*CONVOLUTIONS, "Relu"],
            nodes_to_exclude=kept,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(target)


def _is_convolution(node: Any) -> bool:
    return node.op_type in CONVOLUTIONS


def _separate_inputs(model: Any, onnx: Any, kept: Sequence[str]) -> None:
    """Let quantised convolutions read copies of tensors that other operations read too, in place.

    ONNX Runtime's quantiser passes the quantised tensor to all of its readers. The image that data consistency adds, or
    a residual connection, would then have 8 bits.
    """
    produced = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes = []
    for node in model.graph.node:
        if _is_convolution(node) and node.name not in kept:
            image = node.input[0]
            source = produced.get(image)
            if source is not None and source.op_type == "Relu":
                source = produced.get(source.input[0])
            is_quantised = source is not None and _is_convolution(source)
            if not is_quantised and not all(map(_is_convolution, readers[image])):
                copied = f"{image}_of_{node.name}"
                nodes.append(onnx.helper.make_node("Identity", [image], [copied], name=f"copy_{copied}"))
                node.input[0] = copied
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _reader(quantization: Any, calibration: Sequence[dict[str, np.ndarray]]) -> Any:
    """Return a reader of the calibration data in onnxruntime's interface."""
    batches: Iterator[dict[str, np.ndarray]] = iter(calibration)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress onnxruntime's advice to simplify a model first, which the converter has done."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
