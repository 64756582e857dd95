"""Data classes: one slice (``Sample``), and several slices with a leading batch axis (``Batch``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import torch
from torch import Tensor

from i2ikd.errors import UserError
from i2ikd.source import Volume


class _Place(NamedTuple):
    subject: str
    volume: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which is never called on a key


class SampleKey(_Place):
    """Subject, volume and slice of a sample: ``SampleKey(subject, volume, index)``.

    Statistics resample subjects, each with all of its volumes. Where the subject is unknown, it is left out,
    ``SampleKey(volume=..., index=...)``, and the volume's name stands for it: every volume is then a subject.

    Args:
        subject: of the volume, such as a patient; a subject is in one split only.
        volume: the volume, unique within the subject.
        index: the slice of the volume, from 0.

    Raises:
        UserError: volume or index is missing.

    >>> SampleKey("anna", "session-1", 7)
    SampleKey(subject='anna', volume='session-1', index=7)
    >>> SampleKey(volume="head", index=7)
    SampleKey(subject='head', volume='head', index=7)
    """

    __slots__ = ()

    @overload
    def __new__(cls, subject: str, volume: str, index: int) -> SampleKey: ...

    @overload
    def __new__(cls, *, volume: str, index: int) -> SampleKey: ...

    def __new__(cls, subject: str | None = None, volume: str | None = None, index: int | None = None) -> SampleKey:
        """Create a key."""
        if volume is None or index is None:
            given = ", ".join(repr(value) for value in (subject, volume, index) if value is not None)
            raise UserError(
                f"SampleKey: expected (subject, volume, index), got ({given}); where the subject is unknown, write "
                "SampleKey(volume=..., index=...), which makes the volume's name its subject"
            )
        return super().__new__(cls, volume if subject is None else subject, volume, index)

    @classmethod
    def of(cls, volume: Volume, index: int) -> SampleKey:
        """Return the key of a slice of a volume; a volume without the attribute ``subject`` is a subject by its name.

        Args:
            volume: the volume.
            index: the slice, from 0.
        """
        return cls(getattr(volume, "subject", volume.name), volume.name, index)


@dataclass
class Sample:
    """One slice.

    Attributes:
        input: [C, H, W] float32, input of the network.
        target: [C, H, W] float32, the image the network should return; ``None`` for an unlabelled sample, which only
            terms that need no target train on.
        conditions: further network inputs by name (DC-CNN: ``kspace``, ``mask``); may be empty.
        key: subject, volume and slice.
    """

    input: Tensor
    target: Tensor | None
    conditions: dict[str, Tensor]
    key: SampleKey


def refuse_unsound(sample: object) -> None:
    """Raise ``UserError`` for an item of a task's dataset that is no valid sample."""
    if not isinstance(sample, Sample):
        raise UserError(f"the task's dataset: expected an i2ikd.Sample, got a {type(sample).__name__}")
    for words, image in (("input", sample.input), ("target", sample.target)):
        if words == "target" and image is None:
            continue
        if not isinstance(image, Tensor) or image.ndim != 3 or image.dtype != torch.float32:
            found = f"{tuple(image.shape)}, {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
            raise UserError(
                f"{sample.key.volume}[{sample.key.index}]: expected an {words} [C, H, W] of "
                f"torch.float32 from the task, got {found}"
            )


