"""Batches of a loader that the user passes to the Python interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from i2ikd.engine.batches import WHOLE, Part
from i2ikd.engine.processes import require_single_process
from i2ikd.errors import UserError
from i2ikd.sample import Batch
from i2ikd.seeds import seed_torch

_FORMS = "i2ikd.Batch, (input, target), or a dict with 'input' and 'target'"


class LoaderBatches:
    """Batches of any loader: ``Batch`` objects, ``(input, target)`` pairs or dicts; with or without a length.

    The loader determines order and augmentation, so teacher outputs are not cached; torch is seeded before each epoch.
    The batches cannot be divided among processes. A loader without a length is iterated once to count its batches.

    Args:
        loader: starts again whenever it is iterated.
        seed: of torch's generators, combined with the epoch.
        steps: batches of an epoch, fewer than the loader yields or of a loader without an end; ``None``: all.

    Raises:
        UserError: an object that cannot be iterated again and again, a loader without batches, or a process group of
            several processes.
    """

    stable = False

    def __init__(self, loader: Iterable[Any], seed: int, steps: int | None = None) -> None:
        require_single_process("training on a loader that you pass (i2ikd.distill)")
        refuse_no_loader(loader, "train")
        self._loader = loader
        self._seed = seed
        self.steps = _steps(loader) if steps is None else steps
        if self.steps < 1:
            raise UserError("train: expected at least one batch in an epoch, got none")
        first = next(iter(self.in_order()))
        self.size = len(first)

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Yield the batches of one pass over the loader.

        Args:
            number: of the epoch, from 0; part of the seed.
            skip: number of leading batches to leave out.
            part: not used; the loader is never divided.

        Raises:
            UserError: the loader ends before the epoch does.
        """
        seed_torch(self._seed, "loader", number)
        count = 0
        for item in self._loader:
            if count >= skip:
                yield as_batch(item, "train")
            count += 1
            if count == self.steps:
                return
        raise UserError(
            f"train: expected {self.steps} batches in each epoch, the loader ran dry after {count} in epoch "
            f"{number + 1}; pass one that starts again whenever it is iterated, such as a DataLoader or a list"
        )

    def in_order(self) -> Iterator[Batch]:
        """Return the batches of one pass over the loader, in its order."""
        return self.epoch(0)


def refuse_no_loader(loader: object, name: str) -> None:
    """Raise ``UserError`` for an object that cannot be iterated, or once only.

    Args:
        loader: as the user passes it.
        name: of the argument.
    """
    if isinstance(loader, torch.Tensor | str | bytes | Mapping | Batch) or not hasattr(type(loader), "__iter__"):
        remedy = "; wrap it in torch.utils.data.DataLoader" if hasattr(type(loader), "__getitem__") else ""
        raise UserError(f"{name}: expected a loader of {_FORMS}, got a {type(loader).__name__}{remedy}")
    if isinstance(loader, Iterator):
        raise UserError(
            f"{name}: expected a loader that starts again whenever it is iterated, got a {type(loader).__name__}, "
            "which ends once; pass a DataLoader or a list"
        )


def _steps(loader: Iterable[Any]) -> int:
    """Return the number of batches, by a pass over the loader if it has no length."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:
        return sum(1 for _ in loader)


def as_batch(item: Any, name: str = "loader") -> Batch:
    """Return an item of a loader as a ``Batch``.

    Args:
        item: a ``Batch``; an ``(input, target)`` pair of tensors [B, C, H, W]; or a dict with ``input`` and ``target``,
            whose other tensors are conditions. A target of ``None`` is that of unlabelled samples.
        name: of the argument, for messages.

    Raises:
        UserError: any other item.
    """
    if isinstance(item, Batch):
        return item
    if isinstance(item, Mapping):
        parts = dict(item)
        if "input" not in parts:
            known = ", ".join(repr(str(key)) for key in list(parts)[:5]) or "no keys"
            raise UserError(f"{name}: expected a dict with 'input' and 'target', got {known}")
        source, target = parts.pop("input"), parts.pop("target", None)
    elif isinstance(item, list | tuple) and len(item) == 2:
        source, target = item
        parts = {}
    else:
        size = f" of {len(item)}" if isinstance(item, list | tuple) else ""
        raise UserError(f"{name}: expected batches of {_FORMS}, got a {type(item).__name__}{size}")
    _refuse_no_image(source, f"{name}: input")
    if target is not None:
        _refuse_no_image(target, f"{name}: target")
        if len(source) != len(target):
            raise UserError(
                f"{name}: expected as many targets as inputs in a batch, got {len(target)} and {len(source)}"
            )
    conditions = {str(key): value for key, value in parts.items() if isinstance(value, torch.Tensor)}
    for key, value in conditions.items():
        if value.ndim == 0 or len(value) != len(source):
            raise UserError(
                f"{name}: expected the condition {key!r} as [B, ...] with B = {len(source)}, got {list(value.shape)}"
            )
    if target is None:
        missing = torch.zeros(len(source), dtype=torch.bool)
        return Batch(source.float(), torch.empty(len(source), 0), conditions, labelled=missing)
    return Batch(source.float(), target.float(), conditions)


def _refuse_no_image(value: object, name: str) -> None:
    if not isinstance(value, torch.Tensor):
        raise UserError(f"{name}: expected a tensor [B, C, H, W], got a {type(value).__name__}")
    if value.ndim != 4 or not value.is_floating_point() or value.numel() == 0:
        raise UserError(
            f"{name}: expected a floating-point tensor [B, C, H, W], got {list(value.shape)} of {value.dtype}"
        )
