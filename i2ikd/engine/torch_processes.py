"""Several processes of one training: what they exchange, over gloo between CPUs and nccl between GPUs."""

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
_PATIENCE_SECONDS = 2.0


@contextlib.contextmanager
def join() -> Iterator[TorchProcessGroup]:
    """Join the group that the environment describes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT: torchrun sets them).

    Raises:
        UserError: the environment lacks something, or the others cannot be reached.
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
        if not (group.failed and nccl):  # nccl would wait for what was begun and never ends; the process ends anyway
            dist.destroy_process_group()


class TorchProcessGroup(ProcessGroup):
    """This process among several.

    Numbers that decide something go between CPUs, so that a GPU is never waited for. A process that fails says so in
    the store and closes its connections; whoever waits for it then raises ``PeerFailed``, so that nobody waits forever.

    Args:
        store: what all processes can write to and read from, before and after connections break.
        rank: of this process.
        size: how many they are.
        local_rank: of this process on its machine.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, local_rank: int) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.failed = False
        self._store = store

    @torch.no_grad()
    def average(self, parameters: Sequence[nn.Parameter], values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average the gradients over the processes, in place; return the averaged values (scalars).

        Everything of one type goes in one exchange. A parameter that got a gradient in some processes counts as 0 in
        the others; one that got none anywhere keeps none, as an optimiser makes a difference there.
        """
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
        self._reduce(present, dist.ReduceOp.MAX)
        for parameter, anywhere in zip(parameters, present.tolist()):
            if anywhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        averaged = {name: value.detach() + 0.0 for name, value in values.items()}
        for flat, parts in _joined_by_type([*gradients, *averaged.values()]):
            wire = torch.view_as_real(flat) if flat.is_complex() else flat
            wire = wire.float() if wire.itemsize < 4 else wire
            self._reduce(wire, dist.ReduceOp.SUM)
            wire /= self.size
            flat.copy_(torch.view_as_complex(wire) if flat.is_complex() else wire)
            _hand_back(flat, parts)
        return averaged

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of the first process, byte by byte."""
        for flat, parts in _joined_by_type(list({id(tensor): tensor for tensor in tensors}.values())):
            with self._connected():
                dist.broadcast(flat.view(torch.uint8), src=0)
            _hand_back(flat, parts)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up in any process."""
        raised = torch.tensor([flag], dtype=torch.int32)
        self._reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def sum(self, numbers: list[float]) -> list[float]:
        """Return the sums over the processes."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        self._reduce(sums, dist.ReduceOp.SUM)
        found: list[float] = sums.tolist()
        return found

    def broadcast(self, number: int) -> int:
        """Return the number of the first process."""
        found = torch.tensor([int(number)])
        with self._connected():
            dist.broadcast(found, src=0)
        return int(found)

    def barrier(self) -> None:
        """Return when every process has come here."""
        self.any(False)

    def first_to_fail(self) -> bool:
        """Tell the others that this process fails; return whether it is the first, which says why."""
        self.failed = True
        try:
            return bool(self._store.add(_FAILED, 1) == 1)
        except RuntimeError:  # torchrun itself is gone
            return True

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
        with self._connected():
            dist.all_reduce(tensor, operation)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Turn a broken connection into the reason that there is for it."""
        try:
            yield
        except RuntimeError as error:
            self.failed = True
            if self._is_said():
                raise PeerFailed from error
            raise UserError(
                f"another process of this run ended without a word ({_line(error)}); the same command goes on from "
                "the last checkpoint"
            ) from error

    def _is_said(self) -> bool:
        """Whether another process has said, or says in a moment, that it failed."""
        end = time.monotonic() + _PATIENCE_SECONDS
        with contextlib.suppress(RuntimeError):  # torchrun itself is gone
            while not self._store.check([_FAILED]):
                if time.monotonic() > end:
                    return False
                time.sleep(0.05)
            return True
        return False


def _joined_by_type(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Group tensors by type and device; yield each group's values as one row, and the tensors themselves."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for parts in groups.values():
        yield torch.cat([part.detach().reshape(-1) for part in parts]), parts


def _hand_back(flat: Tensor, parts: Sequence[Tensor]) -> None:
    """Copy a row back into the tensors that it was made of, whatever their memory layout."""
    for part, values in zip(parts, flat.split([part.numel() for part in parts])):
        part.copy_(values.view(part.shape))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
