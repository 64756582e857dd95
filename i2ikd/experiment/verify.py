"""Comparison of every file of a store with what is stated about it; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from i2ikd.config import digest
from i2ikd.deploy.stored_file import NAME as DELIVERY
from i2ikd.deploy.stored_file import read_delivery
from i2ikd.engine.checkpoint import load_weights, read_tensors
from i2ikd.engine.checksums import Manifest, difference
from i2ikd.engine.output_manifest import NAME, OutputManifest
from i2ikd.engine.run_folder import RunFolder
from i2ikd.engine.teacher_cache.entry import verify_entry
from i2ikd.errors import UserError
from i2ikd.experiment.folder import MARK
from i2ikd.experiment.scores import Evaluation
from i2ikd.files import read_model


class Problem(NamedTuple):
    """A file that differs from what is stated about it."""

    file: Path
    problem: str


class Verification(NamedTuple):
    """Result of a verification.

    Attributes:
        files: number of files that were compared.
        problems: files that differ.
        unstated: folders of older versions, whose files have no checksums.
    """

    files: int
    problems: list[Problem]
    unstated: list[Path]


def verify(folder: Path) -> Verification:
    """Verify an output folder with all of its runs, or a single run.

    Args:
        folder: of a comparison, or of one run.

    Raises:
        UserError: the folder is neither.
    """
    found = _Verifier()
    if (folder / MARK).is_file() or ((folder / NAME).is_file() and (folder / "store").is_dir()):
        found.output_folder(folder)
    elif (folder / "run.json").is_file() or (folder / "weights.pt").is_file():
        found.run(folder)
    else:
        raise UserError(f"{folder}: expected the folder of a comparison or of a run, got another one")
    return Verification(found.count, sorted(set(found.problems)), found.unstated)


class _Verifier:
    """Collects the problems of a folder."""

    def __init__(self) -> None:
        self.count = 0
        self.problems: list[Problem] = []
        self.unstated: list[Path] = []

    def _add(self, file: Path, problem: str) -> None:
        self.count += 1
        if problem:
            self.problems.append(Problem(file, problem))

    def output_folder(self, out: Path) -> None:
        """Verify the results, the names, the runs and the cache of an output folder."""
        try:
            manifest = OutputManifest(out).read()
        except UserError as error:
            self._add(out / NAME, _without(error, out / NAME))
            manifest = Manifest()
        if manifest.files is None and not self.problems:
            self.unstated.append(out)
        for name, record in (manifest.files or {}).items():
            self._add(out / name, difference(out / name, record))
        for name, start in manifest.runs.items():
            self._name(out / name, start)
        for folder in _folders(out / "store"):
            self.run(folder)
        for entry in _folders(out / "cache"):
            self._entry(entry)

    def _name(self, link: Path, start: str) -> None:
        folder = RunFolder(link.resolve())
        if not link.exists():
            self._add(link, f"the run {start} that it stands for is missing")
            return
        actual = folder.digest or folder.path.name
        wrong = not actual.startswith(start)
        self._add(link, f"expected the run {start}, got the run {actual[:16]}" if wrong else "")

    def run(self, path: Path) -> None:
        """Verify the files of a run, and its scores."""
        folder = RunFolder(path)
        if path.name.startswith(("derived-", "baseline-")):
            self._scores(folder)
            self._delivery(folder)
            return
        if folder.checkpoint.is_file():
            self._tensors(folder.checkpoint)
        if folder.finished or folder.stated():
            self._finished(folder)
        if (path / "records.csv").is_file() or (path / "evaluation.json").is_file():
            self._scores(folder)

    def _finished(self, folder: RunFolder) -> None:
        try:
            manifest = folder.manifest()
        except UserError as error:
            self._add(folder.path / NAME, _without(error, folder.path / NAME))
            manifest = Manifest()
        if manifest.files is None:
            self.unstated.append(folder.path)
        for name, record in (manifest.files or {}).items():
            self._add(folder.path / name, difference(folder.path / name, record))
        stated = manifest.specification
        if folder.path.parent.name == "store" and stated and not stated.startswith(folder.path.name):
            self._add(folder.path, f"expected the run {folder.path.name}, got the run {stated[:16]}")
        if any(problem.file == folder.weights for problem in self.problems):
            return
        try:
            own = load_weights(folder.weights).digest
        except UserError as error:
            self._add(folder.weights, _without(error, folder.weights))
            return
        expected = stated or own
        self._add(folder.weights, "" if own == expected else f"expected the run {expected[:16]}, got {own[:16]}")
        self._specification(folder, own)

    def _specification(self, folder: RunFolder, own: str) -> None:
        """Compare the specification in ``run.json`` with the weights' digest of it."""
        try:
            actual = digest(folder.record().specification)
        except UserError as error:
            self._add(folder.path / "run.json", _without(error, folder.path / "run.json"))
            return
        self._add(folder.path / "run.json", "" if actual == own else "its specification is not that of the weights")

    def _scores(self, folder: RunFolder) -> None:
        file = folder.path / "evaluation.json"
        try:
            evaluation = read_model(file, Evaluation, "run `i2ikd compare` again")
        except UserError as error:
            self._add(file, _without(error, file))
            return
        self._add(file, "" if evaluation.checksum == evaluation.digest() else "its checksum does not match")
        self._add(folder.path / "records.csv", difference(folder.path / "records.csv", evaluation.records))

    def _delivery(self, folder: RunFolder) -> None:
        file = folder.path / f"{DELIVERY}.json"
        try:
            stated = read_delivery(folder.path)
        except UserError as error:
            self._add(file, _without(error, file))
            return
        if stated is not None:
            self._add(file, "")
            for name, record in stated.files.items():
                self._add(folder.path / name, difference(folder.path / name, record))

    def _tensors(self, file: Path) -> None:
        try:
            read_tensors(file)
        except UserError as error:
            self._add(file, _without(error, file))
            return
        self._add(file, "")

    def _entry(self, entry: Path) -> None:
        try:
            verify_entry(entry)
        except (OSError, ValueError) as error:
            self._add(entry, " ".join(str(error).split())[:200])
            return
        self._add(entry, "")


def _folders(parent: Path) -> Iterator[Path]:
    """Yield the folders in a folder, in order, without temporary ones."""
    if parent.is_dir():
        yield from (path for path in sorted(parent.iterdir()) if path.is_dir() and path.suffix != ".part")


def _without(error: UserError, file: Path) -> str:
    """Return a message without the path that it starts with."""
    return str(error).removeprefix(str(file)).removeprefix(":").strip()
