"""One network on its way through its stages: what it learns from a batch, and all of its state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from i2ikd.distiller import Knowledge
from i2ikd.engine.checkpoint import load_state
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.device import training_format
from i2ikd.engine.objective import Objective, build_objective
from i2ikd.engine.optimiser import make_optimiser, set_rate
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.precision import autocast
from i2ikd.engine.preparation import prepare
from i2ikd.engine.seeds import seed_torch
from i2ikd.errors import UserError
from i2ikd.lifecycle import EpochContext, RunContext, StageContext
from i2ikd.network import Student, to_memory_format
from i2ikd.sample import Batch

History = list[dict[str, Any]]


def shared_layers(teacher: nn.Module, student: nn.Module, stage: str) -> dict[str, Tensor]:
    """Return the teacher's weights of equal name and shape, which a stage that starts from the teacher takes.

    Raises:
        UserError: there are none.
    """
    own = student.state_dict()
    same = {k: v for k, v in teacher.state_dict().items() if k in own and own[k].shape == v.shape}
    if not same:
        raise UserError(f"the stage {stage!r}: teacher and student share no layer of equal name and shape")
    return same


class Trainer:
    """A network, its recipe, and where it stands in it.

    ``epoch`` counts over all stages and ``step`` within the epoch; together with the weights, the optimiser and the
    objective's state they say everything that the next step depends on, because random choices are functions of the
    seed and the position.

    Args:
        run: names the run to hooks and messages.
        network: the network to train, on the ground's device.
        stages: the recipe, made definite.
        ground: what it shares with others.
        model: name of the network's model, for registered pairs.
        fresh: builds the network anew, for stages that start fresh.
    """

    def __init__(
        self,
        run: RunContext,
        network: nn.Module,
        stages: Sequence[PlannedStage],
        shared: TrainingContext,
        model: str,
        fresh: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.run = run
        self.network = to_memory_format(network, shared.device, training_format(shared.device))
        self.stages = list(stages)
        self.epoch = 0
        self.step = 0
        self.history: History = []
        self.objective: Objective | None = None
        self._shared = shared
        self._model = model
        self._fresh = fresh
        self._best: dict[str, Any] | None = None
        self._student = Student(self.network)
        self._ema: AveragedModel | None = None
        self._sums: dict[str, Tensor] = {}

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def finished(self) -> bool:
        """Whether every stage is through."""
        return self.epoch >= self.epochs

    @property
    def stage_index(self) -> int:
        """Which stage the current epoch belongs to."""
        return self._place()[0]

    def _place(self) -> tuple[int, int]:
        """Return (stage, epoch within it)."""
        left = self.epoch
        for index, stage in enumerate(self.stages):
            if left < stage.epochs:
                return index, left
            left -= stage.epochs
        return len(self.stages) - 1, self.stages[-1].epochs

    def on_epoch_start(self) -> None:
        """Open the epoch; at the first of a stage, build the objective and the optimiser."""
        index, epoch = self._place()
        if self.objective is None:
            self._open_stage(index)
        if self.step == 0:
            self._shared.notify("epoch_started", EpochContext(self._stage_context(index), epoch))

    def _stage_context(self, index: int) -> StageContext:
        return StageContext(self.run, self.stages[index].stage, index)

    def _open_stage(self, index: int, restoring: bool = False) -> None:
        planned, shared = self.stages[index], self._shared
        if not restoring:
            self._start_weights(planned)
        self.objective = build_objective(
            planned.stage,
            registry=shared.registry,
            task=shared.task,
            teacher=shared.teacher,
            student=self.network,
            models=(shared.teacher_model, self._model),
            pairs=shared.pairs,
            example=shared.example(),
            batch_size=shared.share,
            seed=self.run.seed,
        ).to(shared.device)
        if not restoring:
            prepare(self.objective, shared, self.network, self.run.seed, planned.stage.name)
        self._ema = None
        shared.group.broadcast_(self._tensors())
        self._learnt = [p for p in (*self.network.parameters(), *self.objective.parameters()) if p.requires_grad]
        self._optimiser = make_optimiser(self._learnt, planned.training)
        set_rate(self._optimiser, planned.training, planned.epochs, epoch=0)
        if planned.training.ema is not None:
            average = get_ema_multi_avg_fn(planned.training.ema)
            self._ema = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self._best = None
        self._student = Student(self.network, self.objective.student_paths)
        self.network.train()
        if not restoring:
            shared.notify("stage_started", self._stage_context(index))

    def _tensors(self) -> Iterator[Tensor]:
        """All weights and buffers of the stage."""
        modules = [self.network, self.objective, self._ema]
        for module in (module for module in modules if module is not None):
            yield from module.parameters()
            yield from module.buffers()

    def _start_weights(self, planned: PlannedStage) -> None:
        start = planned.stage.start
        if start == "fresh":
            if self._fresh is None:
                raise UserError(
                    f"the stage {planned.stage.name!r} starts fresh, but nothing says how to build the network"
                )
            seed_torch(self.run.seed, "network")
            self.network.load_state_dict(self._fresh().state_dict())
        elif start == "teacher":
            if self._shared.teacher is None:
                raise UserError(f"the stage {planned.stage.name!r} starts from the teacher, and this run has none")
            same = shared_layers(self._shared.teacher, self.network, planned.stage.name)
            self.network.load_state_dict({**self.network.state_dict(), **same})

    def training_step(self, batch: Batch, knowledge: Sequence[Knowledge]) -> None:
        """Make one optimiser step, with the gradients of all processes.

        Raises:
            UserError: a term is not finite.
        """
        assert self.objective is not None
        shared, clip = self._shared, self.stages[self.stage_index].training.clip_grad
        seed_torch(self.run.seed, "step", self.epoch, self.step, *shared.group.labels)
        with autocast(shared.device, shared.precision):
            output = self._student(batch)
        total, parts = self.objective(self._student, output, knowledge, batch)
        if shared.device.type == "cpu" or self.step == 0:
            self._refuse_not_finite(parts)
        total.backward()
        losses = shared.group.average(self._learnt, {"total": total.detach(), **parts})
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self._ema is not None:
            self._ema.update_parameters(self.network)
        for term in self.objective.terms:
            term.distiller.end_step()
        for name, loss in losses.items():
            self._sums[name] = self._sums[name] + loss if name in self._sums else loss
        self._student.taps.clear()
        self.step += 1

    def _refuse_not_finite(self, parts: dict[str, Tensor]) -> None:
        for name, loss in parts.items():
            if not bool(torch.isfinite(loss)):
                raise UserError(
                    f"{self.run.name}: the term {name!r} became {float(loss)} in epoch {self.epoch}, step {self.step}; "
                    "lower training.lr, set training.clip_grad, or look at the term's own weight and settings"
                )

    def on_epoch_end(self) -> EpochContext:
        """Close the epoch: validate, keep the best weights, step the schedule; at the last of a stage, close it."""
        index, epoch = self._place()
        planned = self.stages[index]
        losses = {name: float(total) / max(self.step, 1) for name, total in self._sums.items()}
        if self._shared.device.type != "cpu":
            self._refuse_not_finite({name: torch.tensor(loss) for name, loss in losses.items()})
        rate = float(self._optimiser.param_groups[0]["lr"])
        context = EpochContext(self._stage_context(index), epoch, losses, learning_rate=rate)
        self._shared.group.broadcast_(self._tensors())  # running statistics, which each process has of its own share
        if self._is_validated(planned, epoch):
            context.validation = self._validate()
            self._keep_if_best(context.validation)
        row = {
            "stage": planned.stage.name,
            "epoch": epoch,
            "losses": losses,
            "lr": rate,
            "validation": context.validation,
        }
        self.history.append(row)
        set_rate(self._optimiser, planned.training, planned.epochs, epoch + 1)
        self._shared.notify("epoch_ended", context)
        self.epoch, self.step, self._sums = self.epoch + 1, 0, {}
        if epoch + 1 == planned.epochs:
            self._close_stage(index)
        return context

    def _is_validated(self, planned: PlannedStage, epoch: int) -> bool:
        assert self.objective is not None
        if self._shared.validation is None or not self.objective.uses_output:
            return False
        every = planned.training.validate_every or 1
        return (epoch + 1) % every == 0 or epoch + 1 == planned.epochs

    def _validate(self) -> float:
        """Return the validation loss; the taps are off meanwhile, or they would keep the whole split's features."""
        assert self.objective is not None
        self._student.close()
        loss = self._shared.validation_loss(self.result())
        self._student = Student(self.network, self.objective.student_paths)
        self._refuse_not_finite({"validation": torch.tensor(loss)})
        return loss

    def _keep_if_best(self, value: float) -> None:
        if self._best is None or value < self._best["value"]:
            state = {name: tensor.detach().clone() for name, tensor in self.result().state_dict().items()}
            self._best = {"value": value, "state": state}

    def _close_stage(self, index: int) -> None:
        training = self.stages[index].training
        if training.select == "best" and self._best is not None:
            self.network.load_state_dict(self._best["state"])
        elif self._ema is not None:
            self.network.load_state_dict(self._ema.module.state_dict())
        self.close()
        self._shared.notify("stage_ended", self._stage_context(index))

    def result(self) -> nn.Module:
        """The network whose weights count: the moving average where there is one."""
        if self.objective is not None and self._ema is not None:
            module: nn.Module = self._ema.module
            return module
        return self.network

    def close(self) -> None:
        """Remove the hooks and let go of what belongs to the stage."""
        if self.objective is not None:
            self._student.close()
            self.objective = None
            self._best = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "history": copy.deepcopy(self.history),
            "sums": dict(self._sums),
            "stage": None,
        }
        if self.objective is not None:
            state["stage"] = {
                "objective": self.objective.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "ema": None if self._ema is None else self._ema.state_dict(),
                "best": self._best,
            }
        return state

    def load_state_dict(self, state: dict[str, Any], where: str) -> None:
        """Go on where ``state_dict`` was taken.

        Raises:
            UserError: the weights are another network's.
        """
        load_state(self.network, state["network"], where)
        self.epoch, self.step = state["epoch"], state["step"]
        self.history, self._sums = state["history"], dict(state["sums"])
        stage = state["stage"]
        if stage is None:
            return
        self._open_stage(self.stage_index, restoring=True)
        assert self.objective is not None
        self.objective.restore(stage["objective"])
        self._optimiser.load_state_dict(stage["optimiser"])
        if self._ema is not None:
            self._ema.load_state_dict(stage["ema"])
        self._best = stage["best"]
