"""Progress display: a rich bar with rate and remaining time on a terminal, plain lines in other outputs."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from i2ikd.callback import EpochContext, NullCallback


class _Rate(ProgressColumn):
    """Progress column with the number of steps per second."""

    def render(self, task: Task) -> Text:
        """Format the rate; empty before the first step."""
        return Text(f"{task.speed:.2f} steps/s" if task.speed else "", style="cyan")


def duration(seconds: float) -> str:
    """Format a duration as [h:]mm:ss.

    Args:
        seconds: at least 0.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display(NullCallback):
    """Training-loop ``Callback`` that displays progress and losses.

    Args:
        console: the output.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._start = 0.0
        self._steps = self._done = self._before = 0
        self._last_line = 0.0

    def on_train_start(self, name: str, steps: int, done: int) -> None:
        """Start the display.

        Args:
            name: description of the training.
            steps: number of steps in all.
            done: number of steps completed before.
        """
        self._start, self._steps, self._done, self._before = time.monotonic(), steps, done, done
        self._last_line = self._start
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(name if len(name) <= 48 else name[:45] + "...", total=steps, completed=done)

    def on_step_end(self) -> None:
        """Advance the display by one step."""
        self._done += 1
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def on_epoch_end(self, context: EpochContext) -> None:
        """Display the losses of an epoch: beside the bar, or as plain lines at least 10 s apart."""
        text = str(context)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text if len(text) <= 90 else text[:87] + "...")
            return
        now = time.monotonic()
        if now - self._last_line >= 10 or self._done >= self._steps:
            rate = (self._done - self._before) / max(now - self._start, 1e-9)
            left = (self._steps - self._done) / max(rate, 1e-9)
            line = f"{text}  [{rate:.2f} steps/s, {duration(left)} left]"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._last_line = now

    def on_train_end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
