"""Checkpoints and weights on disk: written atomically, read with ``weights_only``, never executed."""

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


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write a dict of tensors and plain values; a reader sees the old file or the new one, never a part.

    Raises:
        UserError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    write_atomically(path, buffer.getvalue())


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what ``save`` wrote; nothing in the file is executed.

    Raises:
        UserError: no such file, no checkpoint, or one of another format.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # bytes that are no checkpoint can make the unpickler raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no checkpoint that can be read safely: {reason[:160]}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} is no checkpoint of i2ikd (format {found!r}; this version reads {FORMAT})")
    return content


def load_state(network: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Put weights into a network.

    Raises:
        UserError: they are another network's; the message names the first differences.
    """
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(map(str, state.keys() - own.keys()))
    shapes = {name: tuple(getattr(state[name], "shape", ())) for name in own.keys() & state.keys()}
    unequal = [
        f"{name} is {shape} there and {tuple(own[name].shape)} here"
        for name, shape in shapes.items()
        if shape != tuple(own[name].shape)
    ]
    if missing or unknown or unequal:
        parts = [
            f"it lacks {', '.join(missing[:3])}" if missing else "",
            f"it has {', '.join(unknown[:3])} besides" if unknown else "",
            "; ".join(sorted(unequal)[:2]),
        ]
        raise UserError(f"{where} holds another network's weights: " + "; ".join(part for part in parts if part))
    network.load_state_dict(dict(state))
