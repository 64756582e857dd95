"""A content-addressed store of runs: a folder per specification, found again by what decides a run's numbers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from i2ikd.config import digest
from i2ikd.engine import checkpoint
from i2ikd.errors import UserError
from i2ikd.files import write_atomically


class RunSpecification(BaseModel):
    """Everything that decides the numbers of one run; two runs of equal specification are one run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    side: str
    """``teacher`` or ``student``."""
    seed: int
    task: dict[str, Any]
    model: str
    options: dict[str, Any]
    stages: list[dict[str, Any]]
    """Each stage with its terms, epochs and training settings."""
    pairs: Any = None
    teacher: str | None = None
    """Digest of the teacher's run, or of its weights file."""
    weights: str | None = None
    """SHA-256 of given weights; such a run has no stages."""
    version: int = 1
    """Raised when the engine's arithmetic changes."""

    @property
    def digest(self) -> str:
        """The address in the store."""
        return digest(self.model_dump(mode="json"))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Name the settings that differ between two specifications, for saying why a run is trained again.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 1 -> 3']
    """
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        place, left, right = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found += differences(left, right, f"{place}.")
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            pairs = zip(left, right)
            for index, (a, b) in enumerate(pairs):
                found += differences({str(index): a}, {str(index): b}, f"{place}.")
        elif left != right:
            found.append(f"{place}: {_short(left)} -> {_short(right)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def weights(self) -> Path:
        """The trained weights; they are there when the run is finished."""
        return self.path / "weights.pt"

    @property
    def checkpoint(self) -> Path:
        """The state of a run on its way."""
        return self.path / "checkpoint.pt"

    @property
    def finished(self) -> bool:
        """Whether the run ended well."""
        return self.weights.is_file()

    def read(self, name: str) -> Any:
        """Read ``name``.json, or ``None`` where it is not there.

        Raises:
            UserError: the file is not JSON.
        """
        file = self.path / f"{name}.json"
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} is not JSON: {error}; delete it to have it made again") from None

    def write(self, name: str, value: Any) -> None:
        """Write ``name``.json atomically."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / f"{name}.json", json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def load_weights(self) -> dict[str, Any]:
        """Read the trained weights."""
        return checkpoint.load(self.weights)


class Store:
    """The runs of one output folder, and readable names that point to them.

    Args:
        root: the folder.
        writes: whether names are made; of several processes one does.
    """

    def __init__(self, root: Path, writes: bool = True) -> None:
        self.root = root
        self._writes = writes

    def folder(self, specification: RunSpecification) -> RunFolder:
        """Return where a run of this specification is, or will be."""
        return RunFolder(self.root / "store" / specification.digest[:16])

    def name(self, name: str, folder: RunFolder) -> None:
        """Let ``root/name`` point to a run; a name that pointed elsewhere is moved."""
        if not self._writes:
            return
        link = self.root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(folder.path, link.parent)
        if link.is_symlink() and str(link.readlink()) == target:
            return
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target, target_is_directory=True)
        fresh.replace(link)

    def named(self, name: str) -> RunFolder | None:
        """Return the run that a name points to."""
        link = self.root / name
        return RunFolder(link.resolve()) if link.is_symlink() and link.exists() else None
