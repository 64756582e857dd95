"""``i2ikd distill``: one arm of an experiment, with the teacher it needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.engine.processes import ProcessGroup
from i2ikd.errors import UserError


@click.command("distill")
@options.experiment_file
@options.out_folder
@click.option(
    "--arm", "arm_name", metavar="NAME", help="Which arm; the one named kd-mri, or the only one, unless given."
)
@click.option("--seeds", type=int, metavar="N", help="The first N seeds.")
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
    """Distil one student: the teacher is trained if it is missing, then the arm.

    In several processes: torchrun --nproc-per-node N -m i2ikd distill ...
    """
    from i2ikd.cli.session import working
    from i2ikd.experiment.schedule import train_arms

    checked = options.load_experiment(experiment, overrides)
    names = [arm.name for arm in checked.arms]
    chosen = arm_name or ("kd-mri" if "kd-mri" in names else names[0] if len(names) == 1 else None)
    if chosen is None:
        raise UserError(f"say which arm with --arm: {', '.join(names)}")
    arm = checked.arm(chosen)
    with working(checked, out, [arm], quiet_stdout=as_json, group=group) as session:
        made = []
        for seed in options.choose_seeds(checked, seeds):
            (run,) = train_arms(session.context, [arm], seed, session.callback, session.say)
            made.append({"name": run.name, "folder": str(out / run.name), "weights": str(run.folder.weights)})
        if as_json and group.is_main:
            click.echo(json.dumps(made, indent=1))
        else:
            for item in made:
                session.say(f"{item['name']}: {item['folder']}")
