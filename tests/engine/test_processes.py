"""Several processes that train one run together (torchrun): the numbers of one process, and no process left waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from torch import Tensor

from i2ikd import UserError
from i2ikd.cli.main import cli, run
from i2ikd.config import read_experiment
from i2ikd.engine import checkpoint
from i2ikd.engine.loop import Interrupted
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.schedule import train_arms
from i2ikd.registry import default_registry

EXPERIMENT = """
name = "together"
seeds = [0]
teacher = { model = "dc-cnn", cascades = 2, depth = 4, channels = 4 }
student = { model = "dc-cnn", cascades = 2, depth = 3, channels = 4 }
training = { epochs = 2, batch = 4, device = "cpu", optimizer = "sgd", lr = 0.05 }
task.name = "mri-recon"
task.dataset = { name = "phantom", train = 5, val = 3, test = 1, slices = 2, size = [24, 16] }

[[arms]]
name = "kd-mri"
recipe = "kd-mri"

[[arms]]
name = "much"
recipe = "custom"

[[arms.stages]]
name = "all"
training = { ema = 0.6, clip_grad = 0.1, lr = 0.5, optimizer = "momentum", schedule = "cosine", validate_every = 1 }
terms = [
  { distiller = "target" },
  { distiller = "imitation" },
  { distiller = "fitnet", ratio = 0.3 },
  { distiller = "overhaul", weight = 0.1 },
]
"""

DRIVER = Path(__file__).with_name("run_process_pairs.py")


@pytest.fixture
def file(tmp_path: Path, drawn_once: None) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


def started(*command: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(str(word) for word in command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return stdout and stderr of a process that ends on its own."""
    try:
        return process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@dataclass(frozen=True)
class Pairs:
    """What pairs of processes left behind, and the same work by one process."""

    folder: Path
    codes: dict[str, list[int]]

    def output(self, work: str) -> list[str]:
        return [(self.folder / f"{work}{rank}").read_text() for rank in (0, 1)]

    def results(self, out: str) -> Results:
        return results(self.folder / out)


def pairs(file: Path, folder: Path, *overrides: str) -> Pairs:
    process = started(DRIVER, file, folder, *overrides)
    graph = graph_in(folder / "alone", file, *overrides)
    for arm in graph.context.experiment.arms:
        train_arms(graph, [arm], 0, log=lambda _: None)
    printed, messages = finished(process)
    assert process.returncode == 0, messages
    return Pairs(folder, json.loads(printed))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "experiment.toml").write_text(EXPERIMENT, encoding="utf-8")
    return pairs(folder / "experiment.toml", folder)


def graph_in(out: Path, file: Path, *overrides: str) -> RunGraph:
    return RunGraph(ExperimentContext(read_experiment(file, overrides), default_registry(), out))


Results = dict[str, tuple[Any, dict[str, Tensor]]]


def results(out: Path) -> Results:
    """History and weights of every run, by name."""
    found = {}
    for folder in sorted((out / "store").iterdir()):
        name = json.loads((folder / "run.json").read_text())["name"]
        found[name] = (
            json.loads((folder / "history.json").read_text()),
            checkpoint.load(folder / "weights.pt")["state"],
        )
    return found


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [value for row in rows for value in (*row["losses"].values(), row["validation"] or 0.0, row["lr"])]


def assert_close(left: Results, right: Results, tolerance: float) -> None:
    assert left.keys() == right.keys()
    for name in left:
        (history, weights), (other_history, other_weights) = left[name], right[name]
        assert [row["losses"].keys() for row in history] == [row["losses"].keys() for row in other_history], name
        assert numbers(history) == pytest.approx(numbers(other_history), rel=tolerance, abs=1e-7), name
        for key, tensor in weights.items():
            assert torch.allclose(tensor, other_weights[key], rtol=tolerance, atol=tolerance), (name, key)


