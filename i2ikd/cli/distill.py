"""``i2ikd distill``: train one arm of an experiment, and its teacher if it is missing."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.config import Experiment
from i2ikd.engine.processes import ProcessGroup
from i2ikd.errors import UserError


@click.command("distill")
@options.experiment_file
@options.out_folder
@click.option(
    "--arm",
    "arm_name",
    metavar="NAME",
    help="Arm to train; default: the only one besides comparison.student and comparison.control.",
)
@click.option("--seeds", type=int, metavar="N", help="Use the first N seeds.")
@options.overrides
@options.as_json
@click.pass_obj
def command(
    group: ProcessGroup,
    experiment: Path,
    out: Path,
    arm_name: str | None,
    seeds: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Distil one student; the teacher is trained first if it is missing.

    Data-parallel training: torchrun --nproc-per-node N -m i2ikd distill ...
    """
    from i2ikd.cli.session import open_session
    from i2ikd.experiment.graph import row_name
    from i2ikd.experiment.left_out import left_out
    from i2ikd.experiment.schedule import train_arms

    checked = options.load_experiment(experiment, overrides)
    arm = checked.arm(arm_name or _only_arm(checked))
    with open_session(checked, out, [arm], quiet_stdout=as_json, group=group) as session:
        for line in left_out(session.graph, [arm]):
            session.log(line)
        results = []
        for seed in options.choose_seeds(checked, seeds):
            (run,) = train_arms(session.graph, [arm], seed, session.callback, session.log)
            name = row_name(arm, seed)
            results.append({"name": name, "folder": str(out / name), "weights": str(run.folder.weights)})
        if as_json and group.is_main:
            print_json(results)
        else:
            for item in results:
                session.log(f"{item['name']}: {item['folder']}")


def _only_arm(experiment: Experiment) -> str:
    """Return the only arm of an experiment, or the only one besides its references.

    Raises:
        UserError: there are several.
    """
    names = [arm.name for arm in experiment.arms]
    references = (experiment.comparison.student, experiment.comparison.control)
    distilled = [name for name in names if name not in references] if len(names) > 1 else names
    if len(distilled) != 1:
        raise UserError(f"the experiment has several arms; select one with --arm: {', '.join(names)}")
    return distilled[0]
