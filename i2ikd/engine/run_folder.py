"""Folder of one run: its files, the manifest that states them, and what is read only after comparison with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from i2ikd.engine.checkpoint import SavedWeights, load, load_weights
from i2ikd.engine.checksums import FileRecord, Manifest, difference, file_record, merged
from i2ikd.errors import UserError
from i2ikd.files import read_json, read_model, refuse_linked_folder, write_atomically

_MANIFEST = "manifest.json"
ORIGIN = "origin"
"""Name of the file with a run's experiment and its names, which a copy of the folder keeps."""
_REMEDY = "put back the file that belongs there, or delete its folder to train the run again"


class RunRecord(BaseModel):
    """Content of a run's ``run.json``."""

    model_config = ConfigDict(extra="forbid")
    name: str = ""
    specification: dict[str, Any]


class EpochRow(BaseModel):
    """Row of a run's ``history.json``."""

    model_config = ConfigDict(extra="allow")
    stage: str
    epoch: int
    losses: dict[str, float | None]
    lr: float
    validation: float | None


_ROWS = TypeAdapter(list[EpochRow])


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

    @property
    def digest(self) -> str | None:
        """Digest of the run's specification as its manifest states it; ``None`` without an intact manifest."""
        try:
            return self.manifest().specification
        except UserError:
            return None

    def write(self, name: str, value: Any) -> None:
        """Write ``name``.json atomically; the folder is created.

        Args:
            name: of the file, without suffix.
            value: JSON-able content.

        Raises:
            UserError: the disk is full, the folder is not writable, or it is a symbolic link.
        """
        above = self.path.parent
        refuse_linked_folder(self.path, above.parent if above.name == "store" else above)
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.path / f"{name}.json", text, follow_link=False)

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
        return read_json(file) if file.is_file() else None

    def manifest(self) -> Manifest:
        """Read the manifest.

        Raises:
            UserError: it is missing, of another shape, or damaged.
        """
        file = self.path / _MANIFEST
        found = read_model(file, Manifest, _REMEDY)
        if not found.intact:
            raise UserError(f"{file} is damaged: its checksum does not match; {_REMEDY}")
        return found

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, with a checksum.

        Raises:
            UserError: see ``write``.
        """
        self.write("manifest", manifest.sealed())

    def state_files(self, digest: str, names: Iterable[str], records: Mapping[str, FileRecord] | None = None) -> None:
        """State files in the manifest, and the specification's digest; other values stay, unless they are damaged.

        Args:
            digest: of the run's specification.
            names: of files in the folder.
            records: of files that are written after this call, by name.

        Raises:
            UserError: see ``write``.
        """
        try:
            before = self.manifest()
        except UserError:
            before = Manifest()
        found = {name: file_record(self.path / name) for name in names}
        files = {name: record.model_dump() for name, record in {**found, **(records or {})}.items()}
        self.write_manifest(merged(before, {"specification": digest, "files": files}))

    def state_file(self, name: str) -> None:
        """State one more file in the manifest of a finished run; without an intact manifest nothing is stated.

        Args:
            name: of the file in the folder.

        Raises:
            UserError: see ``write``.
        """
        before = self.stated()
        if before:
            files = {**before, name: file_record(self.path / name)}
            values = {key: record.model_dump() for key, record in files.items()}
            self.write_manifest(merged(self.manifest(), {"files": values}))

    def stated(self) -> dict[str, FileRecord]:
        """Return the records of the manifest by name; empty without an intact one."""
        try:
            return self.manifest().files or {}
        except UserError:
            return {}

    def verify(self, file: Path) -> None:
        """Compare a file of the run with the manifest.

        Where there is no intact manifest, checkpoints still have checksums of their own.

        Args:
            file: in the folder.

        Raises:
            UserError: they differ.
        """
        stated = self.stated()
        problem = difference(file, stated.get(file.name)) if stated else ""
        if problem:
            raise UserError(f"{file} is damaged: {problem}; {_REMEDY}")

    def load_weights(self) -> SavedWeights:
        """Read the trained weights.

        Raises:
            UserError: the file does not exist, is damaged, or belongs to another run than the manifest.
        """
        saved = load_weights(self.weights)
        self.verify(self.weights)
        digest = self.digest
        if digest is not None and digest != saved.digest:
            raise UserError(
                f"{self.weights}: expected the weights of the run {digest[:16]}, got those of {saved.digest[:16]}; "
                + _REMEDY
            )
        return saved

    def load_left(self, name: str) -> dict[str, Any]:
        """Return the state dict of a further network that the run saved.

        Args:
            name: of the network.

        Raises:
            UserError: there is none of this name, or its file is damaged.
        """
        file = self.left(name)
        content = load(file)
        self.verify(file)
        state = content.get("state")
        if not isinstance(state, dict):
            raise UserError(f"{file} holds no weights; {_REMEDY}")
        return state

    def history(self) -> list[dict[str, Any]]:
        """Return the rows of the training history, an epoch each; empty if the file is missing or damaged."""
        file = self.path / "history.json"
        try:
            if not file.is_file():
                return []
            self.verify(file)
            rows = _ROWS.validate_python(read_json(file))
        except (UserError, ValidationError):
            return []
        return [row.model_dump() for row in rows]

    def record(self) -> RunRecord:
        """Read ``run.json``.

        Raises:
            UserError: it is missing or of another shape.
        """
        return read_model(self.path / "run.json", RunRecord, _REMEDY)
