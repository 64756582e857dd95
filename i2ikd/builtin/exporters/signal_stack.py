"""Stack of signal handlers, which OpenVINO replaces and frees."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put the alternate signal stack of this thread back at the end of a block (Linux).

    OpenVINO's CPU plugin sets one of its own (``sigaltstack``) when it is created. When it is destroyed, it frees its
    stack and puts back the former, which may be the freed one of a plugin that was created before. Each later signal,
    Ctrl-C for one, would then end the process with a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
