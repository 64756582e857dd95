"""Checkpoints and weights on disk, written atomically and read with ``weights_only=True``."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.files import write_atomically

FORMAT = 1
"""Version of the file layout."""


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint atomically: a reader sees the previous file or the complete new one.

    Args:
        content: tensors and plain values by key, nested dicts and lists included.
        path: of the file; its folder is created.

    Raises:
        UserError: the disk is full or the folder is not writable; the previous file is unchanged.
    """
    write_atomically(path, encode(content), follow_link=False)


def encode(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a checkpoint, for ``load``.

    Args:
        content: tensors and plain values by key, nested dicts and lists included.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    return buffer.getvalue()


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint written by ``save`` without executing code from it; its CRC-32 checksums are compared.

    Args:
        path: of the file.
        device: of the returned tensors.

    Raises:
        UserError: a file that does not exist, is damaged, is no checkpoint, or has another format version.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    content = read_tensors(path, device)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        version = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} is no checkpoint of i2ikd (format {version!r}; this version reads {FORMAT})")
    return content


def read_tensors(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read a file of ``torch.save`` without executing code from it; its CRC-32 checksums are compared.

    ``torch.load`` does not compare the checksums of the zip format, and so returns other numbers from damaged files.

    Args:
        path: of the file.
        device: of the returned tensors.

    Raises:
        UserError: the file is damaged, or contains other objects than tensors and plain values.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise UserError(f"the checksum of {damaged} does not match")
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # bytes that are no checkpoint can make the unpickler raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no checkpoint that can be read safely: {reason[:160]}") from None


class SavedWeights(BaseModel):
    """Content of the weights file of a finished run."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True, frozen=True)
    model: str
    options: dict[str, Any]
    seed: int
    digest: str
    """Of the run's specification."""
    state: dict[str, Tensor]


def load_weights(path: Path) -> SavedWeights:
    """Read the weights file of a finished run.

    Args:
        path: of the file.

    Raises:
        UserError: see ``load``, or a file that lacks a value.
    """
    content = load(path)
    try:
        return SavedWeights.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])[:80]
        raise UserError(f"{path} holds no weights of a finished run: {place}: {problem['msg']}") from None


def load_state(network: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load weights into a network, in place.

    Args:
        network: the network.
        state: its state dict.
        where: object of error messages, such as the path of the file.

    Raises:
        UserError: names or shapes do not match the network's; the message contains the first differences.
    """
    expected = network.state_dict()
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(map(str, state.keys() - expected.keys()))
    shapes = {name: tuple(getattr(state[name], "shape", ())) for name in expected.keys() & state.keys()}
    unequal = [
        f"{name}: expected {tuple(expected[name].shape)}, got {shape}"
        for name, shape in shapes.items()
        if shape != tuple(expected[name].shape)
    ]
    if missing or unknown or unequal:
        parts = [
            f"it lacks {', '.join(missing[:3])}" if missing else "",
            f"it has {', '.join(unknown[:3])} besides" if unknown else "",
            "; ".join(sorted(unequal)[:2]),
        ]
        raise UserError(f"{where} holds another network's weights: " + "; ".join(part for part in parts if part))
    network.load_state_dict(dict(state))
