"""Scores of networks on the test split, from saved weights in a fresh build, stored beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from i2ikd.config import digest
from i2ikd.deploy.transform import delivery_of
from i2ikd.engine.checksums import FileRecord, difference, file_record, record_of
from i2ikd.engine.run import Run
from i2ikd.engine.run_folder import RunFolder
from i2ikd.engine.store import differences
from i2ikd.errors import UserError
from i2ikd.evaluation.predict import evaluate_baselines, evaluate_network
from i2ikd.evaluation.records import NO_SEED, Record, read_records, records_text
from i2ikd.executors.base import Log
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.networks import derived_folder, load_input, transformed
from i2ikd.files import write_atomically
from i2ikd.global_state import kept_global_state
from i2ikd.metric import Metric

_SPLIT = "test"
_FORMAT = 3
"""Version of the stored records, incremented when they change. 2: with the subject of every volume. 3: with the
networks, and the checksum of the records."""
_RECORDS = "records.csv"


class Evaluation(BaseModel):
    """Content of ``evaluation.json``: what stored records depend on, and their checksum."""

    model_config = ConfigDict(extra="forbid")
    origin: dict[str, Any]
    records: FileRecord
    checksum: str = ""
    """Digest of the other values."""

    def digest(self) -> str:
        """Return the digest of everything but the checksum."""
        return digest(self.model_dump(mode="json", exclude={"checksum"}))


References = Sequence[Mapping[str, Any]]
"""Names and options of transforms."""


def network_of(
    context: ExperimentContext, runs: Sequence[Run], combine: Mapping[str, Any] | None, transforms: References
) -> nn.Module:
    """Return the network of a row of the table: of one run, or of several combined, after its transforms."""
    network = load_input(context.registry, runs, combine)
    if not transforms:
        return network
    digests = [run.specification.digest for run in runs]
    folder = derived_folder(context.store.root, digests, transforms, combine) if context.group.is_main else None
    return transformed(context, network, transforms, folder)


class Scorer:
    """Scores networks once, and returns the stored records while they are valid.

    Args:
        context: the experiment.
        metrics: by name in the records.
        log: prints why stored scores are computed again.
    """

    def __init__(self, context: ExperimentContext, metrics: Mapping[str, Metric], log: Log = print) -> None:
        self._context = context
        self._metrics = metrics
        self._log = log

    def network(
        self,
        runs: Sequence[Run],
        arm: str,
        seed: int,
        transforms: References = (),
        combine: Mapping[str, Any] | None = None,
    ) -> list[Record]:
        """Return the records of a row of the table for one seed.

        Args:
            runs: finished; several are combined.
            arm: name of the row.
            seed: in the records; ``NO_SEED`` for a network with given weights.
            transforms: applied to the finished network.
            combine: how several runs become one network.
        """
        context = self._context
        made: list[nn.Module] = []

        def make() -> nn.Module:
            if not made:
                made.append(network_of(context, runs, combine, transforms))
            return made[0]

        def score() -> list[Record]:
            dataset = context.dataset(_SPLIT)
            return evaluate_network(make(), context.task, dataset, self._metrics, arm, seed, context.device)

        networks = [[run.specification.digest, file_record(run.folder.weights).sha256] for run in runs]
        origin = self._origin | {"networks": networks, "transforms": list(transforms), "combine": combine}
        if transforms and (delivery := delivery_of(make())):
            origin["delivery"] = delivery
        records = self._stored_or(self._folder(runs, transforms, combine), origin, score, runs[0].name)
        return [replace(record, arm=arm, seed=seed) for record in records]

    def _folder(self, runs: Sequence[Run], transforms: References, combine: Mapping[str, Any] | None) -> RunFolder:
        if len(runs) == 1 and not transforms:
            return runs[0].folder
        digests = [run.specification.digest for run in runs]
        return RunFolder(derived_folder(self._context.store.root, digests, transforms, combine))

    def baselines(self) -> list[Record]:
        """Return the records of the task's non-learned baselines."""
        context = self._context
        origin = self._origin
        folder = RunFolder(context.store.root / "store" / f"baseline-{digest(origin)[:16]}")

        def score() -> list[Record]:
            return evaluate_baselines(context.task, context.dataset(_SPLIT), self._metrics)

        return self._stored_or(folder, origin, score, "baselines")

    def _stored_or(
        self, folder: RunFolder, origin: dict[str, Any], score: Callable[[], list[Record]], name: str
    ) -> list[Record]:
        """Return the stored records if they are intact and of this origin; otherwise score, and store."""
        file = folder.path / _RECORDS
        reason = _why_not_stored(folder, origin)
        if reason == "":
            return read_records(file)
        if reason is not None:
            self._log(f"{name}: scored again from its weights ({reason})")
        with kept_global_state(f"the scoring of {name}"):
            records = score()
        if folder.path.is_symlink():
            self._log(f"{name}: the scores are not stored, as {folder.path} is a symbolic link")
            return records
        text = records_text(records)
        evaluation = Evaluation(origin=origin, records=record_of(text.encode()))
        folder.path.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text, follow_link=False)
        evaluation = evaluation.model_copy(update={"checksum": evaluation.digest()})
        folder.write("evaluation", evaluation.model_dump(mode="json"))  # after the records, which it states
        return records

    @cached_property
    def _origin(self) -> dict[str, Any]:
        """What records of a network depend on beside the network.

        The keys are part of it because they name the subjects, which are no part of a run's identity: they change
        statistics and no weights.
        """
        context = self._context
        return {
            "format": _FORMAT,
            "task": digest(context.identity),
            "test data": digest(context.test_identity),
            "keys": digest([list(key) for key in context.dataset(_SPLIT).keys]),
            "metrics": sorted(self._metrics),
            "split": _SPLIT,
        }


def _why_not_stored(folder: RunFolder, origin: dict[str, Any]) -> str | None:
    """Return why stored records cannot be used: empty if they can, ``None`` if there are none."""
    file = folder.path / "evaluation.json"
    try:
        before = folder.read("evaluation")
        if before is None:
            lost = (folder.path / _RECORDS).is_file()
            return f"{file} is missing" if lost else None
        if isinstance(before, dict) and "origin" not in before:
            return "an older version stored them, without the networks that they are of"
        stored = Evaluation.model_validate(before)
    except (UserError, ValidationError):
        return f"{file} is damaged"
    if stored.checksum != stored.digest():
        return f"{file} is damaged"
    changed = differences(stored.origin, origin)
    if changed:
        return "changed: " + "; ".join(changed[:3])
    problem = difference(folder.path / _RECORDS, stored.records)
    return f"{folder.path / _RECORDS} is damaged: {problem}" if problem else ""


def teacher_seed(runs: Sequence[Run], seed: int) -> int:
    """Return the seed of a teacher's records; one with given weights has none."""
    return NO_SEED if runs[0].specification.weights else seed
