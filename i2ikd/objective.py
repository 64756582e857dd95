"""The Objective interface: what a stage minimises. It owns the forward passes of the network being trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from i2ikd.config import digest
from i2ikd.distiller import Features, Knowledge
from i2ikd.errors import UserError
from i2ikd.network import Student, Teacher
from i2ikd.pairing import MODULE_KINDS, choose_pairs
from i2ikd.recipe import Pairs
from i2ikd.sample import Batch
from i2ikd.seeds import seed_torch

if TYPE_CHECKING:
    from i2ikd.registry import Registry
    from i2ikd.task import Task

Side = Literal["teacher", "student"]

TeacherOutputs = Mapping[str, Knowledge]
"""What an objective requested of its input networks for one batch, by name of the request, without gradient."""


@dataclass(frozen=True)
class TeacherRequest:
    """Outputs of a frozen input network that an objective needs for every batch.

    The engine runs each input network at most once a batch for all requests of all runs trained together, and caches
    the outputs over epochs where the samples and the request allow it.

    Attributes:
        name: key in ``TeacherOutputs``, unique within the objective.
        extract: computes the outputs from the network's features; called without gradient.
        paths: modules of the network to tap, in the order of ``Features.taps``.
        cacheable: whether every tensor has the batch as its first axis and depends on its own sample alone.
        identity: JSON-able; with ``paths`` and the weights it determines the outputs, for the cache key.
        code: the class whose source code the outputs depend on, for the cache key.
        network: role of the input network.
        uses_output: whether ``extract`` uses the output image; a network that no request uses the output of is run no
            further than to its last tap, and ``Features.output`` is ``None``.
    """

    name: str
    extract: Callable[[Features, Batch], Knowledge]
    paths: tuple[str, ...] = ()
    cacheable: bool = False
    identity: Any = None
    code: type = object
    network: str = "teacher"
    uses_output: bool = True

    def __post_init__(self) -> None:
        """Refuse a request that the cache could not distinguish from another one of the same class.

        Raises:
            UserError: it is cacheable and has no identity.
        """
        if self.cacheable and self.identity is None:
            raise UserError(
                f"the request {self.name!r}: expected an identity, as its outputs are cached, got None; set identity "
                "to what the outputs depend on besides the network and the samples"
            )

    @property
    def key(self) -> str:
        """Digest of what the outputs depend on besides the network's weights and the samples."""
        return digest([self.code.__module__, self.code.__qualname__, self.identity, list(self.paths)])


@dataclass
class Loss:
    """Value of an objective on one batch.

    Attributes:
        total: scalar with gradient, minimised.
        parts: named scalars without gradient, for the history and for finding the one that is not finite.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class ObjectiveContext:
    """Everything an objective may use; passed to ``Objective.setup``.

    Attributes:
        network: the network being trained, on the device.
        side: which side of the experiment it is.
        inputs: frozen networks by role (``teacher``, ``assistant``, ...).
        models: model name by role, the trained network's and those that can be built by side; for registered pairs.
        pairs: taps that the experiment states, or the name of registered ones.
        task: samples, loss and metrics.
        registry: creates components.
        example: a training batch on the device, for dry runs.
        batch_size: samples per optimiser step that this process sees.
        seed: of the run.
        stage: name of the stage.
        autocast: context manager under which networks run (losses stay in float32).
        first_batches: the first n training batches of epoch 0, on the device.
        build: a freshly initialised network of a side of the experiment, on the device.
    """

    network: nn.Module
    side: Side
    inputs: Mapping[str, nn.Module]
    models: Mapping[str, str]
    pairs: Pairs | None
    task: Task
    registry: Registry
    example: Batch
    batch_size: int
    seed: int
    stage: str
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    first_batches: Callable[[int], Iterable[Batch]] = lambda count: ()
    build: Callable[[Side], nn.Module] | None = None

    def seed_torch(self, *labels: object) -> None:
        """Seed torch's generators for one purpose of this stage."""
        seed_torch(self.seed, self.stage, *labels)

    def input(self, role: str) -> nn.Module:
        """Return a frozen input network.

        Raises:
            UserError: the run has no input of this role.
        """
        if role not in self.inputs:
            raise UserError(
                f"stage {self.stage!r}: expected an input network {role!r}, got {', '.join(self.inputs) or 'none'}; "
                f"set inputs.{role} of the arm"
            )
        return self.inputs[role]

    def observe(self, paths: Sequence[str] = ()) -> Student:
        """Return the trained network with taps on ``paths``; calling it runs it under autocast."""
        return Student(self.network, paths, self.autocast)

    def observe_input(self, role: str, paths: Sequence[str] = ()) -> Teacher:
        """Return a frozen network in eval mode with taps on ``paths``; close it after use."""
        return Teacher(self.input(role), paths, self.autocast)

    def choose_pairs(
        self, wanted: Pairs | None, tap_kind: str, where: str, role: str = "teacher"
    ) -> list[tuple[str, str]]:
        """Return (input path, trained path) pairs: ``wanted``, the experiment's, or those registered for the models.

        The experiment's pairs are taps: they count for neither ``blocks`` nor ``layers``.

        Raises:
            UserError: nothing is given and nothing is registered, or a path matches nothing.
        """
        models = (self.models.get(role, ""), self.models.get(self.side, ""))
        stated = wanted if tap_kind in MODULE_KINDS else wanted or self.pairs
        return choose_pairs(self.registry, models, (self.input(role), self.network), stated, tap_kind, where)

    def choose_built_pairs(
        self, network: nn.Module, side: Side, wanted: Pairs | None, tap_kind: str, where: str
    ) -> list[tuple[str, str]]:
        """Return (trained path, built path) pairs: ``wanted``, or those registered for the two models.

        Args:
            network: returned by ``build``.
            side: that it was built for.
            wanted: explicit pairs, or the name of registered ones.
            tap_kind: of the registered pairs.
            where: how messages name the place.

        Raises:
            UserError: nothing is given and nothing is registered, or a path matches nothing.
        """
        models = (self.models.get(self.side, ""), self.models.get(side, ""))
        return choose_pairs(self.registry, models, (self.network, network), wanted, tap_kind, where)

    def target_loss(self, image: Tensor, batch: Batch) -> Tensor:
        """Return the task's loss of an output image [B, C, H, W] in float32, over the labelled samples of the batch.

        Without any it is 0, connected to ``image``, so that a backward pass is possible.
        """
        image, target = image.float(), batch.target
        if batch.labelled is not None:
            rows = batch.labelled.nonzero()[:, 0]
            if len(rows) == 0:
                return image.sum() * 0.0
            moved = rows.to(image.device)
            image, target = image[moved], target[moved]
        return self.task.loss(image, target)


