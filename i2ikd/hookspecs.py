"""Everything that a plugin can provide or listen to. Importing this file never imports torch.

A plugin is a module (or object) named by an entry point of the group ``i2ikd``; it marks its functions with
``i2ikd.hookimpl``. Registration hooks receive a ``register`` callback::

    import i2ikd

    @i2ikd.hookimpl
    def register_distillers(register):
        register("attention", "my_package.maps:Attention", summary="attention maps", paper="arXiv:1612.03928")

A target is a callable (a class or a factory) or a ``"package.module:attribute"`` string that is imported on first
use. The target's typed arguments are the component's options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from i2ikd.lifecycle import EpochContext, RunContext, StageContext

GROUP = "i2ikd"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Register(Protocol):
    """The callback that a registration hook receives; it remembers which plugin called it."""

    def __call__(self, name: str, target: Callable[..., Any] | str, *, summary: str = "", **metadata: str) -> None:
        """Offer ``target`` under ``name``; ``facts`` (``paper``, ``formula``, ...) are shown by ``list``, ``show``."""


@hookspec
def register_models(register: Register) -> None:
    """Networks: a factory ``(**options) -> nn.Module`` called as ``network(input, **conditions)``."""


@hookspec
def register_pairs(register: Register) -> None:
    """Which taps of a teacher go with which of a student: ``(teacher, student) -> [(teacher path, student path)]``.

    Facts: ``teacher`` and ``student``, the model names it is for; ``role``: ``features`` (the default),
    ``preactivations`` or ``images``.
    """


@hookspec
def register_tasks(register: Register) -> None:
    """Tasks: a factory ``(**options) -> i2ikd.Task``."""


@hookspec
def register_datasets(register: Register) -> None:
    """Sources of volumes that a task can stand on: ``(**options) -> i2ikd.VolumeSource``."""


@hookspec
def register_readers(register: Register) -> None:
    """Readers of one file: ``(path) -> i2ikd.Volume``. Fact: ``suffixes``, e.g. ``".h5 .hdf5"``."""


@hookspec
def register_masks(register: Register) -> None:
    """Undersampling masks: a factory ``(**options)`` of an object that the tasks of ``i2ikd_mri`` call."""


@hookspec
def register_distillers(register: Register) -> None:
    """Distillation losses: a factory ``(**options) -> i2ikd.Distiller``. Facts: ``paper``, ``formula``."""


@hookspec
def register_recipes(register: Register) -> None:
    """Recipes: a factory ``(**options) -> list[i2ikd.Stage]``."""


@hookspec
def register_metrics(register: Register) -> None:
    """Metrics: a factory ``() -> i2ikd.Metric``; scope and peak belong to the name."""


@hookspec
def register_figures(register: Register) -> None:
    """Figures of a report: ``(comparison) -> matplotlib Figure``, where ``comparison`` is what ``compare`` gives."""


@hookspec
def register_trackers(register: Register) -> None:
    """Experiment trackers: a factory ``(**options)`` of an object with ``log(step, values)`` and ``close()``."""


@hookspec
def register_exporters(register: Register) -> None:
    """Exporters of a trained network: ``(network, batch, path) -> None``."""


@hookspec
def register_commands(register: Register) -> None:
    """Commands of ``i2ikd``: a ``click.Command``; ``summary`` is the line in ``i2ikd --help``."""


@hookspec
def run_started(context: RunContext) -> None:
    """A training run starts (or goes on after an interruption)."""


@hookspec
def run_ended(context: RunContext) -> None:
    """A training run ended; ``context.error`` is the exception if it failed."""


@hookspec
def stage_started(context: StageContext) -> None:
    """A stage of a recipe starts."""


@hookspec
def stage_ended(context: StageContext) -> None:
    """A stage of a recipe ended."""


@hookspec
def epoch_started(context: EpochContext) -> None:
    """An epoch starts."""


@hookspec
def epoch_ended(context: EpochContext) -> None:
    """An epoch ended; ``context.losses`` has the mean of every term."""
