"""What is trained together, and after what: a unit is the teacher of a seed, or arms of a seed in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from i2ikd.compare.workbench import Workbench
from i2ikd.engine.loop import Watcher
from i2ikd.engine.run import Run, train_runs
from i2ikd.engine.store import differences
from i2ikd.errors import UserError


@dataclass(frozen=True)
class Unit:
    """Runs of one seed that are trained in one pass over the data, by one process."""

    seed: int
    arms: tuple[str, ...]
    """The arm of each run, by name; none: the one run is the seed's teacher."""
    runs: tuple[Run, ...]
    teacher: Run | None = None
    """The teacher that the runs listen to: it has to be finished before they start."""

    @property
    def name(self) -> str:
        """As a person knows it: ``students/kd-mri/seed0``, ``students/{student,kd-mri}/seed0``."""
        if len(self.runs) == 1:
            return self.runs[0].name
        return f"students/{{{','.join(self.arms)}}}/seed{self.seed}"

    def waits_for(self, others: Iterable[Unit]) -> bool:
        """Whether one of the others makes the teacher that this one listens to."""
        return self.teacher is not None and any(self.teacher.folder == run.folder for o in others for run in o.runs)

    @property
    def finished(self) -> bool:
        """Whether all its runs ended well."""
        return all(run.folder.finished for run in self.runs)

    def order(self) -> dict[str, Any]:
        """What another process is told to train, as JSON: its names, and the specifications that it must come to."""
        specifications = [run.specification.model_dump(mode="json") for run in self.runs]
        return {"seed": self.seed, "arms": list(self.arms), "specifications": specifications}


def ordered_unit(bench: Workbench, order: Mapping[str, Any]) -> Unit:
    """Return the unit of an order, made in another process from the same experiment.

    Raises:
        UserError: the runs are others here: the data, an installed plugin or its version differ.
    """
    seed, arms = int(order["seed"]), tuple(order["arms"])
    runs = tuple(bench.arm_run(bench.experiment.arm(arm), seed) for arm in arms) or (bench.teacher_run(seed),)
    for run, wanted in zip(runs, order["specifications"], strict=True):
        changed = differences(wanted, run.specification.model_dump(mode="json"))
        if changed:
            raise UserError(
                f"{run.name} is another run where it is to be trained than where the comparison was started "
                f"({'; '.join(changed[:3])}); both must see the same data and have the same plugins"
            )
    listens = any(run.specification.teacher is not None for run in runs)
    return Unit(seed, arms, runs, bench.teacher_run(seed) if listens else None)


def train_unit(bench: Workbench, unit: Unit, watcher: Watcher | None = None) -> None:
    """Train the runs of a unit in this process, going on from their checkpoints; finished ones are left alone.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: what the loop refuses, or a teacher that is not finished.
    """
    if unit.teacher is None:
        ground = bench.ground(unit.seed)
    else:
        ground = bench.ground(unit.seed, bench.load(unit.teacher), unit.teacher.specification.digest)
    train_runs(unit.runs, ground, watcher)
