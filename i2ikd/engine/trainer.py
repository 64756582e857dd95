"""One run in training: its network, its position in its recipe, and all state that the next step depends on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from i2ikd.callback import EpochContext, RunContext, StageContext
from i2ikd.engine.checkpoint import load_state
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.device import training_format
from i2ikd.engine.objectives import set_up_objective
from i2ikd.engine.optimiser import make_optimiser, set_rate
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.start import frozen_modules, frozen_parameters, trained_parameters
from i2ikd.engine.start_weights import set_start_weights
from i2ikd.engine.weight_selection import State, WeightSelection
from i2ikd.errors import UserError
from i2ikd.network import to_memory_format
from i2ikd.objective import Objective, Side, TeacherOutputs
from i2ikd.sample import Batch
from i2ikd.seeds import seed_torch
from i2ikd.transform import Transform

History = list[dict[str, Any]]


class Trainer:
    """Trains one network through its stages.

    ``epoch`` counts over all stages and ``step`` within the epoch. With the weights, the optimiser and the objective's
    state they determine the next step, because random choices are functions of the seed and the position.

    Args:
        run: names the run to callbacks and messages.
        network: the network to train, as its model builds it.
        stages: the recipe with its settings resolved.
        shared: state shared with the other runs of the loop.
        model: name of the network's model, for registered pairs.
        fresh: builds the network again, for stages that start fresh.
        side: which side of an experiment the network is.
        transforms: training transforms, applied at construction and folded by ``plain_network``.
    """

    def __init__(
        self,
        run: RunContext,
        network: nn.Module,
        stages: Sequence[PlannedStage],
        shared: TrainingContext,
        model: str,
        fresh: Callable[[], nn.Module] | None = None,
        side: Side = "student",
        transforms: Sequence[Transform] = (),
    ) -> None:
        self.run = run
        self._shared = shared
        self._transforms = transforms
        self.network = self._prepared(network)
        self.stages = list(stages)
        self.epoch = 0
        self.step = 0
        self.history: History = []
        self.objective: Objective | None = None
        self.left: dict[str, State] = {}
        """Weights of further networks that finished stages left behind, by name."""
        self._model = model
        self._side: Side = side
        self._fresh = fresh
        self._selection: WeightSelection | None = None
        self._sums: dict[str, Tensor] = {}
        self._frozen: list[nn.Parameter] = []

    def _prepared(self, network: nn.Module) -> nn.Module:
        """Apply the training transforms; move the network to the device."""
        device = self._shared.device
        network.to(device)
        for index, transform in enumerate(self._transforms):
            seed_torch(self.run.seed, "transform", index)
            network = transform.apply(network, self._shared.first_batches(4), self._shared.task)
        return to_memory_format(network, device, training_format(device))

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def finished(self) -> bool:
        """Whether every stage is complete."""
        return self.epoch >= self.epochs

    @property
    def stage_index(self) -> int:
        """Which stage the current epoch belongs to."""
        return self._position()[0]

    def _position(self) -> tuple[int, int]:
        """Return (stage, epoch within it)."""
        left = self.epoch
        for index, stage in enumerate(self.stages):
            if left < stage.epochs:
                return index, left
            left -= stage.epochs
        return len(self.stages) - 1, self.stages[-1].epochs

    def on_epoch_start(self) -> None:
        """Start the epoch; at the first of a stage, set up the objective and the optimiser."""
        index, epoch = self._position()
        if self.objective is None:
            self._open_stage(index)
        assert self.objective is not None
        self.objective.on_epoch_start(epoch, self.stages[index].epochs)
        if self.step == 0:
            self._shared.events.on_epoch_start(EpochContext(self._stage_context(index), epoch))

    def _stage_context(self, index: int) -> StageContext:
        return StageContext(self.run, self.stages[index].stage, index)

    def _open_stage(self, index: int, restoring: bool = False) -> None:
        planned, shared = self.stages[index], self._shared
        if not restoring:
            self._set_start_weights(planned)
        self.objective = set_up_objective(shared, planned.stage, self.network, self._side, self._model, self.run.seed)
        if not restoring:
            self.objective.prepare()
        self._selection = None
        shared.group.broadcast_(self._tensors())
        self._freeze(planned)
        where = f"{self.run.name}, stage {planned.stage.name!r}"
        self._trained = trained_parameters(self.network, self.objective.trainable(), self._frozen, where)
        self._optimiser = make_optimiser(self._trained, planned.training)
        set_rate(self._optimiser, planned.training, planned.epochs, epoch=0)
        self._selection = WeightSelection(self.objective, planned.training)
        self._to_training_mode(planned)
        if not restoring:
            shared.events.on_stage_start(self._stage_context(index))

    def _freeze(self, planned: PlannedStage) -> None:
        candidates = frozen_parameters(self.network, planned.stage.freeze)
        self._frozen = [parameter for parameter in candidates if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def _to_training_mode(self, planned: PlannedStage) -> None:
        """Put the network into training mode, but frozen modules: their running statistics must not change either."""
        assert self.objective is not None
        self.objective.in_training_mode()
        for module in frozen_modules(self.network, planned.stage.freeze):
            module.eval()

    def _set_start_weights(self, planned: PlannedStage) -> None:
        fresh = self._fresh
        set_start_weights(
            planned.stage,
            self.network,
            self._shared,
            (self._model, self._side),
            None if fresh is None else lambda: self._prepared(fresh()),
            self.run.seed,
        )

    def _tensors(self) -> Iterator[Tensor]:
        """Yield all weights and buffers of the stage."""
        for module in (self.network, self.objective):
            if module is not None:
                yield from module.parameters()
                yield from module.buffers()
        if self._selection is not None:
            yield from self._selection.tensors()

    def training_step(self, batch: Batch, outputs: TeacherOutputs) -> None:
        """Make one optimiser step, with the gradients of all processes.

        Args:
            batch: this process's part of the batch, on the device.
            outputs: of the input networks, as the objective requested them.

        Raises:
            UserError: a part of the loss is not finite.
        """
        assert self.objective is not None
        shared, clip = self._shared, self.stages[self.stage_index].training.clip_grad
        seed_torch(self.run.seed, "step", self.epoch, self.step, *shared.group.labels)
        loss = self.objective(batch, outputs)
        if shared.device.type == "cpu" or self.step == 0:
            self._refuse_not_finite(loss.parts)
        if not loss.total.requires_grad:
            raise UserError(
                f"{self.run.name}: the loss of epoch {self.epoch}, step {self.step} has no gradient: its terms depend "
                "on no trained weight, or one of them switched gradients off; check the terms of the stage"
            )
        loss.total.backward()
        losses = shared.group.average(self._trained, {"total": loss.total.detach(), **loss.parts})
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._selected.on_step_end()
        self.objective.on_step_end()
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.step += 1

    def _refuse_not_finite(self, parts: dict[str, Tensor]) -> None:
        for name, loss in parts.items():
            if not bool(torch.isfinite(loss)):
                raise UserError(
                    f"{self.run.name}: the term {name!r} became {float(loss)} in epoch {self.epoch}, step {self.step}; "
                    "lower training.lr, set training.clip_grad, or check the weight and options of the term"
                )

    def on_epoch_end(self) -> EpochContext:
        """End the epoch: validate, keep the best weights, set the next learning rate; at the last, end the stage."""
        index, epoch = self._position()
        planned = self.stages[index]
        losses = {name: float(total) / max(self.step, 1) for name, total in self._sums.items()}
        if self._shared.device.type != "cpu":
            self._refuse_not_finite({name: torch.tensor(loss) for name, loss in losses.items()})
        rate = float(self._optimiser.param_groups[0]["lr"])
        context = EpochContext(self._stage_context(index), epoch, losses, learning_rate=rate)
        self._shared.group.broadcast_(self._tensors())  # running statistics differ: each process has its own share
        if self._is_validated(planned, epoch):
            context.validation = self._validate(planned)
            self._selected.on_validation_end(context.validation)
        row = {
            "stage": planned.stage.name,
            "epoch": epoch,
            "losses": losses,
            "lr": rate,
            "validation": context.validation,
        }
        self.history.append(row)
        set_rate(self._optimiser, planned.training, planned.epochs, epoch + 1)
        self._shared.events.on_epoch_end(context)
        self.epoch, self.step, self._sums = self.epoch + 1, 0, {}
        if epoch + 1 == planned.epochs:
            self._close_stage(index)
        return context

    def _is_validated(self, planned: PlannedStage, epoch: int) -> bool:
        assert self.objective is not None
        if self._shared.validation is None or not self.objective.validates:
            return False
        every = planned.training.validate_every or 1
        return (epoch + 1) % every == 0 or epoch + 1 == planned.epochs

    def _validate(self, planned: PlannedStage) -> float:
        """Return the validation loss; hooks are removed meanwhile, or taps would keep the features of the split."""
        assert self.objective is not None
        self.objective.close()
        loss = self._shared.validation_loss(self._selected.eval_network())
        self._to_training_mode(planned)
        self._refuse_not_finite({"validation": torch.tensor(loss)})
        return loss

    @property
    def _selected(self) -> WeightSelection:
        assert self._selection is not None, "a stage is open"
        return self._selection

    def _close_stage(self, index: int) -> None:
        self.left |= self._selected.finish(self.network)
        for name, weights in self.network.named_parameters():  # the last step may have no validation after it
            if not bool(torch.isfinite(weights).all()):
                raise UserError(
                    f"{self.run.name}: the weights {name!r} are not finite after the last step of the stage "
                    f"{self.stages[index].stage.name!r}; lower training.lr, or set training.clip_grad"
                )
        self.close()
        self._shared.events.on_stage_end(self._stage_context(index))

    def plain_network(self) -> nn.Module:
        """Return the trained network with its training transforms folded, as its model builds it."""
        network = self.network
        for transform in reversed(self._transforms):
            network = transform.fold(network)
        return network

    def close(self) -> None:
        """Remove hooks, release what belongs to the stage, and unfreeze parameters."""
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._frozen = []
        if self.objective is not None:
            self.objective.close()
            self.objective = self._selection = None

    def state_dict(self) -> dict[str, Any]:
        """Return all state that the next step depends on."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "history": copy.deepcopy(self.history),
            "sums": dict(self._sums),
            "left": self.left,
            "stage": None,
        }
        if self.objective is not None:
            state["stage"] = {
                "objective": self.objective.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "selection": self._selected.state_dict(),
            }
        return state

    def load_state_dict(self, state: dict[str, Any], where: str) -> None:
        """Continue where ``state_dict`` was taken.

        Raises:
            UserError: the weights are another network's.
        """
        load_state(self.network, state["network"], where)
        self.epoch, self.step = state["epoch"], state["step"]
        self.history, self._sums, self.left = state["history"], dict(state["sums"]), dict(state["left"])
        stage = state["stage"]
        if stage is None:
            return
        self._open_stage(self.stage_index, restoring=True)
        assert self.objective is not None
        self.objective.load_state_dict(stage["objective"])
        self._optimiser.load_state_dict(stage["optimiser"])
        self._selected.load_state_dict(stage["selection"])
