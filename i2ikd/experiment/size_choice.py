"""Choice of the sizes to train where a grid has too many: by Optuna, from validation losses and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from i2ikd.errors import UserError
from i2ikd.executors.base import Executor, Log
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_plan
from i2ikd.experiment.sweep import SizedArms

_PROPOSALS = 20
"""Proposals for each size that is trained; those that are known or over the budget cost nothing."""


def choose_sizes(
    groups: Sequence[SizedArms],
    costs: Mapping[str, float],
    swept: Mapping[str, Sequence[Any]],
    trials: int,
    loss: Callable[[SizedArms], float],
) -> list[SizedArms]:
    """Return sizes with small losses for their costs, in the order of ``groups``.

    Optuna's TPE sampler minimises both (Ozaki et al., Multiobjective tree-structured Parzen estimator, GECCO 2020).

    Args:
        groups: sizes within the budget, more than ``trials``.
        costs: by name of the size.
        swept: values by option.
        trials: number of sizes to train, at least 1.
        loss: trains a size and returns its validation loss.

    Raises:
        UserError: optuna is missing.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(
            f"{len(groups)} sizes are within the budget, and {trials} are trained; their choice needs optuna, which is "
            'not installed: pip install "i2ikd[search]", or raise --trials'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    by_options = {_key(swept, group.size.options): group for group in groups}
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=trials // 2)
    )
    known: dict[str, float] = {}
    for _ in range(_PROPOSALS * trials):
        if len(known) == trials:
            break
        trial = study.ask()
        key = tuple(trial.suggest_categorical(option, range(len(values))) for option, values in swept.items())
        group = by_options.get(key)
        if group is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        name = group.size.name
        if name not in known:
            known[name] = loss(group)
        study.tell(trial, [known[name], costs[name]])
    return [group for group in groups if group.size.name in known]


def _key(swept: Mapping[str, Sequence[Any]], options: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(list(values).index(options[option]) for option, values in swept.items())


def trained_loss(graph: RunGraph, group: SizedArms, seed: int, executor: Executor, log: Log) -> float:
    """Train the main arm of a size, or find it, and return its lowest validation loss in the last stage.

    Args:
        graph: of the experiment.
        group: arms of the size.
        seed: of the run.
        executor: trains what is missing.
        log: prints what is trained.
    """
    arm = graph.context.experiment.arm(group.main)
    train_plan(graph, plan(graph, [arm], [seed]), executor, log)
    rows = graph.arm_run(arm, seed).folder.history()
    losses = [row["validation"] for row in rows if row["stage"] == rows[-1]["stage"] and row["validation"] is not None]
    return min(losses, default=math.inf)
