"""Jobs of an experiment: groups of runs for an executor, and the same jobs in a worker process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from i2ikd.callback import Callback
from i2ikd.config import check_experiment, digest
from i2ikd.engine.device import keep_large_blocks
from i2ikd.engine.run import Run
from i2ikd.engine.store import differences
from i2ikd.errors import UserError
from i2ikd.executors.base import Job, WorkerSetup
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.training import RunTrainer
from i2ikd.registry import default_registry

_NAME = re.compile(r"students/(?P<arm>.+)/seed\d+")


def make_job(trainer: RunTrainer, runs: Sequence[Run]) -> Job:
    """Return the job that trains a group of runs."""

    def replay(callback: Callback) -> None:
        for run in runs:
            callback.on_run_trained(run.name, run.folder.history())

    specifications = [run.specification.model_dump(mode="json") for run in runs]
    seed = int(runs[0].name.rpartition("seed")[2].partition("-")[0])
    return Job(
        name=_name(runs),
        key=digest([run.specification.digest for run in runs]),
        payload={"seed": seed, "runs": [run.name for run in runs], "specifications": specifications},
        affinity=seed,
        run=lambda callback: trainer.train(runs, callback),
        is_finished=lambda: all(run.folder.finished for run in runs),
        replay=replay,
        provides=frozenset(run.specification.digest for run in runs),
        requires=frozenset(needed.specification.digest for run in runs for needed in run.required),
    )


def _name(runs: Sequence[Run]) -> str:
    """Return a run's name, or ``students/{student,kd-mri}/seed0`` for several."""
    if len(runs) == 1:
        return runs[0].name
    arms = [match["arm"] for run in runs if (match := _NAME.fullmatch(run.name))]
    return f"students/{{{','.join(arms)}}}/{runs[0].name.rpartition('/')[2]}"


def worker_setup(context: ExperimentContext, threads: int | None) -> WorkerSetup:
    """Return the setup of a worker; device and precision are passed on as resolved, so that nothing is measured again.

    Args:
        context: the experiment.
        threads: of torch in each worker; ``None``: torch's own choice.
    """
    context.remember_precision()
    resolved = {"device": context.trained_on, "precision": context.precision}
    training = context.training.model_copy(update=resolved)
    experiment = context.experiment.model_copy(update={"training": training})
    arguments = {
        "experiment": experiment.model_dump(mode="json", exclude_unset=True),
        "out": str(context.store.root.resolve()),
    }
    return WorkerSetup("i2ikd.experiment.jobs:open_experiment", arguments, str(Path.cwd()), threads)


def open_experiment(arguments: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Callback], None]:
    """Open an experiment in a worker process and return the function that trains a job's payload.

    Raises:
        UserError: the experiment cannot be opened on this machine.
    """
    keep_large_blocks()
    experiment = check_experiment(arguments["experiment"], "the experiment")
    graph = RunGraph(ExperimentContext(experiment, default_registry(), Path(arguments["out"])))
    trainer = RunTrainer(graph)
    return lambda payload, callback: trainer.train(runs_of_payload(graph, payload), callback)


def runs_of_payload(graph: RunGraph, payload: Mapping[str, Any]) -> list[Run]:
    """Return the runs of a payload that another process made from the same experiment.

    Raises:
        UserError: they are other runs in this process: the data, an installed plugin or its version differ.
    """
    seed, runs = int(payload["seed"]), []
    for name, expected in zip(payload["runs"], payload["specifications"], strict=True):
        run = _run_of_name(graph, name, seed)
        changed = differences(expected, run.specification.model_dump(mode="json"))
        if changed:
            raise UserError(
                f"{name}: expected the same run as where the comparison was started, got another one "
                f"({'; '.join(changed[:3])}); both must see the same data and have the same plugins"
            )
        runs.append(run)
    return runs


def _run_of_name(graph: RunGraph, name: str, seed: int) -> Run:
    match = _NAME.fullmatch(name)
    if match:
        return graph.arm_run(graph.context.experiment.arm(match["arm"]), seed)
    return next(run for run in graph.teacher_runs(seed) if run.name == name)
