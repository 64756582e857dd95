"""Runs trained by worker processes: equal numbers, errors reported by name, and no process left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from i2ikd import NullCallback, UserError
from i2ikd.engine.loop import Interrupted
from i2ikd.executors.base import execute
from i2ikd.executors.remote import open_worker, perform
from i2ikd.experiment.compare import compare
from i2ikd.experiment.jobs import worker_setup
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_plan
from i2ikd.experiment.tracking import tracked

SMALL = "task.dataset.size=[16, 16]"


def workers(parent: int) -> list[int]:
    """Return the worker processes of a process, oldest first."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == parent and b"i2ikd.executors.worker" in command:
                found.append(int(folder.name))
    return sorted(found)


def files(out: Path) -> list[str]:
    histories = sorted(path.read_text() for path in out.glob("store/*/history.json"))
    return [*((out / name).read_text() for name in ("records.csv", "results.json")), *histories]


def test_the_numbers_are_those_of_one_process(laboratory: Any, make: Any, tmp_path: Path) -> None:
    one, other = laboratory.graph(SMALL, out="one"), laboratory.graph(SMALL, out="other")
    compare(one, one.context.experiment.arms, [0], log=lambda _: None)
    lines: list[str] = []
    log = laboratory.experiment("trackers=[{name='json-lines', path='%s'}]" % (tmp_path / "log")).trackers
    progress: list[tuple[str, int, int]] = []

    class Progress(NullCallback):
        def on_remote_progress(self, name: str, done: int, steps: int) -> None:
            progress.append((name, done, steps))

    with tracked(Progress(), log, other.context.registry) as callback:
        executor = make(other, "here", lines.append, processes=2, callback=callback)
        compare(other, other.context.experiment.arms, [0], log=lines.append, executor=executor)
    assert files(tmp_path / "one") == files(tmp_path / "other")
    assert not workers(os.getpid())
    events = [line.split("  (")[0].strip() for line in lines]
    assert events.index("done  teacher/seed0") < events.index("start  students/kd-mri/seed0")
    assert {line for line in events if line.startswith("done")} == {
        f"done  {name}/seed0" for name in ("teacher", "students/student", "students/control", "students/kd-mri")
    }
    reported = [(done, steps) for name, done, steps in progress if name == "teacher/seed0"]
    assert reported[0][0] == 0 and reported == sorted(reported), progress
    assert all(done <= steps for done, steps in reported)
    assert (tmp_path / "log").read_text().count("students/kd-mri/seed0/") > 0, "trackers receive finished runs"
    manifests = list((tmp_path / "other").glob("store/*/manifest.json"))
    assert len(manifests) == 4 and all('"threads": 1' in path.read_text() for path in manifests)
    assert len(list((tmp_path / "other" / "workers").glob("worker-*.log"))) == 2, "a worker trains job after job"


def test_what_was_measured_here_is_not_measured_again_in_a_worker(laboratory: Any, make: Any, tmp_path: Path) -> None:
    graph = laboratory.graph(SMALL, "training.precision=auto", "training.device=auto")
    context = graph.context
    with make(graph, "here", processes=2):
        measured = json.loads((tmp_path / "out" / "store" / "precision.json").read_text())
    assert measured == {context.trained_on: context.precision}
    setup = json.loads(json.dumps(worker_setup(context, threads=1).as_json()))
    training = setup["arguments"]["experiment"]["training"]
    assert (training["precision"], setup["threads"]) == (context.precision, 1)
    assert training["device"] == context.trained_on
    train, arm = open_worker(setup), context.experiment.arm("kd-mri")
    for run in (graph.teacher_run(5), graph.arm_run(arm, 5)):
        payload = {"seed": 5, "runs": [run.name], "specifications": [run.specification.model_dump(mode="json")]}
        train(payload, NullCallback())
        assert run.folder.finished, "in the worker it is the same run, with the same folder"


