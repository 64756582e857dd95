"""Ways in which a run ends before its time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from i2ikd.callback import Callback, NullCallback
from i2ikd.engine.loop import Interrupted


class Stop(NullCallback):
    """Sends SIGINT to this process after ``steps`` steps, or at the end of an epoch."""

    def __init__(self, steps: int = 0, at_epoch_end: bool = False) -> None:
        self.left = steps
        self.at_epoch_end = at_epoch_end

    def on_step_end(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def on_epoch_end(self, *_: object) -> None:
        if self.at_epoch_end:
            self.at_epoch_end = False
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def stop() -> type[Stop]:
    return Stop


@pytest.fixture
def again_and_again() -> Callable[[Callable[[Callback | None], object], Callable[[], Callback]], int]:
    """Start the same work anew, with a new watcher each time, until it is not interrupted; return the interruptions."""

    def repeat(work: Callable[[Callback | None], object], callback: Callable[[], Callback]) -> int:
        for interruptions in range(100):
            try:
                work(callback())
            except Interrupted:
                continue
            return interruptions
        raise AssertionError("the work never ends")

    return repeat
