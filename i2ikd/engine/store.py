"""Content-addressed store of runs: one folder per specification, addressed by the digest of its contents."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from i2ikd.config import digest
from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.run_folder import RunFolder
from i2ikd.errors import UserError
from i2ikd.files import refuse_linked_folder


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

    @cached_property
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

    def name(self, runs: Mapping[str, RunFolder]) -> None:
        """Link ``root/name`` to each run and state its digest in the manifest of ``root``; existing links are replaced.

        A folder in a link's place, as ``cp -rL`` makes one, stays if it is a copy of the run; another is renamed.

        Args:
            runs: folders by path relative to the output folder, such as ``students/kd-mri/seed0``.

        Raises:
            UserError: a folder between ``root`` and the name is a link, or cannot be written.
        """
        if not self._writes:
            return
        OutputManifest(self.root).name_runs(runs)
        for name, folder in runs.items():
            self._link(name, folder)

    def _link(self, name: str, folder: RunFolder) -> None:
        link = self.root / name
        refuse_linked_folder(link.parent, self.root)
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            if RunFolder(link).digest == folder.digest:
                return
            _set_aside(link)
        target = os.path.relpath(folder.path, link.parent)
        if link.is_symlink() and str(link.readlink()) == target:
            return
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)

    def named(self, name: str) -> RunFolder | None:
        """Return the run that a name links to, or a copy of it in the link's place; ``None`` if there is neither.

        Args:
            name: path relative to the output folder.
        """
        link = self.root / name
        return RunFolder(link.resolve()) if link.is_dir() else None


def _set_aside(folder: Path) -> None:
    """Rename a folder to ``NAME.before``, or ``NAME.before-2`` and so on; nothing in it is lost."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before" + (f"-{number}" if number > 1 else ""))).exists():
        number += 1
    try:
        folder.rename(aside)
    except OSError as error:
        raise UserError(f"cannot rename {folder} to {aside.name}: {error.strerror}") from None
