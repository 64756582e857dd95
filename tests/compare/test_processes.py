"""Runs trained by worker processes: the same numbers, errors that arrive, and nobody left behind."""

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

from i2ikd import UserError
from i2ikd.compare.grid import Plan, carry_out, plan
from i2ikd.compare.processes import Processes
from i2ikd.compare.run import compare
from i2ikd.compare.tracking import tracked
from i2ikd.compare.workplace import open_bench, setup_of
from i2ikd.engine.loop import Interrupted, Silence

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
            if int(status.rpartition(")")[2].split()[1]) == parent and b"i2ikd.compare.worker" in command:
                found.append(int(folder.name))
    return sorted(found)


def files(out: Path) -> list[str]:
    histories = sorted(path.read_text() for path in out.glob("store/*/history.json"))
    return [*((out / name).read_text() for name in ("records.csv", "results.json")), *histories]


def test_the_numbers_are_those_of_one_process(laboratory: Any, tmp_path: Path) -> None:
    one, other = laboratory.bench(SMALL, out="one"), laboratory.bench(SMALL, out="other")
    compare(one, one.experiment.arms, [0], say=lambda _: None)
    lines: list[str] = []
    log = laboratory.experiment("trackers=[{name='json-lines', path='%s'}]" % (tmp_path / "log")).trackers
    with tracked(Silence(), log, other.host) as watcher:
        executor = Processes(other, 2, lines.append, watcher)
        compare(other, other.experiment.arms, [0], say=lines.append, executor=executor)
    assert files(tmp_path / "one") == files(tmp_path / "other")
    assert not workers(os.getpid())
    told = [line.split("  (")[0].strip() for line in lines]
    assert told.index("done  teacher/seed0") < told.index("start  students/kd-mri/seed0")
    assert {line for line in told if line.startswith("done")} == {
        f"done  {name}/seed0" for name in ("teacher", "students/student", "students/control", "students/kd-mri")
    }
    assert (tmp_path / "log").read_text().count("students/kd-mri/seed0/") > 0, "trackers hear of finished runs"
    manifests = list((tmp_path / "other").glob("store/*/manifest.json"))
    assert len(manifests) == 4 and all('"threads": 1' in path.read_text() for path in manifests)
    assert len(list((tmp_path / "other" / "workers").glob("worker-*.log"))) == 2, (
        "a worker takes one unit after another"
    )


def test_what_was_measured_here_is_not_measured_again_in_a_worker(laboratory: Any, tmp_path: Path) -> None:
    bench = laboratory.bench("training.precision=auto", "training.device=auto")
    with Processes(bench, 2, lambda _: None):
        kept = json.loads((tmp_path / "out" / "store" / "precision.json").read_text())
    assert kept == {bench.trained_on: bench.precision}
    setup = setup_of(bench, threads=1)
    assert (setup["experiment"]["training"]["precision"], setup["threads"]) == (bench.precision, 1)
    assert setup["experiment"]["training"]["device"] == bench.trained_on
    there, arm = open_bench(json.loads(json.dumps(setup))), bench.experiment.arm("kd-mri")
    assert there.arm_run(arm, 5).specification == bench.arm_run(arm, 5).specification


def test_a_worker_that_comes_to_another_run_refuses(laboratory: Any) -> None:
    bench = laboratory.bench(SMALL)
    (unit,) = plan(bench, [], [0]).units
    specification = unit.runs[0].specification.model_copy(update={"task": {"files": "of another machine"}})
    other = replace(unit, runs=(replace(unit.runs[0], specification=specification),))
    with pytest.raises(UserError, match=r"^teacher/seed0 is another run where it is to be trained .*task\.files: "):
        carry_out(bench, Plan((), (other,)), Processes(bench, 2, lambda _: None), lambda _: None)
    assert not workers(os.getpid())


def test_ctrl_c_ends_the_workers(laboratory: Any) -> None:
    bench, lines = laboratory.bench(SMALL, "training.epochs=100000"), []

    def interrupt(line: str) -> None:
        lines.append(line)
        if line == " start  students/student/seed0":
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    wanted = plan(bench, [bench.experiment.arm("student")], [0])
    with pytest.raises(Interrupted):
        carry_out(bench, wanted, Processes(bench, 2, interrupt), lambda _: None)
    assert lines[-1] == "  stop  teacher/seed0, students/student/seed0: saving checkpoints"
    assert not workers(os.getpid())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_that_dies_is_named_with_its_exit_status(laboratory: Any) -> None:
    bench = laboratory.bench(SMALL, "training.epochs=100000")

    def kill(line: str) -> None:
        if line == " start  students/student/seed0":
            os.kill(workers(os.getpid())[-1], signal.SIGKILL)

    wanted = plan(bench, [bench.experiment.arm("student")], [0])
    with pytest.raises(UserError, match=r"^students/student/seed0: its process was killed by SIGKILL .* memory"):
        carry_out(bench, wanted, Processes(bench, 2, kill), lambda _: None)
    assert not workers(os.getpid())


DRIVER = '''
"""Starts `i2ikd compare --processes 2` in a child of its own, so that torch is imported once, and kills it."""
import os, signal, sys, time
from pathlib import Path
import torch
from i2ikd.cli.main import run

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[3])
from test_processes import workers
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
    bench = laboratory.bench(SMALL, "training.epochs=100000")
    decisions = plan(bench, [bench.experiment.arm("student")], [0]).decisions
    assert [decision.action for decision in decisions] == ["go on", "go on"], "by the same command"
