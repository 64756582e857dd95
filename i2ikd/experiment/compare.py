"""A whole comparison: train the missing runs, score, count costs, summarise, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from i2ikd.callback import Callback, NullCallback
from i2ikd.config import Arm, digest
from i2ikd.deploy.delivered_network import DeliveredNetwork
from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.run import Run
from i2ikd.evaluation.machine import cpu_model
from i2ikd.evaluation.records import Record, records_text
from i2ikd.executors.base import Executor, InProcessExecutor, Log
from i2ikd.experiment.budget import unequal_budgets
from i2ikd.experiment.checks import check
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.controls import controls_of
from i2ikd.experiment.costs import Costs, measure_costs, thread_counts
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.left_out import left_out
from i2ikd.experiment.levers import missing_levers
from i2ikd.experiment.metrics import table_metrics
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import name_reused_rows, train_plan
from i2ikd.experiment.scores import References, Scorer, network_of, teacher_seed
from i2ikd.experiment.summary import Comparison, RowKind, summarise
from i2ikd.experiment.verdict import verdict
from i2ikd.files import write_atomically

TEACHER = "teacher"


@dataclass(frozen=True)
class TableRow:
    """A trained row of the table, before it is scored.

    Attributes:
        name: ``teacher``, or an arm's.
        runs: by seed; several runs of one seed are combined.
        transforms: applied to the finished network.
        combine: name and options of the combination of several runs.
    """

    name: str
    runs: Mapping[int, tuple[Run, ...]]
    transforms: References = ()
    combine: Mapping[str, Any] | None = field(default=None)

    def architecture(self, seed: int) -> str:
        """Return a digest of what costs depend on: architecture, transforms and combination, without the weights."""
        specifications = [run.specification for run in self.runs[seed]]
        return digest([[(s.model, s.options) for s in specifications], list(self.transforms), self.combine])


def compare(
    graph: RunGraph,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    log: Log = print,
    lockstep: bool = False,
    executor: Executor | None = None,
    callback: Callback | None = None,
) -> Comparison:
    """Train the missing runs, evaluate each network from its saved weights, write ``results.json`` and ``records.csv``.

    Args:
        graph: of the experiment's runs.
        arms: its arms, or some of them.
        seeds: its seeds, or others.
        log: prints which runs are reused and which are trained.
        lockstep: train the arms of a seed in one pass.
        executor: trains the missing runs; by default this process.
        callback: receives the schedule of the missing runs, and without an executor the events of training.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: invalid settings, components or data, before any training where possible.
    """
    context = graph.context
    check(graph, arms)
    columns, metrics = table_metrics(context)
    scorer = Scorer(context, metrics, log)
    scorer.baselines()  # reads the whole test split, so that its errors are raised before training
    lines = (*left_out(graph, arms), *unequal_budgets(graph, arms, seeds[0]), *missing_levers(graph, arms, seeds[0]))
    for line in lines:
        log(line)
    wanted = plan(graph, arms, seeds, lockstep=lockstep)
    events = callback or NullCallback()
    train_plan(graph, wanted, executor or InProcessExecutor(events), log, events)
    name_reused_rows(graph, arms, seeds)
    rows = table_rows(graph, arms, seeds)
    records, kinds = _score(scorer, rows)
    settings = context.experiment.comparison
    references = dict.fromkeys([settings.student, settings.control, *settings.references])
    comparison = summarise(
        context.experiment.name,
        _metadata(context, seeds),
        columns,
        records,
        kinds,
        _costs(context, rows, seeds[0]),
        [name for name in references if name in kinds],
        settings.student,
        {name: metric.higher_is_better for name, metric in metrics.items()},
    )
    comparison.student = settings.student if settings.student in kinds else None
    comparison.control = settings.control
    unit = metrics[next(iter(columns.values()))].unit
    controls = controls_of(graph, arms, seeds[0])
    comparison.conclusions = verdict(comparison, settings.control, settings.student, unit, controls)
    for row in rows:
        for seed, runs in row.runs.items():
            comparison.histories[f"{row.name}/seed{seed}"] = runs[0].folder.history()
    out = context.store.root
    text = json.dumps(comparison.as_json(), indent=1, ensure_ascii=False) + "\n"
    write_atomically(out / "records.csv", records_text(comparison.records), follow_link=False)
    write_atomically(out / "results.json", text, follow_link=False)
    OutputManifest(out).state_files([out / "records.csv", out / "results.json"])
    return comparison


def table_rows(graph: RunGraph, arms: Sequence[Arm], seeds: Sequence[int]) -> list[TableRow]:
    """Return the teacher's row and one per arm."""
    teachers = {seed: graph.teacher_runs(seed) for seed in seeds}
    combine = graph.context.experiment.teacher.combine.model_dump() if len(teachers[seeds[0]]) > 1 else None
    rows = [TableRow(TEACHER, teachers, graph.trained_transforms(TEACHER), combine)]
    for arm in arms:
        runs = {seed: (graph.arm_run(arm, seed),) for seed in seeds}
        rows.append(TableRow(arm.name, runs, graph.trained_transforms(arm.name)))
    return rows


def _score(scorer: Scorer, rows: Sequence[TableRow]) -> tuple[list[Record], dict[str, RowKind]]:
    records = list(scorer.baselines())
    kinds: dict[str, RowKind] = {record.arm: "baseline" for record in records}
    for row in rows:
        kinds[row.name] = "teacher" if row.name == TEACHER else "arm"
        given = row.runs[next(iter(row.runs))][0].specification.weights is not None
        for seed, runs in list(row.runs.items())[: 1 if given else None]:
            number = teacher_seed(runs, seed)
            records += scorer.network(runs, row.name, number, row.transforms, row.combine)
    return records, kinds


def _costs(context: ExperimentContext, rows: Sequence[TableRow], seed: int) -> dict[str, Costs]:
    """Count and time every distinct architecture once, and every delivered file."""
    settings = context.experiment.comparison
    distinct: dict[str, nn.Module] = {}
    networks: dict[str, nn.Module] = {}
    for row in rows:
        architecture = row.architecture(seed)
        if not row.transforms and architecture in distinct:  # without transforms, it is no file
            networks[row.name] = distinct[architecture]
            continue
        network = network_of(context, row.runs[seed], row.combine, row.transforms)
        is_file = isinstance(network, DeliveredNetwork)
        networks[row.name] = network if is_file else distinct.setdefault(architecture, network)
    threads = thread_counts(settings.threads, settings.latency)
    return measure_costs(networks, context.example(), threads, context.store.root)


def _metadata(context: ExperimentContext, seeds: Sequence[int]) -> dict[str, str]:
    training = context.training
    return {
        **context.task.describe(),
        "slices": ", ".join(f"{split} {len(context.dataset(split))}" for split in ("train", "val", "test")),
        "seeds": ", ".join(str(seed) for seed in seeds),
        "training": f"{training.epochs} epochs a stage, batch {training.batch}, {context.precision}, "
        f"{context.trained_on}",
        **({"cpu": cpu_model()} if context.experiment.comparison.latency else {}),
    }
