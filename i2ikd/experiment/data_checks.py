"""Checks of the samples before training: one size where slices share a batch, one form in all splits."""

from __future__ import annotations

from collections.abc import Mapping

from i2ikd.engine.batches import SampleBatches
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.sample import Sample, refuse_unsound


def check_data(context: ExperimentContext) -> None:
    """Compare sizes, types, channels and conditions of the samples.

    Args:
        context: the experiment.

    Raises:
        UserError: slices of one batch would differ in size, or splits differ in type, channels or conditions.
    """
    kinds: dict[str, str] = {}
    for split in context.inventory.splits:
        if split.split == "train" and context.training.batch > 1 and len(split.sizes) > 1:
            _check_batches(context, split.sizes)
        for kind in split.types:
            kinds.setdefault(kind, split.split)
    if len(kinds) > 1:
        found = " and ".join(f"{kind} (split {split!r})" for kind, split in kinds.items())
        raise UserError(f"the data: expected images of one type, got {found}; select one with the option include")
    forms = {one.split: _form(context.dataset(one.split)[0]) for one in context.inventory.splits}
    first, *others = forms
    for other in others:
        for name in sorted(forms[first].keys() | forms[other].keys()):
            left, right = forms[first].get(name, "none"), forms[other].get(name, "none")
            if left != right and (name != "target" or "none" not in (left, right)):  # a split may be unlabelled
                raise UserError(
                    f"the split {other!r}: expected {name} as in {first!r}, {left}, got {right}; use data of one kind "
                    "in all splits"
                )


def _check_batches(context: ExperimentContext, sizes: Mapping[str, int]) -> None:
    """Check that slices of unequal size can be divided into batches of one size, before the shuffle joins them."""
    dataset = context.dataset("train")
    if dataset.shapes is None:
        found = ", ".join(f"{size} ({count})" for size, count in sizes.items())
        raise UserError(
            f"slices of unequal shape in one batch: the split 'train' has volumes of {found}; give the dataset one "
            "size, or train with batch = 1"
        )
    SampleBatches(dataset, context.training.batch, seed=0)


def _form(sample: Sample) -> Mapping[str, str]:
    """Return the type of every tensor of a sample by name, with the channels of images; coils may differ in number."""
    refuse_unsound(sample)
    images = {"input": sample.input, "target": sample.target}
    forms = {name: f"{image.shape[0]} channels of {image.dtype}" for name, image in images.items() if image is not None}
    return forms | {name: str(tensor.dtype) for name, tensor in sample.conditions.items()}