class TestTraining:
    def test_two_processes_have_the_numbers_of_one(self, two: Pairs) -> None:
        alone, whole = two.results("alone"), two.results("whole")
        assert two.codes["training"] == [0, 0], two.output("training")
        assert len(alone) == 3
        assert_close(alone, whole, tolerance=1e-5)
        manifests = [json.loads(path.read_text()) for path in (two.folder / "whole" / "store").glob("*/manifest.json")]
        assert {(m["processes"], m["effective_batch"]) for m in manifests} == {(2, 4)}

    def test_a_signal_to_one_stops_all_after_the_same_step(self, two: Pairs, identical: Any) -> None:
        first, second = two.output("training")
        assert first == second == "stops 5\n"
        whole = two.results("whole")
        for name, (history, weights) in two.results("parts").items():
            assert history == whole[name][0], name
            assert identical(weights, whole[name][1]), name

    def test_what_they_exchange(self, two: Pairs) -> None:
        found = torch.load(two.folder / "exchanged.pt", weights_only=True)
        image, flags, number, wave, half = found["equal"]
        assert torch.equal(image, torch.arange(24.0).reshape(1, 2, 3, 4))
        assert (flags.tolist(), int(number), wave.tolist(), float(half)) == ([True, True], 7, [1 + 0j], 0.5)
        both, one, none, wave = found["gradients"]
        assert torch.equal(both, torch.full((2, 3), 2.0)), "(1 + 3) / 2"
        assert torch.equal(one, torch.full((2, 3), 1.5)), "(3 + 0) / 2"
        assert none is None, "an optimiser leaves out what has no gradient"
        assert torch.equal(wave, torch.full((2, 3), 0.5 + 2j))
        assert [float(value) for value in found["loss"]] == [5.5, 6.0], "the given tensor is left as it is"
        assert (found["any"], found["sum"], found["first"]) == ([True, False], [3.0, 0.5], 4)

    @pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
    def test_two_gpus_have_the_numbers_of_one(self, file: Path, tmp_path: Path) -> None:
        two = pairs(file, tmp_path, "training.device=cuda")
        assert two.codes["training"] == [0, 0], two.output("training")
        assert_close(two.results("alone"), two.results("whole"), tolerance=1e-2)


class TestFailures:
    def test_a_failure_of_one_ends_all_with_one_line(self, two: Pairs) -> None:
        assert two.codes["not_finite"] == [2, 2]
        first, second = two.output("not_finite")
        assert "error" not in first and "Error" not in first, "what the second says is enough"
        assert second.startswith("i2ikd: error: teacher/seed0: the term 'target' became nan in epoch 0, step 1; ")
        assert second.count("\n") == 1

    def test_a_process_that_is_killed_ends_the_other(self, two: Pairs) -> None:
        assert two.codes["killed"] == [2, -signal.SIGKILL]
        first, _ = two.output("killed")
        (error,) = [line for line in first.splitlines() if line.startswith("i2ikd: error: ")]
        assert "another process of this run ended without an error message" in error and "Traceback" not in first

    def test_an_error_of_all_processes_is_printed_once(self, two: Pairs) -> None:
        assert two.codes["uneven"] == [2, 2]
        assert "".join(two.output("uneven")).count("training.batch = 3 cannot be divided among 2 processes") == 1
        assert not (two.folder / "uneven").exists()


class TestCommands:
    def test_a_signal_to_torchrun_saves_a_checkpoint_that_any_number_goes_on_from(
        self, file: Path, tmp_path: Path, stop: Any
    ) -> None:
        log, out = tmp_path / "log.jsonl", tmp_path / "out"
        changes = ["training.epochs=500", "training.validate_every=1"]
        tracker = f'trackers=[{{ name = "json-lines", path = "{log}" }}]'
        options = [word for change in (*changes, tracker) for word in ("-o", change)]
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
        process = started(*torchrun, "-m", "i2ikd", "train", file, "--out", out, *options)
        wait_for(lambda: log.is_file() and log.read_text().count("\n") >= 3, process)
        process.send_signal(signal.SIGTERM)
        printed, messages = finished(process)
        assert messages.count("a checkpoint was saved. Continue with: torchrun --nproc-per-node 2 -m i2ikd train") == 1
        assert printed.count("train  teacher/seed0") == 1, "one process prints"
        assert printed.count("2 processes: each trains on 2 samples of a batch of 4") == 1
        logged = [json.loads(line)["step"] for line in log.read_text().splitlines()]
        assert logged == list(range(1, len(logged) + 1)), "one process logs"

        (path,) = (out / "store").glob("*/checkpoint.pt")
        before = checkpoint.load(path)["trainer"]
        assert before["epoch"] >= 3
        graph = graph_in(out, file, *changes)
        with pytest.raises(Interrupted):
            train_arms(graph, [graph.context.experiment.arm("kd-mri")], 0, stop(steps=1), log=lambda _: None)
        after = checkpoint.load(path)["trainer"]
        assert after["epoch"] * 2 + after["step"] == before["epoch"] * 2 + before["step"] + 1

    @pytest.mark.parametrize("name", ["compare", "evaluate", "profile", "demo"])
    def test_others_are_refused(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(UserError, match=rf"i2ikd {name} works in one process and was started in 2"):
            cli.get_command(click.Context(cli), name)
        assert isinstance(cli.get_command(click.Context(cli), "distill"), click.Command)

    def test_an_environment_without_torchrun_is_refused(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert run(["train", str(file), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert "WORLD_SIZE = '2', but the processes cannot be joined" in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            raise AssertionError(process.communicate())
        time.sleep(0.05)


def test_one_process_has_nothing_to_do_with_torch_distributed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "i2ikd.engine.torch_processes", None)  # an import would raise
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert run(["train", str(file), "--out", str(tmp_path / "out"), "-o", "training.epochs=1"]) == 0
