"""Export of a trained network: write, load in the runtime, compare, time, and move into place if it agrees."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.deploy.agreement import Agreement, compare, refuse_disagreement
from i2ikd.deploy.delivered_network import DeliveredNetwork
from i2ikd.deploy.slices import EvenSlices
from i2ikd.engine.batches import ordered
from i2ikd.errors import UserError
from i2ikd.evaluation.latency import Latency, first_slice, latency_of_calls, ready
from i2ikd.export_form import form_of, stand_in
from i2ikd.exporter import Delivered, Exporter, ExportRequest, Precision
from i2ikd.metric import Metric
from i2ikd.network import apply
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import Task


@dataclass(frozen=True)
class ExportSettings:
    """Settings of an export.

    Attributes:
        precision: precision of the file.
        size: height and width of the only images that the file is for; ``None``: of any size.
        calibration: number of training slices that int8 ranges are determined from, at least 1.
        slices: number of test slices that the file is compared with the network on, at least 1.
        repeats: rounds of the timing, at least 1.
        force: whether existing files are overwritten.
    """

    precision: Precision = "fp32"
    size: tuple[int, int] | None = None
    calibration: int = 64
    slices: int = 32
    repeats: int = 20
    force: bool = False


@dataclass(frozen=True)
class ExportReport:
    """A written file, and what was measured of it.

    Attributes:
        path: the file.
        exporter: name of the exporter.
        precision: precision of the file.
        size_bytes: of all files of the format.
        runtime: name and version.
        interface: shape of each input by name.
        agreement: comparison with the network.
        latency: latency of one slice of the network in eager mode and of the file, measured in alternation.
    """

    path: Path
    exporter: str
    precision: Precision
    size_bytes: int
    runtime: str
    interface: Mapping[str, Any]
    agreement: Agreement
    latency: Mapping[str, Latency]

    @property
    def speedup(self) -> float:
        """Latency of the network in eager mode, over that of the file."""
        return self.latency["eager"].median_ms / self.latency["file"].median_ms

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "file": str(self.path),
            "format": self.exporter,
            "precision": self.precision,
            "bytes": self.size_bytes,
            "runtime": self.runtime,
            "inputs": {name: list(shape) for name, shape in self.interface.items()},
            **self.agreement.as_json(),
            "latency_ms": {name: latency.median_ms for name, latency in self.latency.items()},
            "eager_over_file": self.speedup,
        }


def choose_exporter(
    registry: Registry, output: Path, name: str | None, options: Mapping[str, Any] | None = None
) -> tuple[str, Exporter]:
    """Return the exporter of a format, with its name.

    Args:
        registry: contains the exporters.
        output: file to write, whose ending decides.
        name: of the exporter; ``None``: the one of the ending.
        options: of the exporter.

    Raises:
        UserError: no exporter writes the ending, or it is not one of the stated exporter's.
    """
    endings = {one.name: one.metadata.get("suffixes", "").split() for one in registry.components("exporter")}
    known = {ending: exporter for exporter, several in endings.items() for ending in several}
    if name is None:
        if output.suffix not in known:
            table = ", ".join(f"{ending} ({exporter})" for ending, exporter in known.items())
            raise UserError(f"{output}: expected an ending of a format: {table}; got {output.suffix!r}")
        name = known[output.suffix]
    component = registry.get("exporter", name)
    own = component.metadata.get("suffixes", "").split()
    if own and output.suffix not in own:
        raise UserError(f"{output}: the format {name} has the ending {' or '.join(own)}, got {output.suffix!r}")
    exporter = registry.create("exporter", name, options or {})
    if not isinstance(exporter, Exporter):
        raise UserError(f"exporter {name!r}: expected an i2ikd.Exporter, got {type(exporter).__name__}")
    return name, exporter


def export(
    network: nn.Module,
    task: Task,
    metrics: Mapping[str, Metric],
    exporter: tuple[str, Exporter],
    output: Path,
    settings: ExportSettings,
) -> ExportReport:
    """Write a file that agrees with the network in its runtime, or none.

    Args:
        network: trained network.
        task: its test slices are compared, its training slices calibrate.
        metrics: metrics of the comparison by column.
        exporter: name and exporter.
        output: file to write.
        settings: precision, sizes and numbers of slices.

    Returns:
        The report of the written file.

    Raises:
        UserError: an existing file without ``force``, a format that cannot hold the network or lacks the precision, or
            a file that disagrees with the network.
    """
    name, format_ = exporter
    format_.refuse_unsupported(settings.precision, name)
    if output.exists() and not settings.force:
        raise UserError(f"{output} exists already; overwrite it with --force, or choose another file")
    if not output.resolve().parent.is_dir():
        raise UserError(f"the folder {output.resolve().parent} does not exist; create it first")
    held_out = EvenSlices(task.dataset("test"), settings.slices)
    if isinstance(network, DeliveredNetwork):
        raise UserError(
            f"{output} was not written: the row is a file already ({network.file.exporter}, {network.file.precision}); "
            f"copy {network.file.path}, or export the row that it is of"
        )
    network = network.cpu().eval()
    request = export_request(network, task, next(iter(ordered(held_out, 1))), settings)
    try:
        with tempfile.TemporaryDirectory(prefix=".i2ikd-", dir=output.resolve().parent) as folder:
            temporary = Path(folder) / output.name
            format_.write(request, temporary)
            loaded = format_.load(request, temporary)
            agreement = compare(loaded, request, task, held_out, metrics)
            refuse_disagreement(agreement, output, settings.precision)
            latency = _latency(network, loaded, request, held_out, settings)
            written = sorted(Path(folder).iterdir(), key=lambda path: path.name == output.name)
            size = sum(path.stat().st_size for path in written)
            _move(written, output, settings.force)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    return ExportReport(output, name, settings.precision, size, loaded.runtime, loaded.interface, agreement, latency)


def export_request(network: nn.Module, task: Task, batch: Batch, settings: ExportSettings) -> ExportRequest:
    """Return the request for a file of a network.

    Args:
        network: trained, on the CPU, in eval mode.
        task: its training slices calibrate int8.
        batch: a slice of the task, which gives the shapes; its values are not passed on.
        settings: precision, size and number of calibration slices.

    Raises:
        UserError: no training slice has the size.
    """
    height, width = settings.size or batch.input.shape[-2:]
    if settings.size is None and height == width:
        width *= 2  # equal sizes could be taken for one axis
    calibration: list[Batch] = []
    if settings.precision == "int8":
        chosen = EvenSlices(task.dataset("train"), settings.calibration)
        calibration = list(ordered(chosen, 1))
        if settings.size is not None:
            calibration = [one for one in calibration if tuple(one.input.shape[-2:]) == settings.size]
            if not calibration:
                raise UserError(
                    f"int8 for {height}x{width} alone: expected training slices of this size, which its ranges are "
                    "determined from, got none; export for any size"
                )
    return ExportRequest(
        network=network,
        make_form=partial(form_of, network, batch),
        batch=stand_in(batch, 2, (height, width)),
        precision=settings.precision,
        fixed=settings.size is not None,
        calibration=calibration,
    )


def _latency(
    network: nn.Module, loaded: Delivered, request: ExportRequest, held_out: EvenSlices, settings: ExportSettings
) -> dict[str, Latency]:
    """Time one slice: a held-out one, or random values where the file is for another size."""
    single = first_slice(next(iter(ordered(held_out, 1))))
    if settings.size is not None and tuple(single.input.shape[-2:]) != settings.size:
        single = first_slice(request.batch)
    eager, inputs = ready(network), loaded.inputs(single)
    runs = {"eager": lambda: apply(eager, single), "file": lambda: loaded.run(inputs)}
    return latency_of_calls(runs, repeats=settings.repeats)


def _move(written: list[Path], output: Path, force: bool) -> None:
    """Move the files of a format into place, the one with the name of the output last."""
    for path in written:
        target = output.with_name(path.name)
        if target.exists() and not force:
            raise UserError(f"{target} exists already; overwrite it with --force, or choose another file")
    for path in written:
        path.replace(output.with_name(path.name))
