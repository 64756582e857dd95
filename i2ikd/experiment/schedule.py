"""Training of a plan's missing runs by an executor, each after the runs it requires."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd.callback import Callback, NullCallback
from i2ikd.config import Arm
from i2ikd.engine.integrity import repair
from i2ikd.engine.run import Run
from i2ikd.engine.run_folder import RunFolder
from i2ikd.executors.base import Executor, InProcessExecutor, Job, Log, execute
from i2ikd.experiment.finished import record_origin
from i2ikd.experiment.graph import RunGraph, row_name
from i2ikd.experiment.jobs import make_job
from i2ikd.experiment.networks import take_given_weights
from i2ikd.experiment.plan import Plan, plan
from i2ikd.experiment.training import RunTrainer


def train_plan(graph: RunGraph, wanted: Plan, executor: Executor, log: Log, callback: Callback | None = None) -> None:
    """Print the decisions of a plan, and train every group of it; one that fails leaves out those that need its runs.

    Args:
        graph: of the experiment's runs.
        wanted: the plan.
        executor: trains the groups.
        log: prints the decisions.
        callback: receives the schedule; the events of training reach the callback of the executor.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: a run cannot be trained.
    """
    names: dict[str, dict[str, RunFolder]] = {}
    reused: dict[str, RunFolder] = {}
    for decision in wanted.decisions:
        log(str(decision))
        run = decision.run
        names.setdefault(run.specification.digest, {})[run.name] = run.folder
        if decision.action == "reuse" and run.folder.finished:
            repair(run)
            reused[run.name] = run.folder
    store = graph.context.store
    store.name(reused)
    trainer = RunTrainer(graph)
    jobs = []
    for group in wanted.groups:
        if group[0].specification.weights is not None:  # given weights are copied, not trained
            store.name(names[group[0].specification.digest])
            take_given_weights(graph.context, group[0])
        else:
            jobs.append(make_job(trainer, group))

    def on_submit(job: Job) -> None:
        """Let the names of the job's runs point to them; until then they point to runs of older settings."""
        store.name({name: folder for digest in job.provides for name, folder in names[digest].items()})

    if callback is not None:
        callback.on_schedule(scheduled(graph, wanted))
    execute(jobs, executor, on_submit, log, stop_at_failure=graph.context.group.size > 1)
    for decision in wanted.decisions:
        record_origin(graph.context, decision.run.folder, decision.run.name)


def scheduled(graph: RunGraph, wanted: Plan) -> list[tuple[str, int]]:
    """Return name and steps of every loop that trains a group of a plan; given weights are copied, not trained."""
    context = graph.context
    count = len(context.dataset("train"))
    steps = count // min(context.training.batch, count)
    return [
        (", ".join(run.name for run in group), steps * max(sum(stage.epochs for stage in run.stages) for run in group))
        for group in wanted.groups
        if group[0].specification.weights is None
    ]


def name_reused_rows(graph: RunGraph, arms: Sequence[Arm], seeds: Sequence[int]) -> None:
    """Name the rows of arms that reuse the network of another arm: links to its run, which their transforms follow.

    Args:
        graph: of the experiment's runs, which are finished.
        arms: which.
        seeds: which.
    """
    reusing = [arm for arm in arms if arm.of is not None]
    rows = {row_name(arm, seed): graph.arm_run(arm, seed).folder for arm in reusing for seed in seeds}
    graph.context.store.name(rows)
    for name, folder in rows.items():
        record_origin(graph.context, folder, name)


def train_teacher(graph: RunGraph, seed: int, callback: Callback | None = None, log: Log = print) -> Run:
    """Train a seed's teacher in this process, or find it, or copy the weights that were given."""
    events = callback or NullCallback()
    train_plan(graph, plan(graph, [], [seed]), InProcessExecutor(events), log, events)
    return graph.teacher_run(seed)


def train_arms(
    graph: RunGraph,
    arms: Sequence[Arm],
    seed: int,
    callback: Callback | None = None,
    log: Log = print,
    lockstep: bool = False,
) -> list[Run]:
    """Train the arms of one seed in this process, after the runs they need; finished ones are left alone.

    Args:
        graph: of the experiment's runs.
        arms: which.
        seed: which.
        callback: receives the events of training.
        log: prints which runs are reused and which are trained, and why.
        lockstep: train arms with the same inputs in one pass over the data; the numbers are the same.
    """
    wanted = plan(graph, arms, [seed], lockstep=lockstep, teachers=False)
    events = callback or NullCallback()
    train_plan(graph, wanted, InProcessExecutor(events), log, events)
    name_reused_rows(graph, arms, [seed])
    return [graph.arm_run(arm, seed) for arm in arms]
