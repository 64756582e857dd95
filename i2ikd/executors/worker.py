"""A worker process: it reads an experiment and then units from stdin, trains them, and answers on stdout.

It ends when its stdin is closed; in the middle of a unit, after checkpoints were saved. The pipe closes with the
process that holds its other end, however that one ends, so that no worker outlives a comparison that was killed.
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


class Orders:
    """The lines of a stream, one at a time. When it closes in the middle of one, this process gets a SIGTERM.

    Args:
        stream: unbuffered, because a thread that waits in a buffered stream at exit makes the interpreter abort.
    """

    def __init__(self, stream: FileIO) -> None:
        self.ready = False
        """Whether a SIGTERM is handled; before that, the process just ends."""
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
    """Work until stdin is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints belongs to the log, not among the answers
    orders = Orders(FileIO(0, closefd=False))
    from i2ikd.experiment.remote import open_experiment, perform  # takes seconds, in which the stream may close

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # no Exception, which a plugin's call would take for the plugin's failure

    signal.signal(signal.SIGTERM, stop)
    orders.ready = True
    try:
        waiting = iter(orders)
        setup = next(waiting, None)
        opened = cache(lambda: open_experiment(setup or {}))
        for payload in waiting:
            print(json.dumps(perform(opened, payload)), file=answers, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):  # between two units, or nobody is there to answer
        sys.exit(130)


if __name__ == "__main__":
    main()
