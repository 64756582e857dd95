"""State dicts in files of other programs: safetensors, entries such as ``state_dict``, prefixes of names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from i2ikd.errors import UserError

SAFETENSORS = ".safetensors"
BUNDLED = f"model{SAFETENSORS}"
"""Weights in a bundle."""
_ENTRIES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "generator",
    "params",
    "params_ema",
)
"""Keys under which programs save a state dict beside other values."""


def weights_file(path: Path) -> Path:
    """Return the file of weights that a path leads to.

    Args:
        path: the file, or the folder of a run or of a bundle.
    """
    if not path.is_dir():
        return path
    bundled = path / BUNDLED
    return bundled if bundled.is_file() else path / "weights.pt"


def is_state(value: object) -> bool:
    """Return whether a value is a state dict: names of tensors, at least one."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, Tensor) for one in value.values())


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        file: the file.

    Raises:
        UserError: it is damaged, or the package is missing.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(f'{file}: the format needs safetensors: pip install "i2ikd[safetensors]"') from None
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file} is no safetensors file, or damaged: {' '.join(str(error).split())[:160]}") from None


def state_in(content: object, file: Path) -> dict[str, Tensor] | None:
    """Return the state dict in the content of a file: the content itself, or one of its entries.

    Args:
        content: as ``torch.load`` returns it.
        file: prefix of the message.

    Returns:
        The state dict; ``None`` if there is none.

    Raises:
        UserError: several entries are state dicts.
    """
    if is_state(content):
        return dict(content)  # type: ignore[call-overload]
    if not isinstance(content, Mapping):
        return None
    found = [name for name in _ENTRIES if is_state(content.get(name))]
    if len(found) > 1:
        raise UserError(f"{file}: expected one state dict, got {', '.join(found)}; save the one to use with torch.save")
    return dict(content[found[0]]) if found else None


def without_prefix(state: Mapping[str, Any], expected: Collection[str], file: Path) -> Mapping[str, Any]:
    """Return the weights of a network in a state dict whose names have a prefix, such as ``module.`` or ``model.``.

    Args:
        state: tensors by name.
        expected: names of the network's own state dict.
        file: prefix of the message.

    Returns:
        The tensors below the prefix, without it; ``state`` itself if no prefix has all expected names.

    Raises:
        UserError: several prefixes have all expected names.
    """
    if not expected or set(expected) <= state.keys():
        return state
    first = min(expected)
    prefixes = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    fitting = [prefix for prefix in prefixes if all(prefix + name in state for name in expected)]
    if len(fitting) > 1:
        raise UserError(
            f"{file}: expected the weights of one network, got those below {' and '.join(map(repr, fitting))}; save "
            "the state dict of the one to use with torch.save"
        )
    if not fitting:
        return state
    prefix = fitting[0]
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
