"""Which weights a stage ends with: the last, those of the lowest validation loss, or their moving average."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from i2ikd.config import Training
from i2ikd.objective import Objective

State = dict[str, Tensor]


class WeightSelection:
    """Moving average and best weights of one stage.

    The average is taken of the parameters that are trained. Where a transform computes a weight from several
    parameters, it is computed from their averages: this network is validated, selected and folded, and not the average
    of the computed weights.

    Args:
        objective: set up; its ``eval_network`` is averaged and selected, its ``finish`` networks are kept beside.
        training: ``ema`` (decay of the average) and ``select`` (``best`` or ``last``).
    """

    def __init__(self, objective: Objective, training: Training) -> None:
        self._objective = objective
        self._select = training.select
        self._average: AveragedModel | None = None
        self._best: dict[str, Any] | None = None
        if training.ema is not None:
            average = get_ema_multi_avg_fn(training.ema)
            self._average = AveragedModel(objective.eval_network(), multi_avg_fn=average, use_buffers=True)

    def tensors(self) -> Iterator[Tensor]:
        """Yield the weights and buffers of the moving average."""
        if self._average is not None:
            yield from self._average.parameters()
            yield from self._average.buffers()

    def on_step_end(self) -> None:
        """Update the moving average."""
        if self._average is not None:
            self._average.update_parameters(self._objective.eval_network())

    def eval_network(self) -> nn.Module:
        """Return the network whose weights count: the moving average where there is one."""
        if self._average is not None:
            module: nn.Module = self._average.module
            return module
        return self._objective.eval_network()

    def on_validation_end(self, loss: float) -> None:
        """Keep a copy of the weights if the validation loss is the lowest so far."""
        if self._best is None or loss < self._best["value"]:
            self._best = {"value": loss, "state": copied(self.eval_network()), "left": self._left()}

    def finish(self, network: nn.Module) -> dict[str, State]:
        """Load the selected weights into ``network``; return those of the networks left behind, by name."""
        if self._select == "best" and self._best is not None:
            network.load_state_dict(self._best["state"])
            left: dict[str, State] = self._best["left"]
            return left
        if self._average is not None:
            network.load_state_dict(self._average.module.state_dict())
        return self._left()

    def _left(self) -> dict[str, State]:
        return {name: copied(network) for name, network in self._objective.finish().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the moving average and the best weights."""
        return {"ema": None if self._average is None else self._average.state_dict(), "best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        if self._average is not None:
            self._average.load_state_dict(state["ema"])
        self._best = state["best"]


def copied(network: nn.Module) -> State:
    """Return copies of a network's weights and buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
