"""Run as a script: starts pairs of processes as torchrun does, but by forking, so that torch is imported once."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import timm.optim  # noqa: F401 (imported once, for all)
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from i2ikd.builtin.objectives.weighted_terms import WeightedTerms
from i2ikd.cli.main import run
from i2ikd.config import read_experiment
from i2ikd.engine.loop import Interrupted
from i2ikd.engine.processes import ProcessGroup, joined_processes
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.schedule import train_arms
from i2ikd.objective import Loss
from i2ikd.registry import default_registry

file, out, overrides = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
experiment = read_experiment(file, overrides)
torch.set_num_threads(1)


def pair(work: Callable[[int], int | None]) -> list[int]:
    """Do the work in two processes; return their exit codes. What they print is in files."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(store.port), WORLD_SIZE="2")
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0")
    children = []
    for rank in ("0", "1"):
        pid = os.fork()
        if pid == 0:
            os.environ.update(RANK=rank, LOCAL_RANK=rank)
            with (out / f"{work.__name__}{rank}").open("w") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            try:
                code = work(int(rank)) or 0
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """A signal after some steps, and at once another: torchrun passes on what a scheduler sends to all.

    Callbacks are for the main process, so the steps are those of the optimiser.
    """
    made = []

    def step(*_: object) -> None:
        made.append(1)
        if len(made) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    handle = register_optimizer_step_post_hook(step)
    try:
        yield
    finally:
        handle.remove()


def training(rank: int) -> None:
    """All arms, once never interrupted, and once stopped after every third step by a signal to process 1."""
    with joined_processes() as group:
        found = exchanged(group)
        if group.rank == 1:
            torch.save(found, out / "exchanged.pt")
        graph = RunGraph(ExperimentContext(experiment, default_registry(), out / "whole", group))
        for arm in experiment.arms:
            train_arms(graph, [arm], 0, log=lambda _: None)
        stops, going = 0, list(experiment.arms)
        datasets = graph.context._datasets
        graph = RunGraph(ExperimentContext(experiment, default_registry(), out / "parts", group))
        graph.context._datasets = datasets  # simulated subjects are drawn once
        while going:
            try:
                with stopped_after(3) if group.rank == 1 else nullcontext():
                    train_arms(graph, going[:1], 0, log=lambda _: None)
                going.pop(0)
            except Interrupted:
                stops += 1
        print("stops", stops)


def exchanged(group: ProcessGroup) -> dict[str, Any]:
    rank = group.rank
    equal = [
        torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last) + rank,
        torch.tensor([rank == 0, True]),
        torch.tensor(7 + rank),
        torch.tensor([1 + 2j * rank]),
        torch.tensor([0.5 + rank], dtype=torch.bfloat16),
    ]
    group.broadcast_(equal)
    both, one, none, wave = (torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(4))
    both.grad = torch.full((2, 3), 1.0 + 2 * rank)
    one.grad = torch.full((2, 3), 3.0) if rank == 0 else None
    wave.data = wave.data.to(torch.complex64)
    wave.grad = torch.full((2, 3), complex(rank, 2))
    loss = torch.tensor(5.0 + rank)
    averaged = group.average([both, one, none, wave], {"loss": loss})
    return {
        "equal": equal,
        "gradients": [both.grad, one.grad, none.grad, wave.grad],
        "loss": [averaged["loss"], loss],
        "any": [group.any(rank == 1), group.any(False)],
        "sum": group.sum([1.0 + rank, 0.25]),
        "first": group.broadcast(4 - rank),
    }


def in_the_second_step(do: Callable[[dict[str, Any]], Any]) -> None:
    forward, calls = WeightedTerms.forward, []

    def changed(self: WeightedTerms, *arguments: Any) -> Loss:
        loss = forward(self, *arguments)
        calls.append(1)
        return Loss(loss.total, do(loss.parts)) if len(calls) == 2 else loss

    WeightedTerms.forward = changed  # type: ignore[method-assign]


def not_finite(rank: int) -> int:
    if rank == 1:
        in_the_second_step(lambda parts: {name: part * float("nan") for name, part in parts.items()})
    return run(["train", str(file), "--out", str(out / "not-finite")])


def killed(rank: int) -> int:
    if rank == 1:
        in_the_second_step(lambda parts: os.kill(os.getpid(), signal.SIGKILL))
    return run(["train", str(file), "--out", str(out / "killed")])


def uneven(rank: int) -> int:
    return run(["train", str(file), "--out", str(out / "uneven"), "-o", "training.batch=3"])


works = [training] if overrides else [training, not_finite, killed, uneven]
print(json.dumps({work.__name__: pair(work) for work in works}))
