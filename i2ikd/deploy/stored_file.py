"""Delivered files of an output folder: what each depends on, and its checksums."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from i2ikd.config import digest
from i2ikd.engine.checksums import FileRecord, difference, file_record
from i2ikd.engine.run_folder import RunFolder
from i2ikd.errors import UserError
from i2ikd.files import read_model, write_atomically

NAME = "delivery"
"""Name of the document that states a folder's delivered file, without suffix."""
_PACKAGES = ("i2ikd", "torch", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf", "safetensors")


class Delivery(BaseModel):
    """Content of ``delivery.json``."""

    model_config = ConfigDict(extra="forbid")
    origin: dict[str, Any]
    """What the file depends on."""
    runtime: str
    """Name and version of the runtime that the file was loaded in."""
    files: dict[str, FileRecord]
    """All files of the format by name."""
    full_precision: list[str] = []
    """Paths of convolutions that stay float32 in int8."""
    loss: float | None = None
    """Loss of the task's first metric on validation slices, in its unit."""
    checksum: str = ""
    """Digest of the other values."""

    @property
    def size_bytes(self) -> int:
        """Size of all files of the format."""
        return sum(record.bytes for record in self.files.values())

    def digest(self) -> str:
        """Return the digest of everything but the checksum."""
        return digest(self.model_dump(mode="json", exclude={"checksum"}))


class StoredFile:
    """A delivered file in a folder of its own.

    Args:
        folder: the folder, which may not exist yet.
        name: of the file.
        origin: what the file depends on, as JSON values.
    """

    def __init__(self, folder: Path, name: str, origin: Mapping[str, Any]) -> None:
        self._folder = RunFolder(folder)
        self._name = name
        self._origin = dict(origin)

    def read(self) -> Delivery | None:
        """Return what is stated about the file if it is intact and of this origin; otherwise ``None``."""
        try:
            found = read_delivery(self._folder.path)
        except UserError:
            return None
        if found is None or found.origin != self._origin or self._name not in found.files:
            return None
        intact = all(not difference(self._folder.path / name, record) for name, record in found.files.items())
        return found if intact else None

    def write(
        self, files: Sequence[Path], runtime: str, full_precision: Sequence[str] = (), loss: float | None = None
    ) -> Delivery:
        """Copy the files of a format into the folder, and state them.

        Args:
            files: the files.
            runtime: name and version.
            full_precision: paths of convolutions that stay float32.
            loss: on validation slices.

        Raises:
            UserError: the folder is not writable, or is a symbolic link.
        """
        stated = Delivery(
            origin=self._origin,
            runtime=runtime,
            files={path.name: file_record(path) for path in files},
            full_precision=list(full_precision),
            loss=loss,
        )
        self._folder.write(NAME, {})  # refuses links; until the end, the files are of no origin
        for path in files:
            write_atomically(self._folder.path / path.name, path.read_bytes(), follow_link=False)
        stated = stated.model_copy(update={"checksum": stated.digest()})
        self._folder.write(NAME, stated.model_dump(mode="json"))
        return stated

    @staticmethod
    def digests(path: Path) -> dict[str, str]:
        """Return the SHA-256 of the files of a format by name.

        Args:
            path: one of them.
        """
        return {one.name: file_record(one).sha256 for one in sorted(path.parent.glob(f"{path.stem}.*"))}


def read_delivery(folder: Path) -> Delivery | None:
    """Return what a folder states about its delivered file; ``None`` if it states nothing.

    Args:
        folder: the folder.

    Raises:
        UserError: the statement is damaged.
    """
    file = folder / f"{NAME}.json"
    if not file.is_file():
        return None
    found = read_model(file, Delivery, "run `i2ikd compare` again")
    if found.checksum != found.digest():
        raise UserError(f"{file} is damaged; run `i2ikd compare` again")
    return found


def state_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's state dict and of its structure.

    Args:
        network: on the CPU.
    """
    found = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return found.hexdigest()


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that a delivered file depends on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
