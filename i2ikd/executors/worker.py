"""Worker process: executes jobs from stdin, writes progress and outcomes to stdout, all as JSON lines.

A worker ends when its stdin is closed; during a job, after checkpoints were saved. The pipe closes when the process at
its other end terminates in any way, so that no worker outlives a killed comparison.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from functools import cache
from io import FileIO
from queue import SimpleQueue
from types import FrameType
from typing import Any


class Payloads:
    """Iterator over the JSON lines of a stream; if the stream closes during a job, this process receives SIGTERM.

    Args:
        stream: unbuffered, because the interpreter aborts if a thread waits in a buffered stream at exit.
    """

    def __init__(self, stream: FileIO) -> None:
        self.ready = False
        """Whether SIGTERM is handled; before, a closed stream ends the process at once."""
        self._stream = stream
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._closed = self._busy = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Read lines in a thread, and end the process or its job when the stream closes."""
        for line in self._stream:
            self._lines.put(line)
        self._closed = True
        self._lines.put(b"")
        if not self.ready:
            os._exit(130)
        if self._busy:
            os.kill(os.getpid(), signal.SIGTERM)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self._lines.get():
            self._busy = True
            if self._closed:
                return
            yield json.loads(line)
            self._busy = False


def main() -> None:
    """Execute jobs until stdin is closed."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of plugins goes to the log instead of the messages
    payloads = Payloads(FileIO(0, closefd=False))
    from i2ikd.executors.remote import open_worker, perform  # takes seconds, during which the stream may close

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # not an Exception, which would be attributed to a plugin

    signal.signal(signal.SIGTERM, stop)
    payloads.ready = True
    try:
        lines = iter(payloads)
        setup = next(lines, None)
        opened = cache(lambda: open_worker(setup or {}))

        def send(message: object) -> None:
            print(json.dumps(message), file=messages, flush=True)

        def report(done: int, steps: int) -> None:
            with contextlib.suppress(BrokenPipeError):  # the closed stdin ends the job with a checkpoint
                send({"done": done, "steps": steps})

        for payload in lines:
            outcome = perform(opened, payload, report)
            send(outcome)
            if outcome["ended"] == "crashed":
                return
    except (KeyboardInterrupt, BrokenPipeError):  # between two jobs, or the other end was closed
        sys.exit(130)


if __name__ == "__main__":
    main()
