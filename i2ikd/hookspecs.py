"""Every hook a plugin can implement. Importing this module does not import torch.

A plugin is a module (or object) named by an entry point of the group ``i2ikd``. It marks its functions with
``i2ikd.hookimpl``. Registration hooks receive a ``register`` callback::

    import i2ikd

    @i2ikd.hookimpl
    def register_distillers(register):
        register("attention", "my_package.maps:Attention", summary="attention maps", paper="arXiv:1612.03928")

A target is a callable (a class or a factory) or a ``"package.module:attribute"`` string, imported on first use. The
target's typed arguments are the component's options; an argument named ``registry`` is not an option, it receives the
registry that creates the component.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from i2ikd.callback import EpochContext, RunContext, StageContext

GROUP = "i2ikd"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Register(Protocol):
    """Callback of a registration hook; the registry records which plugin called it."""

    def __call__(self, name: str, target: Callable[..., Any] | str, *, summary: str = "", **metadata: str) -> None:
        """Register ``target`` under ``name``.

        Args:
            name: unique within the kind and the plugin, without ``:``.
            target: a callable, or ``"package.module:attribute"``.
            summary: one line for ``i2ikd list``.
            metadata: further texts (``paper``, ``formula``, ...), printed by ``list`` and ``show``.
        """


class RegisterKind(Protocol):
    """Callback of ``register_kinds``."""

    def __call__(self, name: str, plural: str = "", *, summary: str = "") -> None:
        """Define a kind of component; plugins then register its components in the hook ``register_<plural>``.

        Args:
            name: singular, a lower-case identifier, e.g. ``mask``.
            plural: ``name`` + ``s`` unless given.
            summary: what a component of the kind is and how it is called.
        """


@hookspec
def register_kinds(register_kind: RegisterKind) -> None:
    """Kinds of components that a plugin defines for itself and for others, e.g. undersampling masks."""


@hookspec
def register_models(register: Register) -> None:
    """Networks: a factory ``(**options) -> nn.Module`` called as ``network(input, **conditions)``."""


@hookspec
def register_pairs(register: Register) -> None:
    """Corresponding modules of a teacher and a student: ``(teacher, student) -> [(teacher path, student path)]``.

    Metadata: ``teacher`` and ``student``, the model names; ``tap_kind``: ``features`` (the default),
    ``preactivations``, ``images``, ``blocks`` (modules with one interface) or ``layers`` (modules of equal shape).
    """


@hookspec
def register_tasks(register: Register) -> None:
    """Tasks: a factory ``(**options) -> i2ikd.Task``."""


@hookspec
def register_datasets(register: Register) -> None:
    """Sources of volumes for a task: ``(**options) -> i2ikd.VolumeSource``."""


@hookspec
def register_readers(register: Register) -> None:
    """Readers of one file: ``(path) -> i2ikd.Volume``. Metadata: ``suffixes``, e.g. ``".h5 .hdf5"``."""


@hookspec
def register_distillers(register: Register) -> None:
    """Distillation losses: a factory ``(**options) -> i2ikd.Distiller``. Metadata: ``paper``, ``formula``."""


@hookspec
def register_objectives(register: Register) -> None:
    """What a stage minimises: a factory ``(**options) -> i2ikd.Objective``. Metadata: ``paper``, ``formula``."""


@hookspec
def register_transforms(register: Register) -> None:
    """Changes of a network, around or after training: a factory ``(**options) -> i2ikd.Transform``."""


@hookspec
def register_combinations(register: Register) -> None:
    """Several trained networks as one: a factory ``(networks, **options) -> nn.Module``, e.g. their mean output."""


@hookspec
def register_recipes(register: Register) -> None:
    """Recipes: a factory ``(**options) -> list[i2ikd.Stage]``."""


@hookspec
def register_metrics(register: Register) -> None:
    """Metrics: a factory ``(**options) -> i2ikd.Metric``; scope and peak belong to the name."""


@hookspec
def register_figures(register: Register) -> None:
    """Figures of a report: ``(comparison) -> matplotlib.figure.Figure``."""


@hookspec
def register_trackers(register: Register) -> None:
    """Experiment trackers: a factory ``(**options)`` of an object with ``log`` and ``close``."""


@hookspec
def register_exporters(register: Register) -> None:
    """Deployment formats: a factory ``(**options) -> i2ikd.Exporter``. Metadata: ``suffixes``, e.g. ``".onnx"``."""


@hookspec
def register_bundles(register: Register) -> None:
    """Trained networks, named ``zoo:NAME``: a function ``() -> pathlib.Path`` of a bundle. Metadata: ``licence``."""


@hookspec
def register_commands(register: Register) -> None:
    """Commands of ``i2ikd``: a ``click.Command``; ``summary`` is its line in ``i2ikd --help``."""


@hookspec
def run_started(context: RunContext) -> None:
    """A training run starts, or continues after an interruption."""


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
