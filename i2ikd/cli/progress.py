"""How long work shows itself: a rich bar with rate and time left on a terminal, plain lines elsewhere."""

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

from i2ikd.lifecycle import EpochContext


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Steps a second."""
        return Text(f"{task.speed:.2f} steps/s" if task.speed else "", style="cyan")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display:
    """A ``Callback`` of the training loop that prints."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._start = 0.0
        self._steps = self._done = self._before = 0
        self._said = 0.0

    def started(self, name: str, steps: int, done: int) -> None:
        """Open the bar."""
        self._start, self._steps, self._done, self._before = time.monotonic(), steps, done, done
        self._said = self._start
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

    def stepped(self) -> None:
        """Move the bar."""
        self._done += 1
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def epoch_ended(self, trainer: str, context: EpochContext, epochs: int) -> None:
        """Show the losses: on a terminal with the bar, elsewhere as a line at least ten seconds apart."""
        stage = context.stage.stage
        losses = "  ".join(f"{name} {value:.5g}" for name, value in context.losses.items() if name != "total")
        judged = f"  validation {context.validation:.5g}" if context.validation is not None else ""
        text = f"{trainer}  {stage.name} epoch {context.epoch + 1}  {losses}{judged}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text if len(text) <= 90 else text[:87] + "...")
            return
        now = time.monotonic()
        if now - self._said >= 10 or self._done >= self._steps:
            rate = (self._done - self._before) / max(now - self._start, 1e-9)
            left = (self._steps - self._done) / max(rate, 1e-9)
            line = f"{text}  [{rate:.2f} steps/s, {_duration(left)} left]"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._said = now

    def ended(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
