"""Runs trained as jobs of a real Slurm: one of our own, with one node, where its programs are installed.

On Debian they are in ``munge``, ``slurmctld``, ``slurmd`` and ``slurm-client``. There is no accounting database.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.experiment.compare import compare
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_plan

SMALL = "task.dataset.size=[16, 16]"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "setpriv")
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # three jobs import torch, each after the other
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(program, path=SEARCHED) for program in PROGRAMS),
        reason="starts a Slurm of its own: needs root and " + ", ".join(PROGRAMS),
    ),
]

CONFIGURATION = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for end in (one, other):
            end.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Any) -> Iterator[Callable[[], list[str]]]:
    """A Slurm in ``tmp_path``; yield a function that returns the states of its jobs in the order of submission."""
    folder = tmp_path / "cluster"
    for path in (folder, folder / "state", folder / "spool"):
        path.mkdir(mode=0o755)
    controller, node = free_ports()
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, controller=controller, node=node)
    (folder / "slurm.conf").write_text(text)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setenv("PATH", SEARCHED)
    munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("key-file", "pid-file", "log-file")]
    munge += [f"--socket={folder}/munge.socket", f"--seed-file={folder}/munge.seed"]
    with contextlib.ExitStack() as daemons:

        def start(*command: str) -> None:
            log = daemons.enter_context((folder / f"{command[0]}.txt").open("wb"))
            bound = ("setpriv", "--pdeathsig", "TERM", *command)  # it ends with the tests, even if these are killed
            daemon = daemons.enter_context(subprocess.Popen(bound, stdout=log, stderr=log))
            daemons.callback(daemon.terminate)

        start("munged", "--foreground", "--force", *munge)
        until((folder / "munge.socket").is_socket, 20)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        until(lambda: output_of("sinfo", "--noheader", "--format=%T") == "idle", 30)
        yield lambda: output_of("squeue", "--noheader", "--states=all", "--sort=i", "--format=%T").split()
        output_of("scancel", f"--user={os.geteuid()}")
        until(lambda: not output_of("squeue", "--noheader"), 60)


def epochs(log: Path) -> list[int]:
    return [int(number) for number in re.findall(r" epoch (\d+) ", log.read_text())] if log.is_file() else []


def test_a_comparison_that_is_killed_and_stopped_gives_the_numbers_of_one_process(
    states: Callable[[], list[str]], laboratory: Any, make: Any, first_job: Any, until: Any, tmp_path: Path
) -> None:
    lines: list[str] = []

    def graph(out: str) -> RunGraph:
        settings = [SMALL, "training.epochs=2", "teacher.training.epochs=120"]
        return laboratory.graph(*settings, arms=[{"name": "imitation", "recipe": "imitation"}], out=out)

    def executor(graph: RunGraph) -> Any:
        options = {"partition": "all", "cpus_per_task": 1, "timeout_min": 9}
        return make(graph, "slurm", lines.append, options=options)

    log = tmp_path / "slurm" / "workers"
    made = graph("slurm")
    teacher = first_job(made)
    with executor(made) as killed:  # it is not left before the others are through: as if by kill -9
        killed.submit(teacher)
        with executor(graph("slurm")) as stopped:
            stopped.submit(teacher)
            until(lambda: epochs(log / "1_0_log.err"))  # and is left in the middle, as by Ctrl-C
        until(lambda: states() == ["CANCELLED"], 60)
        assert made.teacher_run(0).folder.checkpoint.is_file()
        trained = epochs(log / "1_0_log.err")
        again = graph("slurm")
        compare(again, again.context.experiment.arms, [0], log=lines.append, executor=executor(again))
        until(lambda: states() == ["CANCELLED", "COMPLETED", "COMPLETED"], 60)
        assert [line.strip() for line in lines] == [
            "submit  teacher/seed0  (job 1)",
            "wait  teacher/seed0  (job 1)",
            "stop  teacher/seed0: cancelling",
            "go on  teacher/seed0  (it was interrupted)",
            "train  students/imitation/seed0",
            "submit  teacher/seed0  (job 2)",
            "done  teacher/seed0",
            "submit  students/imitation/seed0  (job 3)",
            "done  students/imitation/seed0",
        ]
    assert trained + epochs(log / "2_0_log.err") == list(range(1, 121)), "no epoch is trained twice"
    alone = graph("alone")
    compare(alone, alone.context.experiment.arms, [0], log=lambda _: None)
    for name in ("records.csv", "results.json"):
        assert (tmp_path / "slurm" / name).read_text() == (tmp_path / "alone" / name).read_text()


def test_a_job_without_a_result_is_noticed_and_the_others_are_cancelled(
    states: Callable[[], list[str]], laboratory: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submitit.Job._results_timeout_s", 0)
    graph = laboratory.graph(SMALL, arms=[{"name": "student"}])
    setup = {"setup": [f"mkdir {tmp_path}/first && exit 3", "sleep 60"]}
    executor = make(graph, "slurm", options=setup)
    with pytest.raises(UserError, match=r"its job \d ended without a result \(FAILED\); .* ends with: nothing"):
        train_plan(graph, plan(graph, graph.context.experiment.arms, [0]), executor, lambda _: None)
    assert sorted(states()) == ["CANCELLED", "FAILED"]
