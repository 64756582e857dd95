"""``i2ikd export``: deliver a trained network in a format of another runtime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError

if TYPE_CHECKING:
    from i2ikd.deploy.export import ExportReport


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write; its ending decides the format (.onnx, .xml, .pt2, .safetensors).",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write instead, which works alone: models in fp32 and int8, program, test vector, model card.",
)
@click.option(
    "--push-to-hub",
    "hub",
    metavar="OWNER/NAME",
    help="With --bundle: upload the folder to Hugging Face, to a new private repository or an existing one.",
)
@click.option("--web", is_flag=True, help="With --bundle: add a page that runs the network in a browser.")
@click.option(
    "--web-runtime",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="With --web: put onnxruntime-web into the bundle, from the file of `npm pack onnxruntime-web` or its folder.",
)
@click.option("--format", "name", metavar="NAME", help="Exporter, if not by the ending; see `i2ikd list exporters`.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the file.",
)
@click.option(
    "--calibration",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="N",
    help="Training slices that the ranges of int8 are determined from.",
)
@click.option("--size", metavar="HEIGHTxWIDTH", help="The only size of images that the file is for; default: any size.")
@click.option(
    "--slices",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="Test slices on which the file is compared with the network.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@options.trust
@options.overrides
@options.as_json
def command(
    run: Path,
    output: Path | None,
    bundle: Path | None,
    hub: str | None,
    web: bool,
    web_runtime: Path | None,
    name: str | None,
    precision: str,
    calibration: int,
    size: str | None,
    slices: int,
    force: bool,
    trust: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Export the network in the folder RUN (e.g. runs/brain-4x/students/kd-mri/seed0).

    The file is loaded in its runtime, compared with the network on test slices and timed; a file that disagrees with
    the network is not written. It contains no data of a subject.
    """
    from i2ikd.deploy.bundle import write_bundle
    from i2ikd.deploy.export import ExportSettings, choose_exporter, export
    from i2ikd.deploy.hub import hub_client, push_bundle
    from i2ikd.experiment.delivery import origin_of
    from i2ikd.experiment.finished import context_of, finished_network, finished_run
    from i2ikd.experiment.metrics import table_metrics
    from i2ikd.registry import default_registry

    settings = ExportSettings(precision, _size(size), calibration, slices, force=force)  # type: ignore[arg-type]
    if (output is None) == (bundle is None):
        raise UserError("expected one of --output FILE and --bundle DIR, got " + ("none" if output is None else "both"))
    if hub is not None and bundle is None:
        raise UserError(f"--push-to-hub {hub}: expected --bundle DIR, the folder that is uploaded, got --output")
    if web_runtime is not None and not web:
        raise UserError(f"--web-runtime {web_runtime}: expected --web, the page that needs it; add --web")
    if web and bundle is None:
        raise UserError("--web: expected --bundle DIR, the folder that has the page, got --output")
    client = None if hub is None else hub_client(hub)
    exporter = None if output is None else choose_exporter(default_registry(), output, name)
    context = context_of(run, None, overrides, trust)
    columns, metrics = table_metrics(context)
    scored = {column: metrics[metric] for column, metric in columns.items()}
    network = finished_network(context.registry, run, context.experiment)
    if bundle is not None:
        origin = origin_of(run, finished_run(run), context)
        reports = write_bundle(
            network, context.task, scored, context.registry, bundle, settings, origin, web, web_runtime
        )
    else:
        assert output is not None and exporter is not None
        reports = [export(network, context.task, scored, exporter, output, settings)]
    if as_json:
        documents = [report.as_json() for report in reports]
        print_json(documents[0] if bundle is None else documents)
    else:
        for report in reports:
            _print(report)
    if hub is not None and bundle is not None:
        address = push_bundle(bundle, hub, client)
        click.echo(f"uploaded: {address}", err=as_json)


def _size(text: str | None) -> tuple[int, int] | None:
    """Return height and width of a text such as ``256x192``."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--size: expected HEIGHTxWIDTH, such as 256x192, got {text!r}")
    return int(match[1]), int(match[2])


def _print(report: ExportReport) -> None:
    """Print what was written, how it compares, and how it is called."""
    import torch

    agreement, latency = report.agreement, report.latency
    click.echo(
        f"{report.path}: {report.size_bytes / 2**20:.2f} MiB, {report.exporter}, {report.precision}, {report.runtime}"
    )
    for name, shape in report.interface.items():
        click.echo(f"  input {name}: [{', '.join(str(length) for length in shape)}]")
    found = agreement.held_out
    if found is not None:
        click.echo(
            f"  {agreement.slices} test slices: largest difference to the network {found.largest_difference:.2g}, root "
            f"mean square {found.rms_difference:.2g}"
        )
    for column, values in agreement.metrics.items():
        click.echo(f"  {column}: {values['network']:.4f} network, {values['file']:.4f} file")
    eager, file = latency["eager"].median_ms, latency["file"].median_ms
    click.echo(
        f"  one slice: {file:.2f} ms, {report.speedup:.2f} times as fast as eager torch ({eager:.2f} ms), "
        f"{torch.get_num_threads()} threads"
    )