class Objective(nn.Module):
    """What a stage minimises; options are typed constructor arguments.

    Its parameters and buffers are saved in checkpoints. Networks of the context are held in ``self.context``, which
    is no module, so that they are neither saved nor optimised as part of the objective.
    """

    context: ObjectiveContext

    @property
    def needs(self) -> frozenset[str]:
        """Roles of the input networks it needs; readable before ``setup``."""
        return frozenset({"teacher"})

    @property
    def builds(self) -> frozenset[Side]:
        """Sides of the experiment whose networks it builds; readable before ``setup``."""
        return frozenset()

    @property
    def least_batch(self) -> int:
        """Fewest samples per step it works with; readable before ``setup``."""
        return 1

    @property
    def relations(self) -> Sequence[str]:
        """Names of its parts that relate the samples of a batch; readable before ``setup``."""
        return ()

    @property
    def components(self) -> Sequence[tuple[str, str]]:
        """(kind, name) of the components it is made of, for the run's manifest."""
        return ()

    @property
    def validates(self) -> bool:
        """Whether the task's validation loss of ``eval_network`` measures progress of this stage."""
        return True

    def setup(self, context: ObjectiveContext) -> None:
        """Build everything that depends on the networks. Called once per stage, also when a run is resumed.

        Raises:
            UserError: networks, shapes or options that do not fit.
        """
        self.context = context

    def prepare(self) -> None:
        """Measure or pre-train on data, once, before the first step; results must live in buffers or parameters."""

    def requests(self) -> Sequence[TeacherRequest]:
        """Return the outputs of input networks it needs for every batch; called once per epoch."""
        return ()

    def trainable(self) -> Iterable[nn.Parameter]:
        """Yield its own parameters to optimise besides the network's."""
        return self.parameters()

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """An epoch of the stage starts (from 0); schedules are functions of it, so that nothing needs saving."""

    @abstractmethod
    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Run the network being trained on a batch and return the loss."""

    def on_step_end(self) -> None:
        """An optimiser step was made; features of the batch can be freed."""

    def eval_network(self) -> nn.Module:
        """Return the network that validation and the moving average use."""
        return self.context.network

    def finish(self) -> dict[str, nn.Module]:
        """Return further networks the stage leaves behind, by name; their weights are saved with the run."""
        return {}

    def close(self) -> None:
        """Remove hooks. Called before validation and at the end of the stage; ``forward`` may be called again."""

    def in_training_mode(self) -> None:
        """Put the network being trained into training mode; override to keep parts of it in eval mode."""
        self.context.network.train()
