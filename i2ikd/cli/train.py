"""``i2ikd train``: train the teacher of an experiment."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.engine.processes import ProcessGroup


@click.command("train")
@options.experiment_file
@options.out_folder
@click.option("--seeds", type=int, metavar="N", help="Use the first N seeds.")
@options.overrides
@options.as_json
@click.pass_obj
def command(
    group: ProcessGroup, experiment: Path, out: Path, seeds: int | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Train the teacher, once per seed; `distill` and `compare` with the same --out reuse it.

    Data-parallel training: torchrun --nproc-per-node N -m i2ikd train ...
    """
    from i2ikd.cli.session import open_session
    from i2ikd.experiment.schedule import train_teacher

    checked = options.load_experiment(experiment, overrides)
    with open_session(checked, out, [], quiet_stdout=as_json, group=group) as session:
        results = []
        for seed in options.choose_seeds(checked, seeds):
            run = train_teacher(session.graph, seed, session.callback, session.log)
            results.append({"name": run.name, "folder": str(out / run.name), "weights": str(run.folder.weights)})
        if as_json and group.is_main:
            print_json(results)
        else:
            for item in results:
                session.log(f"{item['name']}: {item['folder']}")
