"""One comparison from beginning to end: train what is missing, score, count costs, condense, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from i2ikd.config import Arm, digest
from i2ikd.engine.loop import Callback
from i2ikd.engine.run import Run
from i2ikd.evaluation.latency import latency_of_many
from i2ikd.evaluation.predict import make_metrics
from i2ikd.evaluation.profile import count_macs, count_parameters
from i2ikd.evaluation.records import Record, write_records
from i2ikd.executors.base import Executor, InProcessExecutor
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.schedule import Say, execute, plan
from i2ikd.experiment.scores import score_baselines, score_run, score_teacher
from i2ikd.experiment.summary import Comparison, Costs, summarise
from i2ikd.files import write_atomically
from i2ikd.metric import Metric

Kind = Literal["baseline", "teacher", "arm"]


def compare(
    context: ExperimentContext,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    callback: Callback | None = None,
    say: Say = print,
    lockstep: bool = False,
    executor: Executor | None = None,
) -> Comparison:
    """Train what is missing, evaluate each network from its saved weights, write ``results.json`` and ``records.csv``.

    Args:
        bench: the experiment.
        arms: its arms, or some of them.
        seeds: its seeds, or some of them.
        watcher: is told how the training goes on.
        say: prints what is reused and what is trained.
        lockstep: train the arms of a seed in one pass.
        executor: trains what is missing; this process, unless given.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: what cannot work; before any training where that can be known.
    """
    context.check(arms)
    metrics = make_metrics(context.registry, context.task)
    score_baselines(context, metrics)  # reads the whole test split: what is wrong in it shows before the training
    wanted = plan(context, arms, seeds, lockstep=lockstep)
    execute(context, wanted, executor or InProcessExecutor(context, callback), say)
    runs = {("teacher", seed): context.teacher_run(seed) for seed in seeds}
    runs |= {(arm.name, seed): context.arm_run(arm, seed) for seed in seeds for arm in arms}
    records, kinds = _score(context, arms, seeds, runs, metrics)
    settings = context.experiment.comparison
    references = dict.fromkeys([settings.student, settings.control, "kd-mri"])
    columns = dict(context.task.columns)
    comparison = summarise(
        context.experiment.name,
        _metadata(context, seeds),
        columns,
        records,
        kinds,
        _costs(context, arms, seeds[0], runs),
        [name for name in references if name in kinds],
        settings.student,
        {name: metric.higher_is_better for name, metric in metrics.items()},
    )
    for (name, seed), run in runs.items():
        comparison.histories[f"{name}/seed{seed}"] = run.folder.read("history") or []
    out = context.store.root
    write_records(out / "records.csv", comparison.records)
    write_atomically(out / "results.json", json.dumps(comparison.as_json(), indent=1, ensure_ascii=False) + "\n")
    return comparison


def _score(
    context: ExperimentContext,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    runs: Mapping[tuple[str, int], Run],
    metrics: Mapping[str, Metric],
) -> tuple[list[Record], dict[str, Kind]]:
    records = score_baselines(context, metrics)
    kinds: dict[str, Kind] = {record.arm: "baseline" for record in records}
    kinds["teacher"] = "teacher"
    given = context.experiment.teacher.weights is not None
    for seed in seeds[:1] if given else seeds:
        records = records + score_teacher(context, runs["teacher", seed], seed, metrics)
    for arm in arms:
        kinds[arm.name] = "arm"
        for seed in seeds:
            records = records + score_run(context, runs[arm.name, seed], arm.name, seed, metrics)
    return records, kinds


def _costs(
    context: ExperimentContext, arms: Sequence[Arm], seed: int, runs: Mapping[tuple[str, int], Run]
) -> dict[str, Costs]:
    """Count and time every distinct architecture once; latencies are taken in interleaved rounds, on the CPU."""
    example = context.example()
    names = ["teacher", *(arm.name for arm in arms)]
    shapes = {
        name: digest([runs[name, seed].specification.model, runs[name, seed].specification.options]) for name in names
    }
    networks = {shapes[name]: context.load(runs[name, seed]) for name in names}
    latencies = latency_of_many(networks, example) if context.experiment.comparison.latency else {}
    costs = {}
    for name in names:
        network, latency = networks[shapes[name]], latencies.get(shapes[name])
        costs[name] = Costs(
            params=count_parameters(network)[0],
            macs=count_macs(network, example)[0],
            latency_ms=latency.median_ms if latency else None,
            latency_spread_ms=latency.spread_ms if latency else None,
        )
    return costs


def _metadata(context: ExperimentContext, seeds: Sequence[int]) -> dict[str, str]:
    training = context.training
    return {
        **context.task.describe(),
        "slices": ", ".join(f"{split} {len(context.dataset(split))}" for split in ("train", "val", "test")),
        "seeds": ", ".join(str(seed) for seed in seeds),
        "training": f"{training.epochs} epochs a stage, batch {training.batch}, {context.precision}, "
        f"{context.trained_on}",
    }
