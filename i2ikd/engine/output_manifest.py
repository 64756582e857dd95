"""Manifest of an output folder: its experiment, its results, and which run each name stands for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from i2ikd.engine.checksums import Manifest, difference, file_record, merged
from i2ikd.engine.run_folder import RunFolder
from i2ikd.errors import UserError
from i2ikd.files import read_model, write_atomically

NAME = "manifest.json"
_REMEDY = "run `i2ikd compare` again, which writes it anew from the stored runs"


class OutputManifest:
    """The file ``manifest.json`` of an output folder; folders of older versions have none.

    Args:
        root: the output folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def experiment(self) -> str | None:
        """Name of the experiment; ``None`` if it is not stated, or the manifest is damaged."""
        return self._readable().experiment

    def read(self) -> Manifest:
        """Return its content; empty if it is missing.

        Raises:
            UserError: it is damaged.
        """
        file = self._root / NAME
        if not file.is_file():
            return Manifest()
        found = read_model(file, Manifest, _REMEDY)
        if found.checksum is None or not found.intact:
            raise UserError(f"{file} is damaged: its checksum is missing or does not match; {_REMEDY}")
        return found

    def state_files(self, paths: Iterable[Path], experiment: str | None = None) -> None:
        """State files of the folder.

        Args:
            paths: in the folder, or below it.
            experiment: name of the experiment; unchanged when ``None``.

        Raises:
            UserError: the disk is full, or the folder is not writable.
        """
        known = self._readable()
        files = {name: record.model_dump() for name, record in (known.files or {}).items()}
        for path in paths:
            files[path.relative_to(self._root).as_posix()] = file_record(path).model_dump()
        self._write(merged(known, {"files": files, "experiment": experiment or known.experiment}))

    def name_runs(self, runs: Mapping[str, RunFolder]) -> None:
        """State the digests of the runs that names stand for.

        Args:
            runs: folders by name, such as ``students/kd-mri/seed0``; a folder's own name starts the digest.

        Raises:
            UserError: the disk is full, or the folder is not writable.
        """
        known = self._readable()
        after = {**known.runs, **{name: folder.path.name for name, folder in runs.items()}}
        if after != known.runs:
            self._write(merged(known, {"runs": after}))

    def verify(self, path: Path) -> None:
        """Compare a file of the folder with the manifest; a file that it does not state is accepted.

        Args:
            path: in the folder.

        Raises:
            UserError: they differ, or the manifest is damaged.
        """
        stated = (self.read().files or {}).get(path.relative_to(self._root).as_posix())
        problem = difference(path, stated) if stated is not None else ""
        if problem:
            raise UserError(f"{path} is damaged: {problem}; {_REMEDY}")

    def _readable(self) -> Manifest:
        """Return the content; empty if it is damaged, as everything in it can be stated anew."""
        try:
            return self.read()
        except UserError:
            return Manifest()

    def _write(self, manifest: Manifest) -> None:
        values: dict[str, Any] = manifest.sealed()
        self._root.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self._root / NAME, text, follow_link=False)
