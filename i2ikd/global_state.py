"""Settings of the process that a plugin must leave as they are: noticed and put back."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def kept_global_state(owner: str) -> Iterator[None]:
    """Put back settings of NumPy and torch that code changes, with one line on stderr.

    Numbers would depend on which plugins are installed. Libraries that are not loaded before are not compared.

    Args:
        owner: of the code, for the message.
    """
    before = {name: (read(), write) for name, (read, write) in _settings().items()}
    try:
        yield
    finally:
        changed = []
        for name, (value, write) in before.items():
            if _settings()[name][0]() != value:
                write(value)
                changed.append(name)
        if changed:
            print(f"i2ikd: {owner} changed {', '.join(changed)} of the process; put back", file=sys.stderr)


def _settings() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Return how each setting is read and written, by name."""
    found: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "geterr"):
        found["NumPy's handling of errors"] = numpy.geterr, lambda value: numpy.seterr(**value)
    if torch is not None and hasattr(torch, "set_num_threads"):
        found |= {
            "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
            "torch's default type": (torch.get_default_dtype, torch.set_default_dtype),
            "torch's threads": (torch.get_num_threads, torch.set_num_threads),
            "deterministic algorithms": (
                torch.are_deterministic_algorithms_enabled,
                lambda value: torch.use_deterministic_algorithms(value),
            ),
        }
    return found
