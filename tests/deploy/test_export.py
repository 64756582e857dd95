"""A file is written only if it agrees with the network, and holds no data of a subject."""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2ikd import Batch, Delivered, Exporter, ExportRequest, UserError
from i2ikd.deploy.export import ExportSettings, choose_exporter, export
from i2ikd.deploy.slices import EvenSlices
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.metrics import table_metrics
from i2ikd.registry import default_registry


class Weights(Exporter):
    """Weights as torch saves them, after a change."""

    precisions = ("fp32", "int8")

    def __init__(self, change: float = 0.0) -> None:
        self._change = change
        self.requests: list[ExportRequest] = []

    def write(self, request: ExportRequest, path: Path) -> None:
        self.requests.append(request)
        state = {name: tensor + self._change for name, tensor in request.network.state_dict().items()}
        torch.save(state, path)
        path.with_suffix(".note").write_text("second file")

    def load(self, request: ExportRequest, path: Path) -> Delivered:
        network = copy.deepcopy(request.network)
        network.load_state_dict(torch.load(path, weights_only=True))

        @torch.inference_mode()
        def call(network: nn.Module, batch: Batch) -> Tensor:
            output: Tensor = network(batch.input, **batch.conditions)
            return output

        return Delivered("test", lambda b: b, lambda b: call(network, b), lambda b: call(request.network, b), {})


@pytest.fixture
def context(laboratory: Any) -> ExperimentContext:
    made: ExperimentContext = laboratory.graph().context
    return made


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(2)
    made: nn.Module = default_registry().create("model", "dc-cnn", {"cascades": 1, "depth": 2, "channels": 8})
    return made.eval()


def run(
    context: ExperimentContext, network: nn.Module, exporter: Exporter, output: Path, **settings: Any
) -> dict[str, Any]:
    columns, metrics = table_metrics(context)
    scored = {column: metrics[name] for column, name in columns.items()}
    chosen = ExportSettings(repeats=1, **settings)
    return export(network, context.task, scored, ("test", exporter), output, chosen).as_json()


def test_the_report_compares_and_times(context: ExperimentContext, network: nn.Module, tmp_path: Path) -> None:
    report = run(context, network, Weights(), tmp_path / "a.weights")
    assert report["slices"] == 4 and report["largest_difference"] < 1e-6
    assert [(check["batch"], tuple(check["size"])) for check in report["checks"]] == [(1, (32, 64)), (3, (37, 67))]
    assert set(report["metrics"]) == {"psnr", "ssim", "nmse", "hfn"}
    assert report["metrics"]["psnr"]["network"] == pytest.approx(report["metrics"]["psnr"]["file"], abs=1e-4)
    assert report["eager_over_file"] > 0
    files = [tmp_path / "a.weights", tmp_path / "a.note"]
    assert sorted(tmp_path.glob("a.*")) == sorted(files)
    assert report["bytes"] == sum(file.stat().st_size for file in files)


