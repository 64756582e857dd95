"""Runs trained as jobs, by submitit: its local executor, and a Slurm of five small scripts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.cli.main import run
from i2ikd.executors.choice import read_options
from i2ikd.experiment.compare import compare
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.plan import Plan, plan
from i2ikd.experiment.schedule import train_plan
from i2ikd.registry import default_registry

SMALL = "task.dataset.size=[16, 16]"


def quiet(line: str) -> None:
    pass


def missing(graph: RunGraph, teachers: bool = False) -> Plan:
    return plan(graph, graph.context.experiment.arms, [0], teachers=teachers)


def test_a_job_of_this_machine_gives_the_same_numbers(laboratory: Any, make: Any, tmp_path: Path) -> None:
    arms = [{"name": "student"}]
    one, other = (laboratory.graph(SMALL, arms=arms, out=out) for out in ("one", "other"))
    laboratory.train(one, "student")
    lines: list[str] = []
    executor = make(other, "submitit-local", lines.append)
    train_plan(other, missing(other), executor, lines.append)
    compare(one, one.context.experiment.arms, [0], log=quiet)
    compare(other, other.context.experiment.arms, [0], log=quiet)
    for name in ("records.csv", "results.json"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "other" / name).read_text()
    assert [line.split("  (")[0].strip() for line in lines] == [
        f"{what}  students/student/seed0" for what in ("train", "submit", "done")
    ]


SCRIPTS = {
    "sbatch": """
set -m  # the job is a process group of its own
id=$$
cp "$1" $jobs/$id.script  # as Slurm does: the file given is renamed as soon as the number is known
export SLURM_JOB_ID=$id SLURM_PROCID=0
echo RUNNING > $jobs/$id.state
(
  while :; do
    bash $jobs/$id.script
    [ -e $jobs/$id.again ] || break
    rm $jobs/$id.again
  done
  { cat $jobs/ended || echo COMPLETED; } > $jobs/$id.next  # squeue never reads half a state
  mv $jobs/$id.next $jobs/$id.state
) > /dev/null 2>&1 &
echo $! > $jobs/$id.group
echo "Submitted batch job $id"
""",
    "srun": """
while [[ $1 == --* ]]; do
  case $1 in --output) out=$2; shift 2;; --error) err=$2; shift 2;; *) shift;; esac
