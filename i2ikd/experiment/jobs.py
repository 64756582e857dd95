"""What is trained together, and after what: a unit is the teacher of a seed, or arms of a seed in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from i2ikd.engine.loop import Callback
from i2ikd.engine.run import Run, train_runs
from i2ikd.engine.store import differences
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext


@dataclass(frozen=True)
class Job:
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

    def waits_for(self, others: Iterable[Job]) -> bool:
        """Whether one of the others makes the teacher that this one listens to."""
        return self.teacher is not None and any(self.teacher.folder == run.folder for o in others for run in o.runs)

    @property
    def finished(self) -> bool:
        """Whether all its runs ended well."""
        return all(run.folder.finished for run in self.runs)

    def payload(self) -> dict[str, Any]:
        """What another process is told to train, as JSON: its names, and the specifications that it must come to."""
        specifications = [run.specification.model_dump(mode="json") for run in self.runs]
        return {"seed": self.seed, "arms": list(self.arms), "specifications": specifications}


def job_from_payload(context: ExperimentContext, payload: Mapping[str, Any]) -> Job:
    """Return the unit of an order, made in another process from the same experiment.

    Raises:
        UserError: the runs are others here: the data, an installed plugin or its version differ.
    """
    seed, arms = int(payload["seed"]), tuple(payload["arms"])
    runs = tuple(context.arm_run(context.experiment.arm(arm), seed) for arm in arms) or (context.teacher_run(seed),)
    for run, wanted in zip(runs, payload["specifications"], strict=True):
        changed = differences(wanted, run.specification.model_dump(mode="json"))
        if changed:
            raise UserError(
                f"{run.name} is another run where it is to be trained than where the comparison was started "
                f"({'; '.join(changed[:3])}); both must see the same data and have the same plugins"
            )
    needs_teacher = any(run.specification.teacher is not None for run in runs)
    return Job(seed, arms, runs, context.teacher_run(seed) if needs_teacher else None)


def train_job(context: ExperimentContext, job: Job, callback: Callback | None = None) -> None:
    """Train the runs of a unit in this process, going on from their checkpoints; finished ones are left alone.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: what the loop refuses, or a teacher that is not finished.
    """
    if job.teacher is None:
        shared = context.shared(job.seed)
    else:
        shared = context.shared(job.seed, context.load(job.teacher), job.teacher.specification.digest)
    train_runs(job.runs, shared, callback)
