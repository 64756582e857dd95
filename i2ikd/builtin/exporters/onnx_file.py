"""Exporter ``onnx``: real arithmetic, opset 18 or newer, free batch, height and width."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from i2ikd.builtin.exporters.onnx_precision import half_weights, quantised
from i2ikd.builtin.exporters.packages import require
from i2ikd.builtin.exporters.torch_export import interface
from i2ikd.errors import UserError
from i2ikd.export_form import free_axes
from i2ikd.exporter import Delivered, Exporter, ExportRequest, Precision
from i2ikd.files import write_atomically
from i2ikd.sample import Batch

OPSET = 18


class Onnx(Exporter):
    """An ONNX model of real arithmetic for ONNX Runtime; inputs and output are float32 in every precision.

    ``fp16`` stores weights in half precision and computes in float32. ``int8`` quantises convolutions with one scale
    for each output channel and static ranges of activations (QDQ); all other arithmetic, such as data consistency,
    stays float32. ONNX Runtime has no kernels for bf16 on CPUs.
    """

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "int8")

    def write(self, request: ExportRequest, path: Path) -> None:
        """Write the model; see ``Exporter.write``."""
        model = onnx_model(request, "onnx")
        if request.precision == "fp16":
            half_weights(model)
        if request.precision == "int8":
            slices = [arrays(request, batch) for batch in request.calibration]
            model = quantised(model, slices, path.parent, request.full_precision_weights)
        write_atomically(path, model.SerializeToString())

    def load(self, request: ExportRequest, path: Path) -> Delivered:
        """Load the model in ONNX Runtime on the CPU; see ``Exporter.load``."""
        runtime = require("onnxruntime", "onnx", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"onnxruntime cannot load {path.name}: {' '.join(str(error).split())[:300]}") from error

        def run(inputs: Mapping[str, np.ndarray]) -> Tensor:
            return torch.from_numpy(session.run(None, dict(inputs))[0])

        return delivered(request, f"onnxruntime {runtime.__version__}", run)


def onnx_model(request: ExportRequest, exporter: str) -> Any:
    """Convert the form of a network to an ``onnx.ModelProto`` in fp32, once for requests that share conversions.

    Args:
        request: form and example; its precision is ignored.
        exporter: name of the calling exporter, for messages.

    Raises:
        UserError: a package is missing, or the network cannot be traced or converted.
    """
    for package in ("onnx", "onnxscript"):
        require(package, exporter, exporter)
    key = f"onnx, fixed {request.fixed}"
    if key not in request.conversions:
        request.conversions[key] = _converted(request, exporter)
    return copy.deepcopy(request.conversions[key])


def _converted(request: ExportRequest, exporter: str) -> Any:
    inputs = {name: tensor.contiguous() for name, tensor in request.form.inputs(request.batch).items()}
    free = free_axes(inputs, request.fixed)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = _shapes(request, [dict.fromkeys(free[name], dynamic) for name in inputs])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(request.form.network, tuple(inputs.values()), dynamic_shapes=shapes)
            made = torch.onnx.export(
                program,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["output"],
                dynamo=True,
                verbose=False,
            )
        assert made is not None
        model = made.model_proto
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UserError(f"{exporter}: {type(request.network).__name__} cannot be converted: {reason}") from error
    _name_axes(model, free)
    _strip(model)
    return model


def _shapes(request: ExportRequest, free: list[dict[int, Any]]) -> tuple[Any, ...]:
    """Return dynamic shapes in the structure of the arguments of ``forward``, whose last may be ``*conditions``."""
    parameters = list(inspect.signature(request.form.network.forward).parameters.values())
    for index, parameter in enumerate(parameters):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return (*free[:index], tuple(free[index:])) if free[index:] else tuple(free)
    return tuple(free)


def arrays(request: ExportRequest, batch: Batch) -> dict[str, np.ndarray]:
    """Return the inputs of the form for a batch as float32 arrays."""
    return {name: tensor.contiguous().numpy() for name, tensor in request.form.inputs(batch).items()}


def delivered(request: ExportRequest, runtime: str, run: Any) -> Delivered:
    """Return a loaded file whose inputs are those of the form."""

    @torch.inference_mode()
    def reference(batch: Batch) -> Tensor:
        return request.form(batch)

    return Delivered(
        runtime=runtime,
        inputs=lambda batch: arrays(request, batch),
        run=run,
        reference=reference,
        interface=interface(request.form.inputs(request.batch), request.fixed),
    )


def _name_axes(model: Any, free: dict[str, dict[int, str]]) -> None:
    """Name the free axes of inputs and output; names of axes in the file are those of the documentation."""
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, word in free.get(value.name, {}).items():
            names[value.type.tensor_type.shape.dim[axis].dim_param] = word
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]


def _strip(model: Any) -> None:
    """Remove notes of the converter, which contain paths of this machine."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