done
out=${out//%j/$SLURM_JOB_ID}; err=${err//%j/$SLURM_JOB_ID}
echo $BASHPID > $jobs/$SLURM_JOB_ID.task
exec "$@" >> ${out//%t/0} 2>> ${err//%t/0}
""",
    "squeue": """
for state in $(ls $jobs/*.state 2> /dev/null); do
  id=$(basename $state .state)
  echo "$id|$(cat $state)|$(sed -n 's/^#SBATCH --job-name=//p' $jobs/$id.script)"
done
""",
    "scontrol": "touch $jobs/$2.again; ls $jobs/../out/store/*/checkpoint.pt >> $jobs/requeued",
    "scancel": "echo CANCELLED > $jobs/$1.next; mv $jobs/$1.next $jobs/$1.state; kill -TERM -- -$(cat $jobs/$1.group)",
}


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster of one node in ``tmp_path``; yield the folder with its jobs' states."""
    folder, commands = tmp_path / "jobs", tmp_path / "commands"
    folder.mkdir()
    commands.mkdir()
    for name, script in SCRIPTS.items():
        (commands / name).write_text(f"#!/bin/bash\njobs={folder}\n{script}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    yield folder
    for group in folder.glob("*.group"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(group.read_text()), signal.SIGKILL)


def test_a_job_outlives_its_comparison_and_its_time_limit(
    jobs: Path, laboratory: Any, make: Any, first_job: Any, tmp_path: Path, identical: Any, until: Any
) -> None:
    def graph(out: str) -> RunGraph:
        return laboratory.graph(SMALL, "training.epochs=80", arms=[{"name": "student"}], out=out)

    alone, made = graph("alone"), graph("out")
    options = {"partition": "short", "timeout_min": 7, "cpus_per_task": 1}
    killed = make(made, "slurm", options=options)
    job = first_job(made, teachers=False)
    killed.__enter__()
    killed.submit(job)  # and is never left, as by kill -9
    script = next((tmp_path / "out" / "workers").glob("*_submission.sh")).read_text()
    assert "--partition=short" in script and "--time=7" in script and "--cpus-per-task=1" in script
    log = until(lambda: [p for p in (tmp_path / "out" / "workers").glob("*.err") if " epoch " in p.read_text()])
    os.kill(int(next(jobs.glob("*.task")).read_text()), signal.SIGUSR1)  # a warning; submitit's is SIGUSR2

    lines: list[str] = []
    again = graph("out")
    executor = make(again, "slurm", lines.append, options=options)
    train_plan(again, missing(again), executor, lines.append)
    events = [line.strip().split("  (")[0] for line in lines]
    assert events[1:] == ["wait  students/student/seed0", "done  students/student/seed0"], "no second job is submitted"
    assert (jobs / "requeued").read_text().count("checkpoint.pt") == 1, "it was saved, then requeued"
    epochs = [int(part.split()[0]) for part in log[0].read_text().split(" epoch ")[1:]]
    assert epochs == list(range(1, 81)), "no epoch is trained twice"
    made_alone = laboratory.train(alone, "student")
    made_by_job = again.arm_run(again.context.experiment.arm("student"), 0)
    assert identical(laboratory.weights(made_alone), laboratory.weights(made_by_job))
    killed.__exit__(None, None, None)


class TestJobsWithoutResults:
    @pytest.fixture
    def trained(self, jobs: Path, laboratory: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Train a teacher and a student whose jobs end at once; return what was logged and the error."""
        monkeypatch.setattr("submitit.Job._results_timeout_s", 0)
        monkeypatch.setattr("i2ikd.executors.slurm.SlurmExecutor._poll_seconds", 0.05)
        monkeypatch.setattr("i2ikd.executors.squeue._MIN_SECONDS", 0.0)

        def train(state: str, arm: dict[str, Any]) -> tuple[list[str], UserError]:
            (jobs / "ended").write_text(state)
            graph, lines = laboratory.graph(SMALL, arms=[arm]), list[str]()
            executor = make(graph, "slurm", lines.append, options={"setup": ["exit 3"]})
            with pytest.raises(UserError) as caught:
                train_plan(graph, missing(graph, teachers=True), executor, lines.append)
            return [line.strip().split("  (")[0] for line in lines], caught.value

        return train

    def test_each_is_named_at_the_end(self, trained: Any) -> None:
        lines, error = trained("FAILED", {"name": "student"})
        assert lines[-3:] == ["submit  teacher/seed0", "submit  students/student/seed0", "failed  teacher/seed0"]
        assert str(error).endswith("; one more failed, and the same command trains what is missing")
        for name, line in zip(("teacher", "students/student"), (str(error), *error.details), strict=True):
            assert re.match(rf"{name}/seed0: its job \d+ ended without a result \(FAILED\); .*nothing", line)

    def test_those_that_the_cluster_ends_are_submitted_again(self, trained: Any) -> None:
        lines, error = trained("NODE_FAIL", {"name": "imitation", "recipe": "imitation"})
        assert lines[2:] == ["submit  teacher/seed0", *4 * ["ended  teacher/seed0", "submit  teacher/seed0"]]
        assert re.match(r"teacher/seed0: its job \d+ ended without a result \(NODE_FAIL\)", str(error))
        assert error.details == ("students/imitation/seed0 was not trained: it needs teacher/seed0",)


def test_device_and_precision_of_other_machines_must_be_stated(laboratory: Any, tmp_path: Path) -> None:
    def remote(*overrides: str) -> ExperimentContext:
        return ExperimentContext(laboratory.experiment(*overrides), default_registry(), tmp_path / "out", remote=True)

    device, precision = r"-o training\.device=cuda \(or cpu\)", r"-o training\.precision=bf16 \(or fp32\)"
    with pytest.raises(UserError, match=f"^training.device = 'auto': .* {device}$"):
        remote("training.device=auto")
    with pytest.raises(UserError, match=f"^training.precision = 'auto': .* {precision}$"):
        remote("training.precision=auto")
    both = r"^training\.device = 'auto' and training\.precision = 'auto': "
    with pytest.raises(UserError, match=f"{both}.* {device} {precision}$"):
        remote("training.device=auto", "training.precision=auto")
    graph = RunGraph(remote("training.device=cuda"))
    specification = graph.arm_run(graph.context.experiment.arm("student"), 0).specification
    assert specification.stages[0]["training"]["device"] == "cuda", "whether or not this machine has one"


class TestWrongOptions:
    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (["partition"], r"--executor-option 'partition' is not of the form key=value, e\.g\. partition=gpu"),
            (["nodes=2"], "--executor-option nodes: a run is trained by one task"),
        ],
    )
    def test_those_that_no_cluster_takes(self, texts: list[str], message: str) -> None:
        with pytest.raises(UserError, match=message):
            read_options("slurm", texts)

    def test_those_of_a_cluster_are_refused_without_one(
        self, tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["compare", str(tiny_file), "--out", str(tmp_path / "out"), "--executor-option", "partition=gpu"]
        assert run(words) == 2
        assert "--executor-option is for --executor slurm" in capsys.readouterr().err
        assert not (tmp_path / "out").exists(), "nothing is written"
        assert read_options("here", []) == {}

    def test_the_number_of_its_jobs_is_not_chosen_from_this_machine(
        self, tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["--executor", "slurm", "--processes", "auto"]
        assert run(["compare", str(tiny_file), "--out", str(tmp_path / "out"), *options]) == 2
        assert "--processes auto is for runs on this machine, got --executor slurm" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.usefixtures("jobs")
    @pytest.mark.parametrize("options", [{"partiton": "gpu"}, {"timeout_min": "soon"}])
    def test_those_that_submitit_does_not_know(self, options: dict[str, Any], laboratory: Any, make: Any) -> None:
        with pytest.raises(UserError, match=f"--executor-option: .*{next(iter(options))}"):
            make(laboratory.graph(), "slurm", options=options)

    def test_no_slurm_here(self, laboratory: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(UserError, match='Could not detect "srun"'):
            make(laboratory.graph(), "slurm")

    def test_no_submitit(self, laboratory: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "submitit", None)
        with pytest.raises(UserError, match=r'not installed; pip install "i2ikd\[slurm\]"'):
            make(laboratory.graph(), "slurm")