def test_a_worker_that_makes_another_run_refuses(laboratory: Any, make: Any, first_job: Any) -> None:
    graph = laboratory.graph(SMALL)
    job = first_job(graph)
    specification = {**job.payload["specifications"][0], "task": {"files": "of another machine"}}
    other = replace(job, payload={**job.payload, "specifications": [specification]})
    message = r"^teacher/seed0: expected the same run as where the comparison was started, got another .*task\.files: "
    with pytest.raises(UserError, match=message):
        execute([other], make(graph, "here", processes=2))
    assert not workers(os.getpid())


def test_ctrl_c_ends_the_workers(laboratory: Any, make: Any) -> None:
    graph, lines = laboratory.graph(SMALL, "training.epochs=100000"), []

    def interrupt(line: str) -> None:
        lines.append(line)
        if line == " start  students/student/seed0":
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    wanted = plan(graph, [graph.context.experiment.arm("student")], [0])
    with pytest.raises(Interrupted):
        train_plan(graph, wanted, make(graph, "here", interrupt, processes=2), lambda _: None)
    assert lines[-1] == "  stop  teacher/seed0, students/student/seed0: saving checkpoints"
    assert not workers(os.getpid())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_that_dies_is_named_with_its_exit_status_when_the_others_have_ended(
    laboratory: Any, make: Any
) -> None:
    graph, lines = laboratory.graph(SMALL), list[str]()

    def kill(line: str) -> None:
        lines.append(line.strip())
        if line == " start  students/student/seed0":
            os.kill(workers(os.getpid())[-1], signal.SIGKILL)

    arms = [graph.context.experiment.arm(name) for name in ("student", "kd-mri")]
    with pytest.raises(UserError, match=r"^students/student/seed0: its process was killed by SIGKILL .* memory"):
        train_plan(graph, plan(graph, arms, [0]), make(graph, "here", kill, processes=2), lambda _: None)
    assert [line.split("  (")[0] for line in lines[-3:]] == [
        "done  teacher/seed0",
        "start  students/kd-mri/seed0",
        "done  students/kd-mri/seed0",
    ]
    assert not workers(os.getpid())


def test_a_worker_ends_after_an_error_that_is_no_users() -> None:
    def end(payload: Any, callback: Any) -> None:
        sys.exit("of a plugin")

    outcome = perform(lambda: end, {})
    assert outcome["ended"] == "crashed" and outcome["message"].startswith("SystemExit: of a plugin")


DRIVER = '''
"""Starts `i2ikd compare --processes 2` in a child of its own, so that torch is imported once, and kills it."""
import os, signal, sys, time
from pathlib import Path
import torch
from i2ikd.cli.main import run

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[3])
from test_local import workers
out = Path(sys.argv[1]) / "out"

def until(condition, what, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)

def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

parent = os.fork()
if parent == 0:
    os._exit(run(["compare", sys.argv[2], "--out", str(out), "--arms", "student", "--processes", "2",
                  "-o", "task.dataset.size=[16, 16]", "-o", "training.epochs=100000"]))
logs = [out / "workers" / f"worker-{n}.log" for n in (0, 1)]
until(lambda: all(log.is_file() and " epoch " in log.read_text() for log in logs), "both are training")
both = workers(parent)
assert len(both) == 2, both
os.kill(parent, signal.SIGKILL)
os.waitpid(parent, 0)
until(lambda: all(ended(pid) for pid in both), "workers end with their parent")
assert len(list(out.glob("store/*/checkpoint.pt"))) == 2, "after they saved checkpoints"
'''


def test_workers_of_a_dead_parent_save_checkpoints_and_end(tiny_file: Path, tmp_path: Path, laboratory: Any) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(tiny_file), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    graph = laboratory.graph(SMALL, "training.epochs=100000")
    decisions = plan(graph, [graph.context.experiment.arm("student")], [0]).decisions
    assert [decision.action for decision in decisions] == ["go on", "go on"], "by the same command"
