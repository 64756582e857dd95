"""The processes that train one run together, as torchrun starts them; here, the one that is alone. Imports no torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from i2ikd.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class PeerFailed(Exception):  # noqa: N818 (what went wrong is said by another process)
    """Another process of the group failed and says why; this one ends in silence."""


class ProcessGroup:
    """A single process; ``TorchProcessGroup`` has the same methods for several, called by all at the same place."""

    rank = 0
    """Which of the processes this is; the first, 0, writes and speaks for all."""
    size = 1
    local_rank = 0
    """Which of the processes on its own machine."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    @property
    def labels(self) -> tuple[object, ...]:
        """What sets this process's random draws in a step apart from those of the others."""
        return () if self.rank == 0 else ("rank", self.rank)

    def average(self, parameters: Sequence[nn.Parameter], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average the gradients over the processes, in place; return the averaged values (scalars)."""
        return values

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of the first process."""

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up in any process."""
        return flag

    def sum(self, numbers: list[float]) -> list[float]:
        """Return the sums over the processes."""
        return numbers

    def broadcast(self, number: int) -> int:
        """Return the number of the first process."""
        return number

    def barrier(self) -> None:
        """Return when every process has come here."""

    def first_to_fail(self) -> bool:
        """Tell the others that this process fails; return whether it is the first, which says why."""
        return True


SINGLE_PROCESS = ProcessGroup()


def is_distributed() -> bool:
    """Whether this process is one of several that torchrun started."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def require_single_process(what: str) -> None:
    """Raise ``UserError`` for what works in one process only, if this is one of several."""
    if is_distributed():
        size = os.environ["WORLD_SIZE"]
        raise UserError(
            f"{what} works in one process and was started in {size}; start it without torchrun, which is for "
            "`i2ikd train` and `i2ikd distill`, or unset WORLD_SIZE"
        )


@contextlib.contextmanager
def joined_processes() -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started; without it, be alone.

    Raises:
        UserError: the environment names several processes, and they cannot be reached.
    """
    if not is_distributed():
        yield SINGLE_PROCESS
        return
    from i2ikd.engine.torch_processes import join

    with join() as group:
        yield group
