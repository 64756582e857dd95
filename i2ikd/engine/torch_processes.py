"""Process group of several processes: collectives over gloo between CPUs and NCCL between GPUs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from i2ikd.engine.processes import PeerFailed, ProcessGroup
from i2ikd.errors import UserError

_FAILED = "i2ikd/failed"
_REPORT_SECONDS = 2.0
"""Time within which a failing process reports to the store."""


@contextlib.contextmanager
def join() -> Iterator[TorchProcessGroup]:
    """Join the group that torchrun describes in RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.

    Raises:
        UserError: an environment variable is missing, or the other processes cannot be reached.
    """
    if not dist.is_available():
        raise UserError("this torch was built without torch.distributed; start one process, without torchrun")
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        store, rank, size = next(dist.rendezvous("env://"))
        dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", store=store, rank=rank, world_size=size)
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"WORLD_SIZE = {os.environ.get('WORLD_SIZE')!r}, but the processes cannot be joined ({_line(error)}); "
            "start them with torchrun, or unset WORLD_SIZE"
        ) from error
    group = TorchProcessGroup(store, rank, size, local_rank)
    try:
        yield group
    finally:
        if not (group.failed and nccl):  # NCCL would wait for collectives that never finish; the process ends anyway
            dist.destroy_process_group()


class TorchProcessGroup(ProcessGroup):
    """Group of several processes.

    Numbers that control the loop are exchanged between CPUs, so that no process synchronises with its GPU. A process
    that fails records it in the store and closes its connections; processes that wait for it then raise
    ``PeerFailed`` instead of waiting forever.

    Args:
        store: key-value store of all processes, which outlives broken connections.
        rank: index of this process.
        size: number of processes.
        local_rank: index of this process on its machine.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, local_rank: int) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.failed = False
        self._store = store

    @torch.no_grad()
    def average(self, parameters: Sequence[nn.Parameter], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average the gradients over the processes, in place.

        Tensors of one type are exchanged together. A parameter with a gradient in some processes counts as 0 in the
        others; one without a gradient in every process keeps ``None``, which optimisers treat differently from 0.

        Args:
            parameters: whose gradients are averaged.
            values: scalars by name.

        Returns:
            The averaged values.
        """
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
        self._reduce(present, dist.ReduceOp.MAX)
        for parameter, in_any in zip(parameters, present.tolist()):
            if in_any and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        averaged = {name: value.detach() + 0.0 for name, value in values.items()}
        for flat, parts in _joined_by_type([*gradients, *averaged.values()]):
            wire = torch.view_as_real(flat) if flat.is_complex() else flat
            wire = wire.float() if wire.itemsize < 4 else wire
            self._reduce(wire, dist.ReduceOp.SUM)
            wire /= self.size
            flat.copy_(torch.view_as_complex(wire) if flat.is_complex() else wire)
            _copy_back(flat, parts)
        return averaged

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors, in place, with the bytes of those of the main process.

        Args:
            tensors: of equal shapes and order in all processes.
        """
        for flat, parts in _joined_by_type(list({id(tensor): tensor for tensor in tensors}.values())):
            with self._connected():
                dist.broadcast(flat.view(torch.uint8), src=0)
            _copy_back(flat, parts)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process.

        Args:
            flag: of this process.
        """
        flags = torch.tensor([flag], dtype=torch.int32)
        self._reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def sum(self, numbers: list[float]) -> list[float]:
        """Return the element-wise sums over the processes.

        Args:
            numbers: of this process; equally many in all processes.
        """
        sums = torch.tensor(numbers, dtype=torch.float64)
        self._reduce(sums, dist.ReduceOp.SUM)
        totals: list[float] = sums.tolist()
        return totals

    def broadcast(self, number: int) -> int:
        """Return the number of the main process.

        Args:
            number: an integer; that of the main process is returned in all processes.
        """
        value = torch.tensor([int(number)])
        with self._connected():
            dist.broadcast(value, src=0)
        return int(value)

    def barrier(self) -> None:
        """Wait until every process has called this method."""
        self.any(False)

    def first_to_fail(self) -> bool:
        """Report to the other processes that this one fails.

        Returns:
            Whether it is the first to fail, which prints the reason.
        """
        self.failed = True
        try:
            return bool(self._store.add(_FAILED, 1) == 1)
        except RuntimeError:  # torchrun, which hosts the store, has ended
            return True

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
        """Reduce a tensor over the processes, in place."""
        with self._connected():
            dist.all_reduce(tensor, operation)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Convert the error of a broken connection into ``PeerFailed`` or ``UserError``."""
        try:
            yield
        except RuntimeError as error:
            self.failed = True
            if self._peer_reported():
                raise PeerFailed from error
            raise UserError(
                f"another process of this run ended without an error message ({_line(error)}); the same command "
                "goes on from the last checkpoint"
            ) from error

    def _peer_reported(self) -> bool:
        """Wait shortly for the failure report of another process; return whether there is one."""
        end = time.monotonic() + _REPORT_SECONDS
        with contextlib.suppress(RuntimeError):  # torchrun, which hosts the store, has ended
            while not self._store.check([_FAILED]):
                if time.monotonic() > end:
                    return False
                time.sleep(0.05)
            return True
        return False


def _joined_by_type(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Group tensors by type and device; yield each group concatenated into one vector, and its tensors."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for parts in groups.values():
        yield torch.cat([part.detach().reshape(-1) for part in parts]), parts


def _copy_back(flat: Tensor, parts: Sequence[Tensor]) -> None:
    """Copy a concatenated vector back into its tensors, of any memory layout."""
    for part, values in zip(parts, flat.split([part.numel() for part in parts])):
        part.copy_(values.view(part.shape))


def _line(error: Exception) -> str:
    """Return the first line of an error's message, or its type, shortened to 160 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
