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
AuthInfo=socket={folder}/munge.socket,cred_expire=5
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
SchedulerParameters=batch_sched_delay=0,sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=all Nodes={host} Default=YES PriorityTier=1 GraceTime=60 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes={host} PriorityTier=9 MaxTime=INFINITE State=UP
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


@pytest.fixture
def graph(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], RunGraph]:
    """Make the graph of a teacher and two arms in a folder; squeue is called often."""
    monkeypatch.setattr("submitit.Job._results_timeout_s", 0)
    monkeypatch.setattr("i2ikd.executors.slurm.SlurmExecutor._poll_seconds", 0.2)
    monkeypatch.setattr("i2ikd.executors.squeue._MIN_SECONDS", 0.2)
    settings = [SMALL, "training.epochs=2", "teacher.training.epochs=120"]
    arms = [{"name": "student"}, {"name": "imitation", "recipe": "imitation"}]
    return lambda out: laboratory.graph(*settings, arms=arms, out=out)


PREEMPTION = "sbatch --partition=urgent --exclusive --output=/dev/null --wrap=true"
"""Submits a job that needs the whole node, and for which Slurm ends those of the other partition."""


def epochs(log: Path) -> list[int]:
    return [int(number) for number in re.findall(r" epoch (\d+) ", log.read_text())] if log.is_file() else []


def test_jobs_that_are_stopped_preempted_and_cancelled_end_with_the_numbers_of_one_process(
    states: Callable[[], list[str]], graph: Any, make: Any, first_job: Any, until: Any, tmp_path: Path
) -> None:
    log, lines, others = tmp_path / "slurm" / "workers", list[str](), list[subprocess.Popen[bytes]]()

    def record(line: str) -> None:
        lines.append(line.strip().partition("  (students")[0])
        if line.startswith("submit  students/student/"):
            output_of("scancel", "3")
        elif line.startswith("submit  teacher/") and line.endswith("(job 2)"):
            command = f"until grep -qs ' epoch ' {log}/2_0_log.err; do sleep 0.1; done; {PREEMPTION}"
            others.append(subprocess.Popen(["bash", "-c", command], stdout=subprocess.DEVNULL))

    def executor(graph: RunGraph) -> Any:
        options = {"partition": "all", "cpus_per_task": 1, "timeout_min": 9}
        return make(graph, "slurm", record, options=options)

    made, again = graph("slurm"), graph("slurm")
    teacher = first_job(made)
    with executor(made) as killed:  # it is not left before the others are through: as if by kill -9
        killed.submit(teacher)
        with executor(graph("slurm")) as stopped:
            stopped.submit(teacher)
            until(lambda: epochs(log / "1_0_log.err"))  # and is left in the middle, as by Ctrl-C
        until(lambda: states() == ["CANCELLED"], 60)
        assert made.teacher_run(0).folder.checkpoint.is_file()
        trained = epochs(log / "1_0_log.err")
        alone = r"^students/student/seed0: its job 3 ended without a result \(CANCELLED\)"
        with pytest.raises(UserError, match=alone):
            compare(again, again.context.experiment.arms, [0], log=record, executor=executor(again))
        assert others[0].wait() == 0
        written = list(lines)
    assert written == [
        "submit  teacher/seed0  (job 1)",
        "wait  teacher/seed0  (job 1)",
        "stop  teacher/seed0: cancelling",
        "go on  teacher/seed0  (it was interrupted)",
        "train  students/student/seed0",
        "train  students/imitation/seed0",
        "submit  teacher/seed0  (job 2)",
        "submit  students/student/seed0  (job 3)",
        "failed  students/student/seed0",
        "done  teacher/seed0",
        "submit  students/imitation/seed0  (job 5)",
        "done  students/imitation/seed0",
    ]
    assert output_of("scontrol", "show", "job", "2").count(" Restarts=1 ") == 1, "it was preempted"
    assert trained + epochs(log / "2_0_log.err") == list(range(1, 121)), "no epoch is trained twice"
    for out in ("slurm", "alone"):
        compare(graph(out), [again.context.experiment.arm("imitation")], [0], log=lambda _: None)
    for name in ("records.csv", "results.json"):
        assert (tmp_path / "slurm" / name).read_text() == (tmp_path / "alone" / name).read_text()
