"""Sizes and SHA-256 digests of a store's files, and manifests that state them.

They detect damage and exchanged files. They are no signature: who writes a file can write its manifest too.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from i2ikd.config import digest

_CHUNK = 2**20
_SETTLED = 2.0
"""Seconds after which a change of a file changes its time stamp on every file system."""
_measured: dict[tuple[str, int, int, int, int], FileRecord] = {}


class FileRecord(BaseModel):
    """Size and digest of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    bytes: NonNegativeInt
    sha256: str


def record_of(content: bytes | memoryview) -> FileRecord:
    """Return the record of a file's content."""
    return FileRecord(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def file_record(path: Path) -> FileRecord:
    """Return the record of a file; it is read once per process unless its size or a time stamp changes.

    Args:
        path: of the file; links are followed.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        key = (os.path.realpath(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key in _measured:
            return _measured[key]
        digester, size = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK):
            digester.update(chunk)
            size += len(chunk)
    record = FileRecord(bytes=size, sha256=digester.hexdigest())
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
        _measured[key] = record
    return record


def difference(path: Path, stated: FileRecord | None) -> str:
    """Return how a file differs from its record, as a part of a message; empty if it does not.

    Args:
        path: of the file.
        stated: its record; ``None``: there is none.
    """
    try:
        actual = file_record(path)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if stated is None:
        return "its manifest does not state it"
    if actual.bytes != stated.bytes:
        return f"expected {stated.bytes} bytes, got {actual.bytes}"
    return "" if actual == stated else "its SHA-256 is not that of its manifest"


class Manifest(BaseModel):
    """Document that states the files of a folder, with a checksum of its own.

    Further values, such as the versions of packages, are kept.
    """

    model_config = ConfigDict(extra="allow")
    files: dict[str, FileRecord] | None = None
    """By name relative to the folder; ``None`` in manifests of older versions."""
    specification: str | None = None
    """Digest of the run's specification, for a manifest of a run."""
    runs: dict[str, str] = {}
    """Digests of runs by name, for a manifest of an output folder."""
    experiment: str | None = None
    """Name of the experiment, for a manifest of an output folder."""
    checksum: str | None = None
    """Digest of the other values."""

    @property
    def intact(self) -> bool:
        """Whether the checksum is that of the content; documents of older versions have none."""
        older = self.files is None and self.checksum is None
        return older or self.checksum == self._digest()

    def sealed(self) -> dict[str, Any]:
        """Return the document with its checksum, as JSON values."""
        return {**self._content(), "checksum": self._digest()}

    def _content(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"checksum"}, exclude_defaults=True)

    def _digest(self) -> str:
        return digest(self._content())


def merged(manifest: Manifest, values: Mapping[str, Any]) -> Manifest:
    """Return a manifest with further or changed values."""
    return Manifest.model_validate({**manifest.model_dump(mode="json", exclude={"checksum"}), **values})
