"""Rows of delivered files: scored by what the runtime returns, stored once, with costs of the file."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import Batch, Delivered, Exporter, ExportRequest, UserError
from i2ikd.deploy.delivered_network import DeliveredNetwork
from i2ikd.deploy.export import ExportSettings, export
from i2ikd.experiment.compare import compare
from i2ikd.experiment.costs import measure_costs
from i2ikd.experiment.finished import finished_network
from i2ikd.experiment.verify import verify
from i2ikd.report.csv_table import csv_table
from i2ikd.report.load import load_comparison
from i2ikd.report.markdown import markdown

WRITTEN: list[ExportRequest] = []


class Brighter(Exporter):
    """The network and a constant, which is smaller for each convolution that stays float32."""

    precisions = ("fp32", "int8")

    def write(self, request: ExportRequest, path: Path) -> None:
        WRITTEN.append(request)
        error = 0.02 * 0.5 ** len(request.full_precision) if request.precision == "int8" else 0.0
        torch.save({"error": torch.tensor(error), **request.network.state_dict()}, path)
        path.with_suffix(".more").write_text("second file")

    def load(self, request: ExportRequest, path: Path) -> Delivered:
        network, state = copy.deepcopy(request.network), torch.load(path, weights_only=True)
        error = state.pop("error")
        network.load_state_dict(state)

        @torch.inference_mode()
        def call(network: nn.Module, batch: Batch) -> Tensor:
            output: Tensor = network(batch.input, **batch.conditions)
            return output

        run = lambda batch: call(network, batch) + error  # noqa: E731
        return Delivered("bright 1", lambda batch: batch, run, lambda batch: call(request.network, batch), {})


class OneSize(Brighter):
    """A format whose runtime takes images of the traced size alone."""

    def load(self, request: ExportRequest, path: Path) -> Delivered:
        loaded, size = super().load(request, path), request.batch.input.shape[-2:]

        def run(batch: Batch) -> Tensor:
            if batch.input.shape[-2:] != size:
                raise RuntimeError("another size")
            return loaded.run(batch)

        return replace(loaded, run=run)


@i2ikd.hookimpl
def register_exporters(register: Any) -> None:
    register("brighter", Brighter, suffixes=".bright")
    register("one-size", OneSize, suffixes=".one")


PLUGIN = ModuleType("brighter")
PLUGIN.register_exporters = register_exporters  # type: ignore[attr-defined]
ARMS: list[dict[str, Any]] = [
    {"name": "student"},
    {"name": "file", "of": "student", "transforms": [{"name": "deliver", "format": "brighter"}]},
    {"name": "int8", "of": "student", "transforms": [{"name": "int8", "format": "brighter", "calibration": 2}]},
]


@pytest.fixture(autouse=True)
def nothing_written() -> None:
    WRITTEN.clear()


def compared(laboratory: Any, *overrides: str, arms: list[dict[str, Any]] = ARMS) -> Any:
    graph = laboratory.graph("comparison.control=student", *overrides, arms=arms, plugins=(PLUGIN,))
    return graph, compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)


def test_a_row_has_the_quality_and_the_costs_of_its_file(laboratory: Any) -> None:
    _, found = compared(laboratory, "comparison.latency=true")
    out = laboratory.folder / "out"
    rows = {row.arm: row for row in found.rows}
    student, file, int8 = (rows[name] for name in ("student", "file", "int8"))
    assert file.metrics["psnr"].mean == pytest.approx(student.metrics["psnr"].mean, abs=1e-4)
    assert abs(int8.differences["student"].mean) > 0.01, "scored as the file computes, not as the network"
    assert int8.differences["student"].mean == pytest.approx(
        int8.metrics["psnr"].mean - student.metrics["psnr"].mean, abs=1e-6
    )
    assert (student.costs.runtime, file.costs.runtime, int8.costs.precision) == ("torch, eager", "bright 1", "int8")
    assert student.costs.file is None and student.costs.bytes == 4 * student.costs.params
    written = out / int8.costs.file
    assert int8.costs.bytes == written.stat().st_size + written.with_suffix(".more").stat().st_size
    assert (int8.costs.params, int8.costs.macs) == (student.costs.params, student.costs.macs)
    for row in (rows["teacher"], student, file, int8):
        assert [latency.threads for latency in row.costs.latencies] == [1]
        assert row.costs.latency_ms == row.costs.latencies[0].median_ms > 0
    assert "cpu" in found.metadata and [len(request.calibration) for request in WRITTEN] == [0, 2]
    _all_forms_agree(out, found)


def _all_forms_agree(out: Path, found: Any) -> None:
    teacher, int8 = found.row("teacher").costs, found.row("int8").costs
    (line,) = [line for line in markdown(found).splitlines() if line.startswith("| int8 ")]
    cells = [cell.strip() for cell in line.split("|")]
    speedup = teacher.latencies[0].cpu_ms / int8.latencies[0].cpu_ms
    assert cells[4:6] == [f"{int8.bytes / 1024:.0f}", "bright 1, int8"] and cells[8] == f"{speedup:.1f}×"
    header, *lines = [row.split(",") for row in csv_table(found).replace('"torch, eager"', "torch").splitlines()]
    row = dict(zip(header, next(row for row in lines if row[0] == "int8"), strict=True))
    assert (row["runtime"], row["file"], row["bytes"]) == ("bright 1", int8.file, str(int8.bytes))
    assert float(row["speedup"]) == speedup
    assert float(row["latency_1_threads_median_ms"]) == int8.latencies[0].median_ms
    stored = next(row for row in json.loads((out / "results.json").read_text())["rows"] if row["arm"] == "int8")
    latency = int8.latencies[0]
    assert stored["latencies"] == [asdict(latency)] and latency.cpu_ms > 0
    (out / "experiment.json").write_text('{"name": "tiny"}')
    from i2ikd.engine.output_manifest import OutputManifest

    OutputManifest(out).state_files([out / "experiment.json"], "tiny")
    assert load_comparison(out).row("int8").costs == int8  # type: ignore[union-attr]


def test_a_file_is_written_once_and_again_if_it_is_damaged(laboratory: Any) -> None:
    _, found = compared(laboratory)
    assert len(WRITTEN) == 2
    _, again = compared(laboratory)
    assert len(WRITTEN) == 2 and [row.as_json() for row in again.rows] == [row.as_json() for row in found.rows]
    out = laboratory.folder / "out"
    file = out / again.row("int8").costs.file
    problems = verify(out).problems
    assert not problems, problems
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    assert [problem.file for problem in verify(out).problems] == [file]
    compared(laboratory)
    assert len(WRITTEN) == 3 and file.read_bytes() == content
    changed = copy.deepcopy(ARMS)
    changed[2]["transforms"][0]["calibration"] = 3
    compared(laboratory, arms=changed)
    assert len(WRITTEN) == 4


def test_a_row_is_read_by_its_path(laboratory: Any) -> None:
    graph, found = compared(laboratory)
    out = laboratory.folder / "out"
    (out / "experiment.json").write_text(
        json.dumps(graph.context.experiment.model_dump(mode="json", exclude_unset=True))
    )
    network = finished_network(graph.context.registry, out / "students" / "int8" / "seed0", graph.context.experiment)
    assert isinstance(network, DeliveredNetwork) and len(WRITTEN) == 2, "the file of the comparison"
    assert network.file.path == out / found.row("int8").costs.file
    with pytest.raises(UserError, match=r"the row is a file already \(brighter, int8\); copy .*derived-.*model.bright"):
        export(network, graph.context.task, {}, ("x", Brighter()), out / "a.bright", ExportSettings())


def test_sensitive_convolutions_stay_float32_where_the_loss_exceeds_the_bound(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = copy.deepcopy(ARMS)
    arms[2]["transforms"][0] |= {"max_loss": 1e9, "slices": 2}
    _, free = compared(laboratory, arms=arms)
    assert list(free.row("int8").costs.full_precision) == [] and len(WRITTEN) == 3
    graph, _ = compared(laboratory)
    task, read = graph.context.task, []
    opened = task.dataset
    monkeypatch.setattr(task, "dataset", lambda split, *rest: read.append(split) or opened(split, *rest))
    network = graph.context.registry.create("model", "dc-cnn", {"cascades": 2, "depth": 3, "channels": 4}).eval()
    options = {"format": "brighter", "precision": "int8", "calibration": 2, "slices": 2}
    WRITTEN.clear()
    made = graph.context.registry.create("transform", "deliver", options | {"max_loss": 0.0})
    batches = [next(iter(graph.context.validation()))]
    delivered = made.apply(network, batches, task)
    thin = ["cascades.0.layers.0", "cascades.0.layers.2", "cascades.1.layers.0", "cascades.1.layers.2"]
    convolutions = [f"{path}.convolution" for path in thin]
    assert [sorted(request.full_precision) for request in WRITTEN] == [
        [], convolutions[-1:], [convolutions[0], convolutions[-1]], convolutions, convolutions
    ], "none, the last, first and last, all that read or write images; then the one that loses least"  # fmt: skip
    assert delivered.file.full_precision == convolutions and delivered.file.loss is not None
    assert "val" in read and "test" not in read


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"name": "deliver", "format": "brighter", "precision": "bf16"}], "brighter supports fp32, int8, got bf16"),
        ([{"name": "deliver", "format": "brighter", "max_loss": 1}], "expected max_loss with precision = 'int8' alone"),
        ([{"name": "deliver", "format": "brihter"}], "brihter.*brighter"),
        (
            [{"name": "deliver", "format": "brighter"}, {"name": "int8", "format": "brighter"}],
            "expected a network, got a file",
        ),
    ],
)
def test_wrong_options_are_one_line(laboratory: Any, transforms: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compared(laboratory, arms=[{"name": "student"}, {"name": "x", "of": "student", "transforms": transforms}])


def test_a_runtime_of_one_size_is_refused_with_the_key_that_states_it(laboratory: Any) -> None:
    graph = laboratory.graph("comparison.control=student", arms=ARMS, plugins=(PLUGIN,))
    network = graph.context.registry.create("model", "dc-cnn", {"cascades": 1, "depth": 2, "channels": 4}).eval()
    batches = [next(iter(graph.context.validation()))]
    any_size, fixed = (
        graph.context.registry.create("transform", "deliver", {"format": "one-size", "fixed": fixed})
        for fixed in (False, True)
    )
    with pytest.raises(UserError, match=r"bright 1 fails on 3 slice.*\(another size\); .*deliver: fixed = true"):
        any_size.apply(network, batches, graph.context.task)
    assert isinstance(fixed.apply(network, batches, graph.context.task), DeliveredNetwork)


def test_int8_by_onnxruntime_holds_no_slice(laboratory: Any) -> None:
    """The whole way with a real exporter: no byte of a calibration, validation or test slice is in the files."""
    arms = [{"name": "student"}, {"name": "int8", "of": "student", "transforms": [{"name": "int8", "calibration": 2}]}]
    graph, found = compared(laboratory, arms=arms)
    int8, student = found.row("int8"), found.row("student")
    assert int8.costs.runtime.startswith("onnxruntime ")
    assert 0 < abs(int8.metrics["psnr"].mean - student.metrics["psnr"].mean) < 0.05
    folder = (laboratory.folder / "out" / int8.costs.file).parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "delivery.json", "evaluation.json", "model.onnx", "records.csv"
    ]  # fmt: skip
    written = [path.read_bytes() for path in folder.iterdir()]
    for split in ("train", "val", "test"):
        for index in range(len(graph.context.dataset(split))):
            sample = graph.context.dataset(split)[index]
            for tensor in (sample.input, sample.target, *sample.conditions.values()):
                values = tensor.numpy() if tensor is not None else np.zeros((1, 1))
                rows = [row for row in values.reshape(-1, values.shape[-1]) if len(np.unique(row)) > 4]
                assert not any(row[:4].tobytes() in content for row in rows if row[:4].all() for content in written)


def test_latency_is_measured_for_each_number_of_threads(tmp_path: Path) -> None:
    seen: list[int] = []

    class Double(nn.Module):
        def forward(self, input: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return 2 * input

    network, other = Double(), Double()
    batch = Batch(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    costs = measure_costs({"a": network, "b": network, "c": other}, batch, [2, 1], tmp_path)
    assert [latency.threads for latency in costs["a"].latencies] == [2, 1] and torch.get_num_threads() == 1
    assert costs["a"] is costs["b"] and costs["a"].latency_ms == costs["a"].latencies[0].median_ms
    assert seen[:46] == [2] * 46 and seen[46:92] == [1] * 46, "3 + 20 interleaved rounds of two networks"
