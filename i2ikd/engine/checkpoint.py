"""Checkpoints and weights on disk, written atomically and read with ``weights_only=True``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

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
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    write_atomically(path, buffer.getvalue())


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint written by ``save`` without executing code from it.

    Args:
        path: of the file.
        device: of the returned tensors.

    Raises:
        UserError: a file that does not exist, is no checkpoint, or has another format version.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # bytes that are no checkpoint can make the unpickler raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no checkpoint that can be read safely: {reason[:160]}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        version = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} is no checkpoint of i2ikd (format {version!r}; this version reads {FORMAT})")
    return content


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
