"""Process group of one run: the interface, and the single process without torchrun. Does not import torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from i2ikd.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class PeerFailed(Exception):  # noqa: N818 (the error is that of another process)
    """Raised when another process of the group failed and reports the reason; this process ends without a message."""


class ProcessGroup:
    """Group of a single process; ``TorchProcessGroup`` implements the same methods for several processes.

    Collective methods must be called by all processes in the same order.
    """

    rank = 0
    """Index of this process; process 0 is the main process."""
    size = 1
    """Number of processes."""
    local_rank = 0
    """Index of this process on its machine."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages for the group."""
        return self.rank == 0

    @property
    def labels(self) -> tuple[object, ...]:
        """Labels that distinguish the random draws of this process in a step from those of the other processes."""
        return () if self.rank == 0 else ("rank", self.rank)

    def average(self, parameters: Sequence[nn.Parameter], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average the gradients over the processes, in place.

        Args:
            parameters: whose gradients are averaged.
            values: scalars by name.

        Returns:
            The averaged values.
        """
        return values

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors, in place, with those of the main process.

        Args:
            tensors: of equal shapes and order in all processes.
        """

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process.

        Args:
            flag: of this process.
        """
        return flag

    def sum(self, numbers: list[float]) -> list[float]:
        """Return the element-wise sums over the processes.

        Args:
            numbers: of this process; equally many in all processes.
        """
        return numbers

    def broadcast(self, number: int) -> int:
        """Return the number of the main process.

        Args:
            number: an integer; that of the main process is returned in all processes.
        """
        return number

    def barrier(self) -> None:
        """Wait until every process has called this method."""

    def first_to_fail(self) -> bool:
        """Report to the other processes that this one fails.

        Returns:
            Whether it is the first to fail, which prints the reason.
        """
        return True


SINGLE_PROCESS = ProcessGroup()


def is_distributed() -> bool:
    """Return whether this process is one of several started by torchrun."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def require_single_process(what: str) -> None:
    """Refuse an operation that works in one process only.

    Args:
        what: the operation, for the message.

    Raises:
        UserError: this process is one of several.
    """
    if is_distributed():
        size = os.environ["WORLD_SIZE"]
        raise UserError(
            f"{what} works in one process and was started in {size}; start it without torchrun, which is for "
            "`i2ikd train` and `i2ikd distill`, or unset WORLD_SIZE"
        )


@contextlib.contextmanager
def joined_processes() -> Iterator[ProcessGroup]:
    """Join the process group started by torchrun; without torchrun, yield the group of a single process.

    Raises:
        UserError: the environment describes several processes that cannot be reached.
    """
    if not is_distributed():
        yield SINGLE_PROCESS
        return
    from i2ikd.engine.torch_processes import join

    with join() as group:
        yield group
