"""Transforms ``deliver`` and ``int8``: a finished network becomes the file in which it is delivered."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import nn

from i2ikd.config import digest
from i2ikd.deploy.agreement import compare_on_random_inputs, refuse_disagreement
from i2ikd.deploy.delivered_network import DeliveredFile, DeliveredNetwork
from i2ikd.deploy.export import ExportSettings, choose_exporter, export_request
from i2ikd.deploy.mixed_precision import choose_full_precision
from i2ikd.deploy.stored_file import StoredFile, package_versions, state_digest
from i2ikd.errors import UserError
from i2ikd.exporter import ExportRequest, Precision
from i2ikd.recipe import ComponentRef, Reference
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import Task
from i2ikd.transform import Transform

_MODEL = "model"
"""Name of the file, without ending."""


class Deliver(Transform):
    """The file of a format, which computes the row's images in its runtime and is timed in it.

    Its quality in the table is that of the images that the runtime returns, its latency that of the runtime, and its
    size that of the file. The file is kept in the output folder, and made again when the network, the options, the data
    or a version of the packages change.

    Args:
        format: name of an exporter, or a table of its name and options.
        precision: one of the exporter's precisions.
        calibration: training slices that ranges of ``int8`` are determined from.
        fixed: whether the file is for the size of the task's slices alone.
        max_loss: most that ``int8`` may lose in the task's first metric on validation slices, in the unit of the metric
            (dB for PSNR); where it loses more, sensitive convolutions stay float32, see ``choose_full_precision``.
            ``None``: all convolutions are quantised, whatever is lost.
        slices: validation slices that the loss is measured on.
    """

    def __init__(
        self,
        registry: Registry,
        format: ComponentRef = Reference(name="onnx"),  # noqa: B008
        precision: Precision = "fp32",
        calibration: PositiveInt = 64,
        fixed: bool = False,
        max_loss: Annotated[float, Field(ge=0)] | None = None,
        slices: PositiveInt = 64,
    ) -> None:
        self._registry = registry
        self._format = format
        self._precision = precision
        self._settings = ExportSettings(precision, None, calibration)
        self._fixed = fixed
        self._max_loss = max_loss
        self._slices = slices
        if max_loss is not None and precision != "int8":
            raise UserError(f"deliver: expected max_loss with precision = 'int8' alone, got precision = {precision!r}")
        suffixes = registry.get("exporter", format.name).metadata.get("suffixes", "").split()
        self._name = _MODEL + (suffixes[0] if suffixes else "")
        _, self._exporter = choose_exporter(registry, Path(self._name), format.name, format.options)
        self._exporter.refuse_unsupported(precision, format.name)

    def apply(self, network: nn.Module, batches: Iterable[Batch], task: Task) -> nn.Module:
        """Return the network as a file in a temporary folder; see ``apply_stored``."""
        folder = Path(tempfile.mkdtemp(prefix="i2ikd-"))
        delivered = self.apply_stored(network, batches, task, folder)
        weakref.finalize(delivered, shutil.rmtree, folder, ignore_errors=True)
        return delivered

    def apply_stored(self, network: nn.Module, batches: Iterable[Batch], task: Task, folder: Path) -> nn.Module:
        """Return the network as a file in a folder, which is written unless it is there.

        Args:
            network: trained, without transforms of this kind.
            batches: calibration data; the first sample gives the shapes.
            task: of the experiment.
            folder: of the file.

        Raises:
            UserError: a package is missing, the format cannot hold the network, or the file disagrees with it.
        """
        if isinstance(network, DeliveredNetwork):
            raise UserError("deliver: expected a network, got a file; state one of the transforms that make a file")
        network = copy.deepcopy(network).cpu().eval()
        stored = StoredFile(folder, self._name, self._origin(network, task))
        found = stored.read()
        request = self._request(network, batches, task, calibrated=found is None)
        if found is None:
            found = self._write(request, task, stored)
        kept = dataclasses.replace(request, full_precision=frozenset(found.full_precision), calibration=())
        file = DeliveredFile(
            folder / self._name, self._format.name, self._precision, found.size_bytes, found.full_precision, found.loss
        )
        return DeliveredNetwork(network, file, partial(self._exporter.load, kept, file.path)).eval()

    def _origin(self, network: nn.Module, task: Task) -> dict[str, Any]:
        """Return what the file depends on, as JSON values."""
        return {
            "network": state_digest(network),
            "task": digest(task.identity()),
            "format": self._format.model_dump(mode="json"),
            "precision": self._precision,
            "calibration": self._settings.calibration if self._precision == "int8" else None,
            "fixed": self._fixed,
            "max_loss": self._max_loss,
            "slices": self._slices if self._max_loss is not None else None,
            "packages": package_versions(),
        }

    def _request(self, network: nn.Module, batches: Iterable[Batch], task: Task, calibrated: bool) -> ExportRequest:
        example = next(iter(batches)).select(torch.tensor([0]))
        settings = self._settings
        if self._fixed:
            height, width = example.input.shape[-2:]
            settings = dataclasses.replace(settings, size=(int(height), int(width)))
        if not calibrated:
            settings = dataclasses.replace(settings, precision="fp32")
        request = export_request(network, task, example, settings)
        return dataclasses.replace(request, precision=self._precision)

    def _write(self, request: ExportRequest, task: Task, stored: StoredFile) -> Any:
        kept: frozenset[str] = frozenset()
        loss: float | None = None
        if self._max_loss is not None:
            column, metric = next(iter(task.columns.items()))
            scored = {column: self._registry.create("metric", metric)}
            kept, loss = choose_full_precision(
                self._exporter, request, task, scored, self._max_loss, self._slices, self._name
            )
        request = dataclasses.replace(request, full_precision=kept)
        with tempfile.TemporaryDirectory(prefix="i2ikd-") as folder:
            path = Path(folder) / self._name
            self._exporter.write(request, path)
            loaded = self._exporter.load(request, path)
            if self._precision != "int8":  # random inputs exceed the ranges of calibration data
                agreement = compare_on_random_inputs(loaded, request)
                refuse_disagreement(agreement, Path(self._name), self._precision)
            return stored.write(sorted(Path(folder).iterdir()), loaded.runtime, sorted(kept), loss)


def int8(
    registry: Registry,
    format: ComponentRef = Reference(name="onnx"),  # noqa: B008
    calibration: PositiveInt = 64,
    fixed: bool = False,
    max_loss: Annotated[float, Field(ge=0)] | None = None,
    slices: PositiveInt = 64,
) -> Deliver:
    """Return ``deliver`` in int8: post-training quantisation of convolutions, static, one scale an output channel.

    Args:
        registry: of exporters and metrics.
        format: ``onnx`` (quantised by ONNX Runtime, QDQ) or ``openvino`` (by NNCF), or a table of name and options.
        calibration: training slices that ranges of activations are determined from.
        fixed: whether the file is for the size of the task's slices alone.
        max_loss: most that may be lost in the task's first metric on validation slices, in its unit (dB for PSNR),
            before sensitive convolutions stay float32; ``None``: all convolutions are quantised.
        slices: validation slices that the loss is measured on.
    """
    return Deliver(registry, format, "int8", calibration, fixed, max_loss, slices)


def delivery_of(network: nn.Module) -> Mapping[str, Any] | None:
    """Return what the scores of a delivered network depend on beside the network; ``None`` for other networks.

    Args:
        network: of a row of the table.
    """
    if not isinstance(network, DeliveredNetwork):
        return None
    return {"files": StoredFile.digests(network.file.path), "runtime": network.delivered.runtime}
