"""``i2ikd search``: the smallest student within a budget that is near the teacher."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from i2ikd.cli import compare, options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError

if TYPE_CHECKING:
    from i2ikd.cli.session import Session
    from i2ikd.config import Arm
    from i2ikd.executors.base import Executor
    from i2ikd.experiment.size_costs import Budget, SizeCost
    from i2ikd.experiment.sweep import SizedArms

_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@click.command("search")
@options.experiment_file
@options.out_folder
@click.option("--latency", metavar="TIME", help="Most time of one slice in the runtime, such as 20ms.")
@click.option("--params", metavar="NUMBER", help="Most parameters, such as 50k.")
@click.option("--macs", metavar="NUMBER", help="Most multiply-adds of one slice, such as 1.5G.")
@click.option("--bytes", "size", metavar="SIZE", help="Largest file in the runtime, such as 200kB.")
@click.option(
    "--runtime",
    type=click.Choice(["eager", "onnxruntime", "openvino", "torch-export"]),
    default="eager",
    show_default=True,
    help="Runtime of latency and bytes.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="Accepted loss to the teacher, in the unit of the first column.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    metavar="N",
    help="Most sizes that are trained; of more, Optuna chooses.",
)
@click.option("--seeds", type=int, metavar="N", help="Use the first N seeds.")
@options.processes
@options.executor
@options.executor_options
@options.overrides
@options.as_json
def command(
    experiment: Path,
    out: Path,
    latency: str | None,
    params: str | None,
    macs: str | None,
    size: str | None,
    runtime: str,
    within: float,
    trials: int,
    seeds: int | None,
    processes: int | None,
    executor: str,
    executor_options: tuple[str, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare students of several sizes, and find the smallest one that is near the teacher.

    [sweep] in the experiment lists options of the student: `student.depth = [2, 3, 4]`. The costs of every combination
    are measured first; those over the budget are named and not trained. Every arm is trained once for each size, beside
    a control of that size, and compared as by `i2ikd compare`. An interrupted search continues from its checkpoints.
    """
    from i2ikd.experiment.context import ExperimentContext
    from i2ikd.experiment.graph import RunGraph
    from i2ikd.experiment.search import conclude_search
    from i2ikd.experiment.size_costs import Budget, measure
    from i2ikd.experiment.sweep import sized_experiment, sizes
    from i2ikd.registry import default_registry

    budget = Budget(
        latency_ms=_quantity("--latency", latency, {"ms": 1.0, "s": 1e3}),
        params=_quantity("--params", params, _FACTORS),
        macs=_quantity("--macs", macs, _FACTORS),
        bytes=_quantity("--bytes", size, {f"{factor}B": value for factor, value in _FACTORS.items()}),
    )
    read = options.load_experiment(experiment, overrides)
    registry = default_registry()
    whole, groups = sized_experiment(read, sizes(read))
    costs = dict(
        zip(
            (g.size.name for g in groups),
            measure(RunGraph(ExperimentContext(whole, registry, out)), groups, budget, runtime),
        )
    )
    affordable = [group for group in groups if not budget.exceeded(costs[group.size.name])]
    over = [
        (group.size.name, costs[group.size.name], budget.exceeded(costs[group.size.name]))
        for group in groups
        if group not in affordable
    ]
    for name, _, limits in over:
        click.echo(f"not trained: {name}: {'; '.join(limits)}", err=as_json)
    if not affordable:
        raise UserError(f"search: none of {len(groups)} sizes is within the budget; raise it, or sweep smaller values")
    narrowed, affordable = sized_experiment(read, [group.size for group in affordable])
    chosen = list(affordable)

    def select(session: Session, executor: Executor, arms: Sequence[Arm], numbers: Sequence[int]) -> list[Arm]:
        nonlocal chosen
        if len(affordable) > trials:
            chosen = _chosen(session, executor, affordable, costs, budget, trials, numbers[0])
        left_out = {name for group in affordable if group not in chosen for name in group.names}
        return [arm for arm in arms if arm.name not in left_out]

    execution = compare.Execution(executor, processes, executor_options)
    comparison = compare.run(narrowed, out, None, seeds, False, as_json, execution, select)
    from i2ikd.report.legend import describe_metric
    from i2ikd.report.search_page import write_search

    unit = describe_metric(next(iter(comparison.columns.values())), registry).unit
    result = conclude_search(comparison, chosen, costs, budget, runtime, within, unit)
    not_chosen = [group.size.name for group in affordable if group not in chosen]
    result = replace(result, over_budget=over, not_chosen=not_chosen)
    files = write_search(result, out)
    if as_json:
        print_json(result.as_json())
    else:
        from i2ikd.report.search_page import search_table

        click.echo(search_table(result))
        click.echo(result.sentence)
    click.echo("written: " + ", ".join(str(file) for file in files), err=as_json)


def _chosen(
    session: Session,
    executor: Executor,
    groups: Sequence[SizedArms],
    costs: dict[str, SizeCost],
    budget: Budget,
    trials: int,
    seed: int,
) -> list[SizedArms]:
    """Return the sizes that Optuna chooses, trained."""
    from i2ikd.experiment.size_choice import choose_sizes, trained_loss

    values = {
        name: float(getattr(cost, budget.quantity)) for name, cost in costs.items() if getattr(cost, budget.quantity)
    }
    return choose_sizes(
        groups,
        values,
        session.context.experiment.sweep.student,
        trials,
        lambda group: trained_loss(session.graph, group, seed, executor, session.log),
    )


def _quantity(option: str, text: str | None, units: dict[str, float]) -> float | None:
    """Return the number of a text such as ``20ms``, in the unit whose factor is 1."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2] not in units or float(match[1]) <= 0:
        stated = ", ".join(unit for unit in units if unit)
        raise UserError(f"{option}: expected a positive number with a unit of {stated}, got {text!r}")
    return float(match[1]) * units[match[2]]