@dataclass
class Batch:
    """Samples stacked along a leading axis.

    Attributes:
        input: [B, C, H, W].
        target: [B, C, H, W]; zeros where a sample has none, and empty where no sample of the batch has one.
        conditions: [B, ...] each.
        keys: one per sample.
        labelled: [B] bool on the CPU, which samples have a target; ``None``: all.
    """

    input: Tensor
    target: Tensor
    conditions: dict[str, Tensor] = field(default_factory=dict)
    keys: list[SampleKey] = field(default_factory=list)
    labelled: Tensor | None = None

    @property
    def has_targets(self) -> bool:
        """Whether at least one sample has a target."""
        return self.labelled is None or self.target.ndim == self.input.ndim

    def select(self, index: Tensor) -> Batch:
        """Return some of the samples.

        Args:
            index: [n] integers on the CPU.
        """
        rows, moved = index.tolist(), index.to(self.input.device)
        return Batch(
            input=self.input[moved],
            target=self.target[moved],
            conditions={name: tensor[moved] for name, tensor in self.conditions.items()},
            keys=[self.keys[row] for row in rows] if self.keys else [],
            labelled=None if self.labelled is None else self.labelled[index],
        )

    def __len__(self) -> int:
        return int(self.input.shape[0])

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Batch:
        """Stack samples.

        Raises:
            UserError: an item that is no sample, or samples of unequal shape, which one batch cannot hold.
        """
        for sample in samples:
            refuse_unsound(sample)
        first = next((sample for sample in samples if sample.target is not None), samples[0])
        for sample in samples:
            if _image_shapes_differ(first, sample):
                raise UserError(
                    f"slices of unequal shape in one batch: {first.key.volume}[{first.key.index}] is "
                    f"{tuple(first.input.shape)}, {sample.key.volume}[{sample.key.index}] is "
                    f"{tuple(sample.input.shape)}; give the dataset one size, or train with batch = 1"
                )
            shapes = [_condition_shapes(s) for s in (first, sample)]
            if shapes[0] != shapes[1]:
                raise UserError(
                    f"conditions of unequal shape in one batch: {first.key.volume}[{first.key.index}] has "
                    f"{shapes[0]}, {sample.key.volume}[{sample.key.index}] has {shapes[1]}; "
                    "train with batch = 1"
                )
        return cls(
            input=torch.stack([s.input for s in samples]),
            target=_stack_targets(samples),
            conditions={name: torch.stack([s.conditions[name] for s in samples]) for name in first.conditions},
            keys=[s.key for s in samples],
            labelled=_labelled(samples),
        )

    def to(
        self,
        device: torch.device | str,
        memory_format: torch.memory_format = torch.preserve_format,
        non_blocking: bool = False,
    ) -> Batch:
        """Return the batch on ``device``; the memory format applies to ``input`` and ``target``."""
        target_format = memory_format if self.target.ndim == 4 else torch.preserve_format
        return Batch(
            input=self.input.to(device, memory_format=memory_format, non_blocking=non_blocking),
            target=self.target.to(device, memory_format=target_format, non_blocking=non_blocking),
            conditions={k: v.to(device, non_blocking=non_blocking) for k, v in self.conditions.items()},
            keys=self.keys,
            labelled=self.labelled,
        )

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by torch's DataLoader)."""
        return Batch(
            input=self.input.pin_memory(),
            target=self.target.pin_memory(),
            conditions={k: v.pin_memory() for k, v in self.conditions.items()},
            keys=self.keys,
            labelled=self.labelled,
        )


def fits(samples: Sequence[Sample], sample: Sample) -> bool:
    """Return whether a sample can share a batch with others: input, target and conditions have equal shapes.

    Args:
        samples: at least one; all of them fit each other.
        sample: the sample.
    """
    reference = next((other for other in samples if other.target is not None), samples[0])
    return not _image_shapes_differ(reference, sample) and _condition_shapes(reference) == _condition_shapes(sample)


def _image_shapes_differ(one: Sample, other: Sample) -> bool:
    """Return whether inputs, or targets where both samples have one, differ in shape."""
    targets = one.target is not None and other.target is not None and one.target.shape != other.target.shape
    return one.input.shape != other.input.shape or targets


def _condition_shapes(sample: Sample) -> dict[str, tuple[int, ...]]:
    return {name: tuple(condition.shape) for name, condition in sample.conditions.items()}


def _labelled(samples: Sequence[Sample]) -> Tensor | None:
    flags = [sample.target is not None for sample in samples]
    return None if all(flags) else torch.tensor(flags)


def _stack_targets(samples: Sequence[Sample]) -> Tensor:
    known = [sample.target for sample in samples if sample.target is not None]
    if not known:
        return torch.empty(len(samples), 0)
    if len(known) == len(samples):
        return torch.stack(known)
    missing = torch.zeros_like(known[0])
    return torch.stack([missing if sample.target is None else sample.target for sample in samples])
