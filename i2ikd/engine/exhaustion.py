"""Memory that ran out and reading processes that were killed, as distinct from other errors of a training."""

from __future__ import annotations

from typing import NamedTuple

_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "bad allocation")
_OF_LOADERS = ("torch.utils.data.", "torch.multiprocessing.", "multiprocessing.")
"""Starts of the names of modules that raise when a process of a ``DataLoader`` ends."""


class Exhaustion(NamedTuple):
    """What ran out, and what to do."""

    event: str
    remedy: str


def exhaustion(error: BaseException) -> Exhaustion | None:
    """Return what a training ran out of; ``None`` for any other error.

    Args:
        error: raised by the training. Those of torch have no type of their own.
    """
    message = str(error)
    if isinstance(error, RuntimeError) and "DataLoader worker" in message and "Caught" not in message:
        reason = message.splitlines()[0].strip()
    elif isinstance(error, OSError | EOFError) and _module(error).startswith(_OF_LOADERS):
        reason = str(error) or type(error).__name__
    elif isinstance(error, MemoryError) or any(text in message.lower() for text in _OF_MEMORY):
        return Exhaustion("memory ran out", "lower training.batch, training.cache_mib or the size of the network")
    else:
        return None
    remedy = "lower training.workers or training.batch, or set training.workers = 0"
    return Exhaustion(f"a process that reads data ended ({reason[:80]}), often because memory ran out", remedy)


def _module(error: BaseException) -> str:
    """Return the name of the module that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
