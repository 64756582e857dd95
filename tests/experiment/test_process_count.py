"""``--processes auto``: as many processes as cores, groups of runs and memory permit; interrupted runs keep threads."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch

from i2ikd.callback import NullCallback
from i2ikd.engine.loop import Interrupted
from i2ikd.evaluation import machine
from i2ikd.experiment import process_count
from i2ikd.experiment.plan import plan
from i2ikd.experiment.process_count import ProcessCount, choose_processes, limited
from i2ikd.experiment.schedule import train_arms


@pytest.mark.parametrize(
    ("limits", "processes", "threads"),
    [
        ({"cores": 16, "groups": 40, "run_mib": 900, "free_mib": 64_000}, 16, 1),
        ({"cores": 16, "groups": 40, "run_mib": 900, "free_mib": None}, 16, 1),
        ({"cores": 16, "groups": 3, "run_mib": 900, "free_mib": 64_000}, 3, 5),
        ({"cores": 16, "groups": 40, "run_mib": 900, "free_mib": 6_000}, 5, 3),
        ({"cores": 16, "groups": 40, "run_mib": 900, "free_mib": 100}, 1, 16),
    ],
    ids=["cores", "unknown memory", "groups", "memory", "hardly any memory"],
)
def test_the_least_limit_counts(limits: dict[str, Any], processes: int, threads: int) -> None:
    found = limited(**limits)
    assert (found.processes, found.threads) == (processes, threads)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, and memory for all of them."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(process_count, "available_mib", lambda: 1e9)


def chosen(laboratory: Any, seeds: int = 1, **settings: Any) -> ProcessCount:
    graph = laboratory.graph("task.dataset.size=[16, 16]")
    return choose_processes(graph, plan(graph, graph.context.experiment.arms, list(range(seeds)), **settings))


def test_a_comparison_has_a_process_for_each_core(laboratory: Any, cores: None) -> None:
    assert chosen(laboratory, seeds=3) == ProcessCount(8, 1, "8 cores"), "a teacher and three arms for each seed"


def test_fewer_groups_have_more_threads(laboratory: Any, cores: None) -> None:
    assert chosen(laboratory) == ProcessCount(4, 2, "8 cores, 4 runs to train")
    assert chosen(laboratory, lockstep=True) == ProcessCount(2, 4, "8 cores, 2 runs to train")


def test_memory_is_that_of_a_measured_run(laboratory: Any, cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of these tests has more than 100 MiB and less than 4 GiB."""
    monkeypatch.setattr(process_count, "available_mib", lambda: 100.0)
    assert chosen(laboratory, seeds=3).processes == 1
    monkeypatch.setattr(process_count, "available_mib", lambda: 8 * 4096 / 0.8)
    assert chosen(laboratory, seeds=3).processes == 8


def test_interrupted_runs_go_on_with_their_threads(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(NullCallback):
        def on_epoch_end(self, *_: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    graph = laboratory.graph("task.dataset.size=[16, 16]")
    with pytest.raises(Interrupted):
        train_arms(graph, graph.context.experiment.arms, 0, Stop(), log=lambda _: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert chosen(laboratory) == ProcessCount(8, 1, "as many threads as the interrupted runs had")


def test_available_memory_is_less_than_the_limit_of_the_control_group(tmp_path: Any) -> None:
    for name, text in {
        "max": "1000000\n",
        "current": "700000\n",
        "stat": "anon 400000\nfile 300000\nfile_dirty 9\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(text, encoding="utf-8")
    assert machine._of_control_group(tmp_path) == 1_000_000 - 700_000 + 300_000
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    assert machine._of_control_group(tmp_path) is None
    assert machine._of_control_group(tmp_path / "none") is None
