"""A worker process: reads a setup and then jobs from stdin as JSON lines, trains them, writes outcomes to stdout.

It ends when its stdin is closed; during a job, after checkpoints were saved. The pipe closes with the process that
holds its other end, however that one ends, so that no worker outlives a comparison that was killed.
"""

from __future__ import annotations

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
    """JSON lines of a stream, one at a time. When it closes during one, this process gets a SIGTERM.

    Args:
        stream: unbuffered, because a thread that waits in a buffered stream at exit makes the interpreter abort.
    """

    def __init__(self, stream: FileIO) -> None:
        self.ready = False
        """Whether SIGTERM is handled; until then, a closed stream ends the process at once."""
        self._stream = stream
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._closed = self._busy = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
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
    """Train jobs until stdin is closed."""
    outcomes = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints belongs to the log, not among the outcomes
    payloads = Payloads(FileIO(0, closefd=False))
    from i2ikd.executors.remote import open_worker, perform  # takes seconds, in which the stream may close

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # no Exception, which would count as a plugin's failure

    signal.signal(signal.SIGTERM, stop)
    payloads.ready = True
    try:
        waiting = iter(payloads)
        setup = next(waiting, None)
        opened = cache(lambda: open_worker(setup or {}))
        for payload in waiting:
            print(json.dumps(perform(opened, payload)), file=outcomes, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):  # between two jobs, or the other end is gone
        sys.exit(130)


if __name__ == "__main__":
    main()
