"""Trackers write numbers, images and the final table with their own libraries, without a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import i2ikd
from i2ikd import UserError
from i2ikd.callback import EpochContext, RunContext, StageContext
from i2ikd.recipe import Stage, Term
from i2ikd.report.pictures import Picture
from i2ikd.report.tracked import tracked_images

ROWS = [{"arm": "input", "psnr": 20.5}, {"arm": "kd-mri", "psnr": 31.25, "params": 225, "rank": None}]
IMAGES = {"best: target | kd-mri": np.linspace(0, 1, 48).reshape(6, 8), "worst: target": np.zeros((6, 8, 3))}
NAME = "students/kd-mri/seed0/features/attention"


def track(tracker: Any) -> None:
    """Send two epochs, images and the table, as a comparison does."""
    callback = i2ikd.TrackerCallback([tracker])
    network: Any = None
    stage = Stage(name="features", terms=[Term(distiller="attention")])
    context = StageContext(RunContext("students/kd-mri/seed0", 0, None, {}, network), stage, 0)
    for epoch, loss in enumerate((0.5, 0.25)):
        callback.on_epoch_end(EpochContext(context, epoch, {"attention": loss}, 0.125, 1e-3))
    callback.on_results(ROWS, IMAGES)
    callback.close()


def test_json_lines_end_with_the_table(tmp_path: Path) -> None:
    track(i2ikd.create("tracker", "json-lines", path=tmp_path / "log"))
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line.get("step") for line in lines] == [1, 2, None]
    assert lines[1][NAME] == 0.25 and lines[2] == {"table": ROWS}


def test_tensorboard_reads_its_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(i2ikd.create("tracker", "tensorboard", folder=tmp_path))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars(NAME)] == [(1, 0.5), (2, 0.25)]
    assert events.Scalars("table/kd-mri/psnr")[0].value == 31.25
    assert sorted(events.Tags()["images"]) == sorted(IMAGES)
    assert (events.Images("worst: target")[0].height, events.Images("worst: target")[0].width) == (6, 8)
    text = events.Tensors("table/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| kd-mri | 31.25 | 225 |" in text


def test_mlflow_reads_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'runs'}"
    track(i2ikd.create("tracker", "mlflow", uri=uri, experiment="brain", run="first"))
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("brain").experiment_id])
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, NAME)] == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert (run.data.metrics["table/kd-mri/psnr"], run.info.status, run.info.run_name) == (31.25, "FINISHED", "first")
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    assert json.loads((folder / "table.json").read_text())["rows"] == ROWS
    assert len(list((folder / "images").iterdir())) == 2


def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    pytest.importorskip("wandb")
    for variable, value in (("WANDB_SILENT", "true"), ("WANDB_DIR", str(tmp_path)), ("WANDB_MODE", "offline")):
        monkeypatch.setenv(variable, value)
    hooks = sys.exit, sys.excepthook
    track(i2ikd.create("tracker", "wandb", run="first", folder=tmp_path))
    assert (sys.exit, sys.excepthook) == hooks
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    (log,) = run.glob("*.wandb")
    until(lambda: NAME.encode() in log.read_bytes(), 20)  # its own process writes the file
    assert len(list((run / "files" / "media" / "images").rglob("*.png"))) == 2
    (table,) = (run / "files" / "media" / "table").rglob("*.json")
    assert json.loads(table.read_text())["data"][1][:2] == ["kd-mri", 31.25]


@pytest.mark.parametrize(
    ("name", "module", "options"),
    [("tensorboard", "torch.utils.tensorboard", {"folder": "x"}), ("wandb", "wandb", {}), ("mlflow", "mlflow", {})],
)
def test_a_missing_library_is_named_with_its_extra(
    name: str, module: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf'pip install "i2ikd\[{name}\]"'):
        i2ikd.create("tracker", name, **options)


def test_a_place_that_cannot_be_used_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, options in (("tensorboard", {"folder": tmp_path / "file" / "in"}), ("mlflow", {"uri": "ftp://nowhere"})):
        pytest.importorskip(name)
        with pytest.raises(UserError, match=name):
            i2ikd.create("tracker", name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_images_of_a_picture_stand_side_by_side_in_the_range_of_the_target() -> None:
    target = np.array([[1.0, 3.0], [2.0, 1.0]])
    picture = Picture("best", "anna", "head", 3, target, {"input": target + 9, "kd-mri": target}, {})
    (name, image), *rest = tracked_images([picture]).items()
    assert name == "best: target | input | kd-mri" and rest == [] and image.shape == (2, 3 * 2 + 2 * 2)
    assert image[:, :2].tolist() == [[0, 1], [0.5, 0]] and image[:, 4:6].tolist() == [[1, 1], [1, 1]]
    colours = np.stack([target, target + 1, target + 2])
    (image,) = tracked_images([Picture("best", "a", "b", 0, colours, {"kd-mri": colours}, {})]).values()
    assert image.shape == (2, 6, 3)
