"""Progress of a command or call: one rich bar over all runs on a terminal, plain lines with times in other outputs."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from i2ikd.callback import EpochContext, NullCallback

_NAME = 34
"""Characters beside the bar: run, stage and epoch; the line fits into 80 columns."""
_SECONDS = 10.0
"""Least time between two plain lines."""
_REMOTE_SECONDS = 20.0
"""Least time between two lines about other processes."""


def duration(seconds: float) -> str:
    """Format a duration as minutes and seconds, or hours, minutes and seconds.

    >>> duration(75), duration(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_words(seconds: float) -> str:
    """Format a duration with the two largest units.

    >>> in_words(42), in_words(725), in_words(7500)
    ('42 s', '12 min', '2 h 05 min')
    """
    if seconds < 59.5:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


@dataclass
class Schedule:
    """Trainings of a command with their steps, and the time that the remaining ones take.

    A training that has not started takes the time per step of the same arm with another seed, or else of the other
    trainings of its kind (teacher or students), or else of all.
    """

    jobs: list[tuple[str, int]] = field(default_factory=list)
    """Name and steps of each; the name of several runs that are trained together joins theirs by ``, ``."""
    finished: set[str] = field(default_factory=set)
    """Names of finished runs."""
    _times: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Seconds and steps by arm."""

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(len(name.split(", ")) for name, _ in self.jobs)

    @property
    def steps(self) -> int:
        """Steps of all trainings."""
        return sum(steps for _, steps in self.jobs)

    def position(self, name: str) -> int:
        """Return the number of a training's first run, from 1: those that finished before, plus 1."""
        return min(len(self.finished - set(name.split(", "))) + 1, max(self.runs, 1))

    def has_finished(self, name: str) -> bool:
        """Whether all runs of a training have finished."""
        return set(name.split(", ")) <= self.finished

    def done(self, running: Mapping[str, int]) -> int:
        """Return the steps made in all trainings.

        Args:
            running: steps that are left of each training in progress.
        """
        return self.steps - sum(left for _, left in self._left(running))

    def finish(self, name: str) -> None:
        """Count the runs of a training as finished."""
        self.finished |= set(name.split(", "))

    def measure(self, name: str, seconds: float, steps: int) -> None:
        """Record how long steps of a training took, in place of what was recorded for its arm."""
        if steps > 0:
            self._times[_arm(name)] = (seconds, steps)

    def seconds_left(self, running: Mapping[str, int]) -> float | None:
        """Return the time of the remaining steps, one after another; ``None`` before the first measurement.

        Args:
            running: steps that are left of each training in progress.
        """
        if not self._times:
            return None
        return sum(left * self._rate(name) for name, left in self._left(running))

    def _left(self, running: Mapping[str, int]) -> list[tuple[str, int]]:
        """Return the trainings that have not finished, with the steps that are left."""
        return [(name, running.get(name, steps)) for name, steps in self.jobs if not self.has_finished(name)]

    def _rate(self, name: str) -> float:
        """Return seconds per step."""
        own = self._times.get(_arm(name))
        kind = [times for arm, times in self._times.items() if arm.partition("/")[0] == name.partition("/")[0]]
        known = [own] if own is not None else kind or list(self._times.values())
        return sum(seconds for seconds, _ in known) / sum(steps for _, steps in known)


def _arm(name: str) -> str:
    """Return a training's name without its seed."""
    return name.rpartition("/")[0] if "," not in name else name.rpartition("seed")[0]


class Display(NullCallback):
    """Callback that displays progress: "run 3 of 8, 12 min left" with one bar over the steps of all runs.

    Args:
        console: the output.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)
        self._schedule = Schedule()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name, self._where = "", ""
        self._start = 0.0
        self._steps = self._done = self._before = 0
        self._last_line = 0.0
        self._began: dict[str, tuple[float, int]] = {}
        """Time and steps of the first report about a loop in another process."""
        self._steps_left: dict[str, int] = {}
        """Of loops in other processes."""

    def on_schedule(self, jobs: Sequence[tuple[str, int]]) -> None:
        """Take the trainings that follow."""
        self._schedule = Schedule(list(jobs))
        self._began, self._steps_left = {}, {}

    def on_train_start(self, name: str, steps: int, done: int) -> None:
        """Start the display of one training.

        Args:
            name: of the runs that are trained.
            steps: number of steps in all.
            done: number of steps completed before.
        """
        if name not in [known for known, _ in self._schedule.jobs]:
            self._schedule = Schedule([(name, steps)])
        self._name, self._where = name, name
        self._start, self._steps, self._done, self._before = time.monotonic(), steps, done, done
        self._last_line = self._start
        if self._live:
            self._bar = Progress(
                TextColumn("{task.fields[run]}{task.description}", markup=False),
                BarColumn(bar_width=12),
                TaskProgressColumn(),
                TextColumn("{task.fields[left]}", style="cyan"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            completed = self._schedule.done({name: steps - done})
            total = max(self._schedule.steps, completed)
            self._task = self._bar.add_task(
                self._shortened(name), total=total, completed=completed, run=self._run(), left=""
            )

    def on_step_end(self) -> None:
        """Advance the display by one step."""
        self._done += 1
        self._schedule.measure(self._name, time.monotonic() - self._start, self._done - self._before)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, left=self._left())

    def on_epoch_end(self, context: EpochContext) -> None:
        """Display an epoch: stage and epoch beside the bar, or losses as plain lines at least 10 s apart."""
        if self._bar is not None and self._task is not None:
            stage = context.stage
            where = f"{stage.run.name.removeprefix('students/')} {stage.stage.name} {context.epoch + 1}"
            self._bar.update(self._task, description=self._shortened(where))
            return
        now = time.monotonic()
        if now - self._last_line >= _SECONDS or self._done >= self._steps:
            rate = (self._done - self._before) / max(now - self._start, 1e-9)
            left = self._left()
            self._print(f"{self._run()}{context}  [{rate:.2f} steps/s{', ' if left else ''}{left}]")
            self._last_line = now

    def on_train_end(self) -> None:
        """Remove the bar."""
        if self._done >= self._steps:
            self._schedule.finish(self._name)
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

    def on_remote_progress(self, name: str, done: int, steps: int) -> None:
        """Print what other processes have done so far, at most every 20 s."""
        now = time.monotonic()
        began, before = self._began.setdefault(name, (now, done))
        self._schedule.measure(name, now - began, done - before)
        self._steps_left[name] = steps - done
        if now - self._last_line < _REMOTE_SECONDS or self._schedule.runs < 2:
            return
        running = {loop: left for loop, left in self._steps_left.items() if not self._schedule.has_finished(loop)}
        seconds = self._schedule.seconds_left(running)
        left = "" if seconds is None else f", about {in_words(seconds / len(running))} left"
        share = f"{100 * self._schedule.done(running) / self._schedule.steps:.0f}%"
        self._print(f"{self._finished()}, {len(running)} in training, {share}{left}")
        self._last_line = now

    def on_run_trained(self, name: str, history: Sequence[dict[str, object]]) -> None:
        """Print that another process finished a run."""
        self._schedule.finish(name)
        if self._schedule.runs > 1:
            self._print(f"{name}: {self._finished()}")

    def _finished(self) -> str:
        return f"{len(self._schedule.finished)} of {self._schedule.runs} runs finished"

    def _print(self, text: str) -> None:
        """Print a line with the time of day."""
        clock = datetime.now().strftime("%H:%M:%S")
        self._console.print(f"{clock}  {text}", highlight=False, markup=False, soft_wrap=True)

    def _run(self) -> str:
        """Return which run of how many is trained; empty for a single one."""
        if self._schedule.runs < 2:
            return ""
        return f"run {self._schedule.position(self._name)} of {self._schedule.runs}  "

    def _left(self) -> str:
        seconds = self._schedule.seconds_left({self._name: max(self._steps - self._done, 0)})
        return "" if seconds is None else f"{in_words(seconds)} left"

    def _shortened(self, name: str) -> str:
        room = _NAME - len(self._run())
        return name if len(name) <= room else name[: room - 3] + "..."


def library_display(wanted: bool | None) -> NullCallback:
    """Return the display of a call of the Python interface, on stderr.

    Args:
        wanted: whether to display; ``None``: in a terminal and in a notebook.
    """
    console = Console(stderr=True)
    shown = wanted if wanted is not None else (sys.stderr.isatty() or console.is_jupyter)
    return Display(console) if shown else NullCallback()
