"""A delivered network as a folder that works alone: models, configuration, test vector, program, checksums and card."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from i2ikd import __version__
from i2ikd.deploy.card import model_card
from i2ikd.deploy.export import ExportReport, ExportSettings, choose_exporter, export
from i2ikd.deploy.predictor import Predictor
from i2ikd.deploy.prepared import write_preparation
from i2ikd.deploy.web import runtime_files, write_web_page
from i2ikd.engine.batches import ordered
from i2ikd.errors import UserError
from i2ikd.export_form import ExportForm, form_of, stand_in
from i2ikd.files import write_atomically, write_json
from i2ikd.metric import Metric
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import Task

FORMAT = 1
"""Version of the layout of a bundle."""

CONFIG = "config.json"
SUMS = "SHA256SUMS"
MODELS = (("model.onnx", "fp32"), ("model.int8.onnx", "int8"), ("model.safetensors", "fp32"))


@dataclass(frozen=True)
class Origin:
    """Where a delivered network comes from, for its configuration and card.

    Attributes:
        name: of the network, such as ``brain-4x/students/kd-mri/seed0``.
        model: name of the model.
        options: of the model.
        task: section ``[task]`` of the experiment, without paths of this machine.
        digest: of the run.
        columns: name of the metric by column of the comparison.
        rows: rows of the comparison that the run belongs to, as in ``results.json``; may be empty.
        arm: the network's row; ``None`` if there is no comparison.
        worst: lowest mean score of a subject in the first column by row.
        manifest: of the run.
        papers: of the components that the run used.
        run: path of the run in its output folder.
        card: statements of the experiment, ``[card]``.
        data_digests: SHA-256 by what it is of.
        slices: number of slices by split, as text.
        stages: a line for each stage of the training.
        commit: of i2ikd's source at the export.
    """

    name: str
    model: str
    options: Mapping[str, Any]
    task: Mapping[str, Any]
    digest: str
    rows: Sequence[Mapping[str, Any]] = ()
    arm: str | None = None
    worst: Mapping[str, float] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    papers: Sequence[str] = ()
    run: str = "RUN"
    card: Mapping[str, Any] = field(default_factory=dict)
    data_digests: Mapping[str, str] = field(default_factory=dict)
    slices: str = ""
    stages: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None


def write_bundle(
    network: nn.Module,
    task: Task,
    metrics: Mapping[str, Metric],
    registry: Registry,
    folder: Path,
    settings: ExportSettings,
    origin: Origin,
    web: bool = False,
    web_runtime: Path | None = None,
) -> list[ExportReport]:
    """Write a bundle; each model is compared with the network before, and the folder appears whole or not at all.

    Args:
        network: trained network.
        task: for the comparison and the calibration.
        metrics: by column.
        registry: contains the exporters.
        folder: to write.
        settings: of the exports; their precision is not used.
        origin: of the network.
        web: whether the bundle has a page that runs the network in a browser.
        web_runtime: files of onnxruntime-web for it, see ``runtime_files``.

    Returns:
        Reports of the models.

    Raises:
        UserError: the folder exists and ``force`` is not set, or a model cannot be written.
    """
    final = folder.resolve()
    if folder.exists() and not (settings.force and (folder / CONFIG).is_file()):
        remedy = "overwrite the bundle with --force" if (folder / CONFIG).is_file() else "choose another folder"
        raise UserError(f"{folder} exists already; {remedy}")
    if not final.parent.is_dir():
        raise UserError(f"the folder {final.parent} does not exist; create it first")
    if web_runtime is not None:
        runtime_files(web_runtime)  # refused before anything is exported
    with tempfile.TemporaryDirectory(prefix=".i2ikd-", dir=final.parent) as temporary:
        work = Path(temporary) / "bundle"
        work.mkdir()
        reports = []
        for name, precision in MODELS:
            exporter = choose_exporter(registry, work / name, None)
            chosen = replace(settings, precision=precision, force=False)  # type: ignore[arg-type]
            reports.append(export(network, task, metrics, exporter, work / name, chosen))
        batch = next(iter(ordered(task.dataset("test"), 1)))
        form = form_of(network, batch)
        models = _write_test_vector(form, batch, work, settings)
        height, width = settings.size or batch.target.shape[-2:]
        prepared = write_preparation(task, form, (height, width), work)
        inputs = {name: list(shape) for name, shape in reports[0].interface.items()}
        options = None if prepared is None else {"script": bool(prepared.script), **prepared.options}
        write_json(work / CONFIG, {**_config(origin, inputs, models, reports), "preparation": options})
        program = resources.files("i2ikd.deploy.standalone").joinpath("run.py").read_text("utf-8")
        write_atomically(work / "run.py", program)
        write_atomically(work / "README.md", model_card(origin, reports, inputs, prepared is not None))
        if web:
            write_web_page(work, prepared, web_runtime)
        _write_sums(work)
        if folder.exists():
            shutil.rmtree(final)
        work.replace(final)
    return [replace(report, path=folder / report.path.name) for report in reports]


def _config(
    origin: Origin, inputs: Mapping[str, Any], models: Mapping[str, Any], reports: Sequence[ExportReport]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "i2ikd": __version__,
        "name": origin.name,
        "model": origin.model,
        "options": dict(origin.options),
        "task": dict(origin.task),
        "digest": origin.digest,
        "commit": origin.commit,
        "inputs": inputs,
        "output": ["batch", "channels", "height", "width"],
        "models": models,
        "measured": [{**report.as_json(), "file": report.path.name} for report in reports],
    }


def _write_test_vector(form: ExportForm, batch: Batch, work: Path, settings: ExportSettings) -> dict[str, Any]:
    """Write random inputs with the network's output, and return the limit of the difference of each ONNX model."""
    synthetic = stand_in(batch, 1, settings.size, seed=2)
    with torch.inference_mode():
        inputs = {name: tensor.contiguous().numpy() for name, tensor in form.inputs(synthetic).items()}
        expected = form(synthetic).numpy()
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**inputs, "expected": expected}
    np.savez_compressed(buffer, **arrays)
    write_atomically(work / "test_vector.npz", buffer.getvalue())
    spread = float(expected.max() - expected.min()) or 1.0
    models = {}
    for name, precision in MODELS:
        if name.endswith(".onnx"):
            session = Predictor(work, name)
            rms = float(np.sqrt(np.mean((session(**inputs) - expected) ** 2)))
            models[name] = {"precision": precision, "rms_limit": max(1.5 * rms, 1e-5 * spread)}
    return models


def _write_sums(work: Path) -> None:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(work).as_posix()}\n"
        for path in sorted(work.rglob("*"))
        if path.is_file()
    ]
    write_atomically(work / SUMS, "".join(lines))
