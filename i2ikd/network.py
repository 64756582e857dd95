"""Networks in training: a frozen Teacher evaluated without gradients, and a Student that is trained; both with taps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from itertools import chain
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from i2ikd.distiller import Features
from i2ikd.errors import UserError
from i2ikd.sample import Batch
from i2ikd.taps import Taps
from i2ikd.wrapping import unwrapped


def conditions_for(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return those of the batch's conditions that ``forward`` takes; a plain one-argument network takes none.

    Wrappers such as ``torch.compile`` take what the network inside takes.

    >>> batch = Batch(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), {"mask": torch.ones(1, 1, 2, 1)})
    >>> conditions_for(nn.Conv2d(1, 1, 1), batch)
    {}
    """
    return conditions_taken(type(unwrapped(network)).forward, batch.conditions)


def conditions_taken(forward: Callable[..., object], conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the conditions that a function takes by name.

    Args:
        forward: of a network.
        conditions: by name.
    """
    taken = _taken_by(forward)
    return {name: value for name, value in conditions.items() if taken is None or name in taken}


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
        found = str(tuple(output.shape)) if isinstance(output, Tensor) else described(output)
        remedy = "" if isinstance(output, Tensor) else "; set the option output to the key or index of the image"
        raise UserError(f"{type(network).__name__} must return an image [B, C, H, W], not {found}{remedy}")
    if batch.has_targets and output.shape != batch.target.shape:
        raise UserError(
            f"{type(network).__name__} returns {tuple(output.shape)} for a target of {tuple(batch.target.shape)}; "
            "check the task's scale and the network's output channels"
        )
    return output


def described(output: object) -> str:
    """Return the type of a network's output, with the names or the number of its parts.

    >>> described({"a": 1, "b": 2}), described((1, 2))
    ("a dict with 'a', 'b'", 'a tuple of 2')
    """
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list) and not hasattr(output, "_fields"):
        return f"a {kind} of {len(output)}"
    names = getattr(output, "_fields", None) or list(getattr(output, "__dict__", {}))
    return f"a {kind}" + (f" with {', '.join(map(repr, names))}" if names else "")


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, so that a forward pass changes no running statistics; restore every flag after."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, flag in training.items():
            module.training = flag


Autocast = Callable[[], AbstractContextManager[object]]
"""Makes the context manager under which a network runs."""


class Observed:
    """A network with taps; hooks are removed on ``close``.

    With taps, the network inside ``torch.compile`` or ``DataParallel`` is called: compiled code skips hooks that are
    set later, and replicas have features of their own.

    Args:
        network: called as ``network(input, **conditions)``.
        paths: modules to tap.
        side: how messages name the network.
        autocast: makes the context manager under which the network runs.
    """

    def __init__(
        self,
        network: nn.Module,
        paths: Iterable[str] = (),
        side: str = "network",
        autocast: Autocast = nullcontext,
    ) -> None:
        self._side = side
        self._paths = list(paths)
        self.network = unwrapped(network) if self._paths else network
        self._autocast = autocast
        self.taps = Taps(network, self._paths, side)

    def __call__(self, batch: Batch) -> Tensor:
        """Run the network on a batch; the taps keep its features until the next call or ``release``.

        Returns:
            The output image [B, C, H, W].
        """
        self.taps.clear()
        with self._autocast():
            return apply(self.network, batch)

    def features(self, paths: Sequence[str], output: Tensor | None) -> Features:
        """Return the features at ``paths`` of the last call."""
        return Features(taps=self.taps.take(paths), output=output)

    def release(self) -> None:
        """Free the features of the last call."""
        self.taps.clear()

    def close(self) -> None:
        """Remove the hooks."""
        self.taps.close()

    def reopen(self) -> None:
        """Set the hooks again after ``close``."""
        self.taps.close()
        self.taps = Taps(self.network, self._paths, self._side)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Student(Observed):
    """The network being trained."""

    def __init__(self, network: nn.Module, paths: Iterable[str] = (), autocast: Autocast = nullcontext) -> None:
        super().__init__(network, paths, "student", autocast)


class Teacher(Observed):
    """A frozen network: in eval mode, without gradients, never touched by an optimiser.

    ``close`` restores the training flags of its modules; ``requires_grad`` is never changed.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str] = (), autocast: Autocast = nullcontext) -> None:
        super().__init__(network, paths, "teacher", autocast)
        self._training = {module: module.training for module in network.modules()}
        network.eval()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Run the network without recording gradients."""
        return super().__call__(batch)

    @torch.no_grad()
    def run_to_last_tap(self, batch: Batch) -> None:
        """Run the network without recording gradients, and from the second call on no further than to its last tap."""
        with self._autocast():
            self.taps.run_to_last(lambda: apply(self.network, batch))

    def close(self) -> None:
        """Remove the hooks and restore the training flags."""
        super().close()
        for module, flag in self._training.items():
            module.training = flag
