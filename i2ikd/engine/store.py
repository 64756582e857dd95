"""Content-addressed store of runs: one folder per specification, addressed by the digest of its contents."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from i2ikd.config import digest
from i2ikd.engine import checkpoint
from i2ikd.errors import UserError
from i2ikd.files import write_atomically


class RunSpecification(BaseModel):
    """Everything that determines the results of one run; runs of equal specification share one folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    side: Literal["teacher", "student"]
    seed: int
    task: dict[str, Any]
    model: str
    options: dict[str, Any]
    stages: list[dict[str, Any]]
    """Each stage with its objective, epochs and training settings, in order."""
    transforms: list[dict[str, Any]] = Field(default_factory=list)
    """Training transforms, in order, with their options."""
    pairs: Any = None
    inputs: dict[str, list[str]] = Field(default_factory=dict)
    """Digests of the runs whose networks are inputs, by role."""
    combine: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Component that combines the networks of several runs of one role into one, with its options, by role."""
    models: dict[str, Any] = Field(default_factory=dict)
    """Model and options of further networks that an objective may build, by side."""
    weights: str | None = None
    """SHA-256 of imported weights; such a run has no stages."""
    version: int = 2
    """Incremented when the engine's arithmetic or this record changes."""

    @property
    def digest(self) -> str:
        """SHA-256 of the specification as 64 hexadecimal digits; its address in the store."""
        return digest(self.model_dump(mode="json"))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the settings that differ between two specifications, to report why a run is trained again.

    Args:
        old: the stored specification.
        new: the current specification.
        prefix: of the names of settings.

    Returns:
        One line per difference, ``setting: old -> new``.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 1 -> 3']
    """
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        place, left, right = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            lines += differences(left, right, f"{place}.")
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            pairs = zip(left, right)
            for index, (a, b) in enumerate(pairs):
                lines += differences({str(index): a}, {str(index): b}, f"{place}.")
        elif left != right:
            lines.append(f"{place}: {_short(left)} -> {_short(right)}")
    return lines


def _short(value: Any) -> str:
    """Return a value as JSON, shortened to 40 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


@dataclass(frozen=True)
class RunFolder:
    """Files of one run.

    Attributes:
        path: the folder, which may not exist yet.
    """

    path: Path

    @property
    def weights(self) -> Path:
        """File of the trained weights; it exists when the run is finished."""
        return self.path / "weights.pt"

    @property
    def checkpoint(self) -> Path:
        """File of the training state of an unfinished run."""
        return self.path / "checkpoint.pt"

    def left(self, name: str) -> Path:
        """Return the weights file of a further network that the run saved, such as an assistant, by its name.

        Args:
            name: of the network.
        """
        return self.path / f"{name}.pt"

    @property
    def finished(self) -> bool:
        """Whether the run was completed."""
        return self.weights.is_file()

    def read(self, name: str) -> Any:
        """Read ``name``.json.

        Args:
            name: of the file, without suffix.

        Returns:
            Its content; ``None`` if the file does not exist.

        Raises:
            UserError: the file is not JSON.
        """
        file = self.path / f"{name}.json"
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} is not JSON: {error}; delete it, and the command writes it again") from None

    def write(self, name: str, value: Any) -> None:
        """Write ``name``.json atomically; the folder is created.

        Args:
            name: of the file, without suffix.
            value: JSON-able content.

        Raises:
            UserError: the disk is full or the folder is not writable.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / f"{name}.json", json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def load_weights(self) -> dict[str, Any]:
        """Read the checkpoint of the trained weights.

        Raises:
            UserError: the file does not exist or cannot be read safely.
        """
        return checkpoint.load(self.weights)


class Store:
    """Runs of one output folder, and readable names that link to them.

    Args:
        root: the output folder.
        writes: whether ``name`` creates links; true in the main process only.
    """

    def __init__(self, root: Path, writes: bool = True) -> None:
        self.root = root
        self._writes = writes

    def folder(self, specification: RunSpecification) -> RunFolder:
        """Return the folder of a specification's run, which may not exist yet.

        Args:
            specification: of the run.
        """
        return RunFolder(self.root / "store" / specification.digest[:16])

    def name(self, name: str, folder: RunFolder) -> None:
        """Link ``root/name`` to a run; an existing link is replaced.

        Args:
            name: path relative to the output folder, such as ``students/kd-mri/seed0``.
            folder: of the run.
        """
        if not self._writes:
            return
        link = self.root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(folder.path, link.parent)
        if link.is_symlink() and str(link.readlink()) == target:
            return
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)

    def named(self, name: str) -> RunFolder | None:
        """Return the run that a name links to; ``None`` if there is no such link.

        Args:
            name: path relative to the output folder.
        """
        link = self.root / name
        return RunFolder(link.resolve()) if link.is_symlink() and link.exists() else None
