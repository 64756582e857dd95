"""Kills a small comparison before its operations on files, starts it again, and compares the results.

Called as ``python -m tests.faults.crashes FOLDER EXPERIMENT POINTS``: prints a JSON object with the number of
operations, of points, and what was found at each. Torch is imported once; every comparison is a child process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_KILLED = 137
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree"}


class Operations:
    """Counts the operations of this process that change files below a folder, and ends it before one of them.

    Operations are seen by audit hooks of Python (opening for writing, renaming, removing, making folders and links) and
    at ``os.fsync``, before which half of what was written is cut off at every other point, as after a power failure.

    Args:
        folder: operations on other files do not count.
        end_at: number of the operation before which the process ends at once; 0: none.
    """

    def __init__(self, folder: Path, end_at: int) -> None:
        self.count = 0
        self._folder = os.fsencode(folder)
        self._end_at = end_at
        self._sync = os.fsync
        os.fsync = self._synchronised
        sys.addaudithook(self._seen)

    def _next(self) -> None:
        self.count += 1
        if self.count == self._end_at:
            os._exit(_KILLED)

    def _seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & _WRITING):
                return
        elif event in _CHANGES:
            path = arguments[1] if event in ("os.rename", "os.symlink", "os.link") else arguments[0]
        else:
            return
        if not isinstance(path, int) and os.fsencode(path).startswith(self._folder):
            self._next()

    def _synchronised(self, descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if self.count + 1 == self._end_at and self._end_at % 2:
            os.ftruncate(number, os.fstat(number).st_size // 2)
        self._next()
        self._sync(descriptor)


def compared(file: Path, out: Path, end_at: int = 0) -> tuple[int, int, str]:
    """Run ``compare`` in a child process.

    Args:
        file: the experiment.
        out: its output folder.
        end_at: see ``Operations``.

    Returns:
        Exit code (137: ended by ``Operations``), number of operations, and what was printed to stderr.
    """
    read, write = os.pipe()
    log = out.with_suffix(".log")
    pid = os.fork()
    if pid == 0:
        with log.open("w") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        code = 1
        try:
            signal.alarm(120)
            operations = Operations(out, end_at)
            from i2ikd.cli.main import run

            code = run(["compare", str(file), "--out", str(out)])
            os.write(write, str(operations.count).encode())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    status = os.waitpid(pid, 0)[1]
    with os.fdopen(read) as stream:
        return os.waitstatus_to_exitcode(status), int(stream.read() or 0), log.read_text("utf-8", "replace")


def left_files(out: Path) -> list[str]:
    """Return the temporary files, checkpoints and incomplete entries below a folder."""
    return sorted(
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.suffix == ".part" or ".part" in path.name or path.name == "checkpoint.pt"
    )


class Whole(NamedTuple):
    """A comparison that was not killed."""

    operations: int
    numbers: dict[str, Any]


def numbers(out: Path) -> dict[str, Any]:
    """Return everything of a comparison that must not depend on interruptions."""
    return {
        "records": (out / "records.csv").read_text(),
        "results": json.loads((out / "results.json").read_text()),
        "histories": sorted(path.read_text() for path in out.glob("store/*/history.json")),
        "files": sorted(
            {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
        ),
    }


def problem_after(file: Path, out: Path, kills: Sequence[int], whole: Whole) -> str:
    """Kill a comparison, once or again and again, and start it again; return what is wrong, empty for nothing.

    Args:
        file: the experiment.
        out: its output folder, which is emptied first.
        kills: number of the operation before which each start ends.
        whole: the comparison that was not killed.
    """
    shutil.rmtree(out, ignore_errors=True)
    for kill in kills:
        code, _, log = compared(file, out, kill)
        if code != _KILLED:
            return f"ended with {code} instead of being killed: {log[-300:]}"
        for path in out.rglob("*.json"):
            try:
                json.loads(path.read_text())
            except ValueError:
                return f"half a file: {path.relative_to(out)}"
    code, operations, log = compared(file, out)
    if code != 0 or "Traceback" in log:
        return f"the last start ended with {code}: {log[-300:]}"
    if len(kills) > 1 and operations >= whole.operations:
        return f"{operations} of {whole.operations} operations were repeated"
    if left := left_files(out):
        return f"left: {', '.join(left)[:300]}"
    found = numbers(out)
    differing = [name for name in whole.numbers if found[name] != whole.numbers[name]]
    return f"other {', '.join(differing)}" if differing else ""


def main(folder: Path, file: Path, points: int) -> dict[str, Any]:
    """Kill a comparison three times in a row, and once at each of ``points`` spread over all its operations."""
    _prepare(file, folder / "imports")
    shutil.rmtree(folder / "whole", ignore_errors=True)
    code, operations, log = compared(file, folder / "whole")
    assert code == 0, log
    whole = Whole(operations, numbers(folder / "whole"))
    chosen = sorted({1 + round(number * (operations - 1) / max(points - 1, 1)) for number in range(points)})
    problems = {}
    for kills in ([operations // 2, operations // 3, 5], *([point] for point in chosen)):
        problem = problem_after(file, folder / "killed", kills, whole)
        if problem:
            problems[str(kills)] = problem
    return {"operations": operations, "points": len(chosen), "problems": problems}


def _prepare(file: Path, out: Path) -> None:
    """Import what every comparison needs by running one; checkpoints are written after each step, without figures."""
    import torch

    from i2ikd.cli.main import run
    from i2ikd.engine import loop
    from i2ikd.report import write

    torch.set_num_threads(1)
    loop._Saver.save_if_due = loop._Saver.save  # type: ignore[assignment,method-assign]
    write.render_figures = lambda comparison, registry: []  # type: ignore[attr-defined]
    with contextlib.redirect_stdout(sys.stderr):
        assert run(["compare", str(file), "--out", str(out)]) == 0


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
