"""Executors of a tiny experiment, made as ``i2ikd compare`` makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from i2ikd.callback import Callback, NullCallback
from i2ikd.executors.base import Executor, Job
from i2ikd.executors.choice import ExecutorName, make_executor
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.jobs import make_job, worker_setup
from i2ikd.experiment.plan import plan
from i2ikd.experiment.training import RunTrainer


@pytest.fixture
def make() -> Callable[..., Executor]:
    """Make an executor for the runs of a graph; their logs are in ``workers`` of its folder."""

    def build(
        graph: RunGraph,
        name: ExecutorName,
        log: Callable[[str], None] = lambda line: None,
        *,
        processes: int | None = None,
        callback: Callback | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Executor:
        context = graph.context
        return make_executor(
            callback or NullCallback(),
            log,
            context.store.root / "workers",
            lambda threads: worker_setup(context, threads),
            name=name,
            processes=processes,
            options=options,
        )

    return build


@pytest.fixture
def first_job() -> Callable[..., Job]:
    """Return the first job that a graph's experiment misses for seed 0."""

    def find(graph: RunGraph, teachers: bool = True) -> Job:
        groups = plan(graph, graph.context.experiment.arms, [0], teachers=teachers).groups
        return make_job(RunTrainer(graph), groups[0])

    return find
