"""Exporter ``openvino``: OpenVINO's intermediate representation (``.xml`` and ``.bin``)."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from i2ikd.builtin.exporters.onnx_file import arrays, delivered, onnx_model
from i2ikd.builtin.exporters.packages import require
from i2ikd.builtin.exporters.signal_stack import signal_stack_kept
from i2ikd.errors import UserError
from i2ikd.exporter import Delivered, Exporter, ExportRequest, Precision

CPU_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""Without the first, CPUs with bf16 units compute everything in bf16, which ruins data consistency."""

ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "MatMul")


class OpenVino(Exporter):
    """An OpenVINO model of real arithmetic, converted from ONNX; inputs and output are float32 in every precision.

    ``fp16`` stores weights in half precision. ``int8`` quantises convolutions with NNCF, with one scale for each output
    channel; products and sums of computed tensors, such as data consistency, stay float32; the model takes one slice of
    any size, or any number of slices of a fixed size. Compile the model with ``INFERENCE_PRECISION_HINT = "f32"``.

    Args:
        int8_trained: whether the network was trained with the values that int8 gives it. Its biases are then not
            corrected, and the weights of first layers have 8 bits; with 7, sums cannot saturate on CPUs without VNNI.
    """

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "int8")

    def __init__(self, int8_trained: bool = False) -> None:
        self._int8_trained = int8_trained

    @signal_stack_kept()
    def write(self, request: ExportRequest, path: Path) -> None:
        """Write the model; see ``Exporter.write``."""
        openvino = require("openvino", "openvino", "openvino")
        proto = onnx_model(request, "openvino")
        model = openvino.Core().read_model(io.BytesIO(proto.SerializeToString()))
        if request.precision == "int8":
            slices = [arrays(request, batch) for batch in request.calibration]
            model = _quantised(model, slices, request.full_precision_weights, self._int8_trained)
            if _one_slice(request):
                model.reshape({port.get_any_name(): [1, *list(port.partial_shape)[1:]] for port in model.inputs})
        openvino.save_model(model, str(path), compress_to_fp16=request.precision == "fp16")

    @signal_stack_kept()
    def load(self, request: ExportRequest, path: Path) -> Delivered:
        """Compile the model for the CPU; see ``Exporter.load``."""
        openvino = require("openvino", "openvino", "openvino")
        settings = CPU_SETTINGS | {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", settings)
        except Exception as error:
            raise UserError(f"openvino cannot load {path.name}: {' '.join(str(error).split())[:300]}") from error

        def run(inputs: Mapping[str, np.ndarray]) -> Tensor:
            return torch.from_numpy(np.array(compiled(dict(inputs))[0]))

        def run_slices(inputs: Mapping[str, np.ndarray]) -> Tensor:
            count = len(next(iter(inputs.values())))
            slices = ({name: array[index : index + 1] for name, array in inputs.items()} for index in range(count))
            return torch.cat([run(one) for one in slices])

        version = f"openvino {openvino.__version__.partition('-')[0]}"
        if not _one_slice(request):
            return delivered(request, version, run)
        loaded = delivered(request, version, run_slices)
        return replace(loaded, interface={name: [1, *shape[1:]] for name, shape in loaded.interface.items()})


def _one_slice(request: ExportRequest) -> bool:
    """Whether the model takes one slice at a time.

    With batch, height and width all free, the int8 convolutions of OpenVINO 2026.4 on CPUs err by 20 times the rounding
    of the quantisation; with a fixed batch or a fixed size they do not (``test_formats.py``).
    """
    return request.precision == "int8" and not request.fixed


def _quantised(
    model: Any, calibration: Sequence[dict[str, np.ndarray]], full_precision: Collection[str], trained: bool
) -> Any:
    """Return the model with convolutions in int8; ranges of activations are those of the calibration data."""
    kept = [*_full_precision_nodes(model), *_convolutions_of(model, full_precision)]
    with _quiet():
        nncf = require("nncf", "openvino", "openvino")
        nncf.set_log_level(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            ranges = importlib.import_module("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
            return nncf.quantize(
                model,
                nncf.Dataset(calibration),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
                subset_size=len(calibration),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=ranges,
                    disable_bias_correction=trained,
                    overflow_fix=nncf.OverflowFix.DISABLE if trained else nncf.OverflowFix.FIRST_LAYER,
                ),
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages, and usage data that NNCF would send over the network; it reads the variable on import."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.pop("NNCF_CI")
        if before is not None:
            os.environ["NNCF_CI"] = before


def _full_precision_nodes(model: Any) -> list[str]:
    """Return the names of arithmetic that is neither a layer with weights nor the bias of a convolution."""
    names = []
    for node in model.get_ops():
        if node.get_type_name() not in ARITHMETIC:
            continue
        sources = [port.get_source_output().get_node().get_type_name() for port in node.inputs()]
        weights = node.get_type_name() == "MatMul" and "Constant" in sources
        bias = "Constant" in sources and any("Convolution" in source for source in sources)
        if not weights and not bias:
            names.append(node.get_friendly_name())
    return names


def _convolutions_of(model: Any, weights: Collection[str]) -> list[str]:
    """Return the names of the convolutions with weights of these names."""
    names = []
    for node in model.get_ops():
        if "Convolution" in node.get_type_name():
            source = node.input(1).get_source_output().get_node()
            if source.get_friendly_name() in weights:
                names.append(node.get_friendly_name())
    return names
