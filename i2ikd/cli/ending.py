"""Signals that end the program: one line on stderr and exit code 130, whatever it is doing."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

STOPPED = 130
"""Exit code after a signal."""
_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def ended_by_signals(for_good: bool = False) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into ``KeyboardInterrupt``, and one that nothing handles into one line.

    A signal that the parent process ignores, as ``nohup`` does, stays ignored.

    Args:
        for_good: whether the process ends afterwards, and ignores these signals while it does.

    Raises:
        SystemExit: with code 130, after a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)
        print("i2ikd: stopped", file=sys.stderr)
        sys.exit(STOPPED)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if for_good else handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal."""
    raise KeyboardInterrupt