@pytest.mark.parametrize(
    ("precision", "change", "message"),
    [
        ("fp32", 1e-3, r"a.weights was not written: expected a .* difference to the network of at most .* got .*32x64"),
        ("fp32", float("nan"), r"no file was written: test returns NaN or infinity for 1 slice\(s\) of 32x64"),
        (
            "int8",
            0.05,
            r"a.weights was not written: expected a root mean square difference .*held-out slices; try anoth",
        ),
    ],
)
def test_a_file_that_disagrees_is_not_written(
    context: ExperimentContext, network: nn.Module, precision: str, change: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run(context, network, Weights(change), tmp_path / "a.weights", precision=precision)
    assert not list(tmp_path.glob("*a.*")) and not list(tmp_path.glob(".*"))


def test_existing_files_are_overwritten_only_with_force(
    context: ExperimentContext, network: nn.Module, tmp_path: Path
) -> None:
    (tmp_path / "a.note").write_text("mine")
    with pytest.raises(UserError, match=r"a.note exists already; overwrite it with --force"):
        run(context, network, Weights(), tmp_path / "a.weights")
    assert (tmp_path / "a.note").read_text() == "mine" and not (tmp_path / "a.weights").exists()
    run(context, network, Weights(), tmp_path / "a.weights", force=True)
    with pytest.raises(UserError, match=r"a.weights exists already"):
        run(context, network, Weights(), tmp_path / "a.weights")
    with pytest.raises(UserError, match=r"no does not exist; create it first"):
        run(context, network, Weights(), tmp_path / "no" / "a.weights")


def test_the_exporter_receives_random_values_and_training_slices(
    context: ExperimentContext, network: nn.Module, tmp_path: Path
) -> None:
    exporter = Weights()
    run(context, network, exporter, tmp_path / "a.weights", precision="int8", calibration=3)
    (request,) = exporter.requests
    test = torch.stack([context.task.dataset("test")[index].input for index in range(4)])
    assert torch.isin(request.batch.input, test).double().mean() < 0.01  # equal by chance: few bits of a value in 0..1
    train = [context.task.dataset("train")[index].input for index in (0, 2, 3)]
    assert [one.input[0].tolist() for one in request.calibration] == [image.tolist() for image in train]
    with pytest.raises(UserError, match="int8 for 40x48 alone: expected training slices of this size"):
        run(context, network, Weights(), tmp_path / "b.weights", precision="int8", size=(40, 48))
    fixed = run(context, network, Weights(), tmp_path / "b.weights", size=(40, 48))
    assert fixed["slices"] == 0 and [check["size"] for check in fixed["checks"]] == [(40, 48), (40, 48)]


def test_a_precision_that_the_format_lacks_is_refused(
    context: ExperimentContext, network: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--precision: test supports fp32, int8, got fp16"):
        run(context, network, Weights(), tmp_path / "a.weights", precision="fp16")


def test_the_ending_decides() -> None:
    registry = default_registry()
    for ending, name in ((".onnx", "onnx"), (".xml", "openvino"), (".pt2", "torch-export")):
        assert choose_exporter(registry, Path("a" + ending), None)[0] == name
    with pytest.raises(UserError, match=r"a.pdf: expected an ending of a format: \.onnx \(onnx\), .*; got '\.pdf'"):
        choose_exporter(registry, Path("a.pdf"), None)
    with pytest.raises(UserError, match=r"a.onnx: the format openvino has the ending \.xml, got '\.onnx'"):
        choose_exporter(registry, Path("a.onnx"), "openvino")


def test_slices_are_evenly_spaced(context: ExperimentContext) -> None:
    whole = context.task.dataset("test")
    assert [EvenSlices(whole, count).keys for count in (1, 2, 9)] == [
        [whole.keys[0]],
        [whole.keys[0], whole.keys[3]],
        list(whole.keys),
    ]


def contents(folder: Path) -> Iterator[bytes]:
    """Yield the content of each file, and of each member of an archive."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from (archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize(
    ("name", "precision"),
    [("a.onnx", "fp32"), ("b.onnx", "int8"), ("a.xml", "int8"), ("a.pt2", "fp32"), ("a.safetensors", "fp32")],
)
def test_no_file_contains_data_of_a_subject(
    context: ExperimentContext, network: nn.Module, name: str, precision: str, tmp_path: Path
) -> None:
    exporter = choose_exporter(default_registry(), Path(name), None)[1]
    run(context, network, exporter, tmp_path / name, precision=precision)
    written = list(contents(tmp_path))
    weight = network.get_parameter("cascades.0.layers.1.convolution.weight").detach().numpy()
    if precision == "fp32":
        assert any(weight.tobytes()[:64] in content for content in written), "the search finds what is in the file"
    for split in ("train", "test"):
        dataset = context.task.dataset(split)
        for index in range(len(dataset)):
            sample = dataset[index]
            assert sample.target is not None
            for tensor in (sample.input, sample.target, *sample.conditions.values()):
                values: np.ndarray = tensor.numpy()
                rows = [row for row in values.reshape(-1, values.shape[-1]) if len(np.unique(row)) > 4]
                for row in rows:
                    assert not any(row[:4].tobytes() in content for content in written if row[:4].all())
