"""The two roles: a Teacher that is only listened to, and a Student that is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain
from types import TracebackType

import torch
from torch import Tensor, nn

from i2ikd.distiller import Features
from i2ikd.errors import UserError
from i2ikd.sample import Batch
from i2ikd.taps import Taps


def conditions_for(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return those of the batch's conditions that ``forward`` takes; a plain one-argument network takes none.

    >>> batch = Batch(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), {"mask": torch.ones(1, 1, 2, 1)})
    >>> conditions_for(nn.Conv2d(1, 1, 1), batch)
    {}
    """
    taken = _taken_by(type(network).forward)
    return {name: value for name, value in batch.conditions.items() if taken is None or name in taken}


@cache
def _taken_by(forward: Callable[..., object]) -> frozenset[str] | None:
    """Names of the arguments of a network's ``forward``; ``None`` where it takes any."""
    parameters = inspect.signature(forward).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return frozenset(parameters)


def to_memory_format(
    network: nn.Module, device: torch.device | str, memory_format: torch.memory_format = torch.channels_last
) -> nn.Module:
    """Move a network to a device, its 2-D kernels into a memory format; return the same network.

    ``network.to(memory_format=...)`` refuses networks that have 3-D kernels too; and ``contiguous`` leaves the strides
    of a kernel of one channel ambiguous, so that what it gives out is copied into the format by the next layer.
    """
    network.to(device)
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=memory_format)
    return network


def apply(network: nn.Module, batch: Batch) -> Tensor:
    """Call ``network(input, **conditions)``, with the conditions that it takes, and check that an image comes back.

    Raises:
        UserError: the network gives no [B, C, H, W] tensor, or one that does not fit the target.
    """
    output = network(batch.input, **conditions_for(network, batch))
    if not isinstance(output, Tensor) or output.ndim != 4:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(f"{type(network).__name__} must return an image [B, C, H, W], not {found}")
    if output.shape != batch.target.shape:
        raise UserError(
            f"{type(network).__name__} returns {tuple(output.shape)} for a target of {tuple(batch.target.shape)}; "
            "check the task's scale and the network's output channels"
        )
    return output


class Observed:
    """A network with taps on it; hooks are removed on ``close``."""

    def __init__(self, network: nn.Module, paths: Iterable[str] = (), side: str = "network") -> None:
        self.network = network
        self.taps = Taps(network, paths, side)

    def __call__(self, batch: Batch) -> Tensor:
        """Run the network; the taps hold what it gave until the next call."""
        self.taps.clear()
        return apply(self.network, batch)

    def features(self, paths: list[str], output: Tensor | None) -> Features:
        """Return the features at ``paths`` of the last call."""
        return Features(taps=self.taps.take(paths), output=output)

    def close(self) -> None:
        """Remove the hooks."""
        self.taps.close()

    def __enter__(self) -> Observed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Student(Observed):
    """The network being trained."""

    def __init__(self, network: nn.Module, paths: Iterable[str] = ()) -> None:
        super().__init__(network, paths, "student")


class Teacher(Observed):
    """A network in eval mode, without gradients, never touched by an optimiser.

    The network gets its training flags back when the role ends; ``requires_grad`` is never changed.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str] = ()) -> None:
        super().__init__(network, paths, "teacher")
        self._training = {module: module.training for module in network.modules()}
        network.eval()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Run the teacher without recording gradients."""
        return super().__call__(batch)

    def close(self) -> None:
        """Remove the hooks and restore the training flags."""
        super().close()
        for module, flag in self._training.items():
            module.training = flag
