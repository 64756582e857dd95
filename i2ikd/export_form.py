"""Form of a network that deployment formats can hold: real tensors by position in, one image out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.network import conditions_for, eval_mode
from i2ikd.sample import Batch
from i2ikd.wrapping import unwrapped

AXES = {2: "height", 3: "width"}
"""Names of the axes of images that a file can leave free, beside the batch axis."""


@dataclass(frozen=True)
class ExportForm:
    """A network with real inputs, and the function that makes these inputs from a batch.

    A network with complex conditions defines its form in a method ``export_form(batch) -> ExportForm``. Every other
    network needs no such method (``form_of``).

    Attributes:
        network: called by position with the tensors of ``inputs``, in their order; returns an image [B, C, H, W].
        inputs: returns the real inputs of a batch by name; the first is ``input``.
    """

    network: nn.Module
    inputs: Callable[[Batch], dict[str, Tensor]]

    def __call__(self, batch: Batch) -> Tensor:
        """Return the output of the form for a batch, [B, C, H, W]."""
        output: Tensor = self.network(*self.inputs(batch).values())
        return output


def form_of(network: nn.Module, batch: Batch) -> ExportForm:
    """Return the form of a network: its own, or ``forward`` with the conditions that its output depends on.

    Args:
        network: trained network in eval mode.
        batch: slices of the task, from which shapes and the dependence on conditions are determined.

    Raises:
        UserError: an input is complex, or ``export_form`` returns no ``ExportForm``.
    """
    network = unwrapped(network)
    own = getattr(network, "export_form", None)
    form = own(batch) if callable(own) else _default_form(network, batch)
    if not isinstance(form, ExportForm):
        raise UserError(
            f"{type(network).__name__}.export_form: expected an i2ikd.ExportForm, got {type(form).__name__}"
        )
    for name, tensor in form.inputs(batch).items():
        if tensor.is_complex():
            raise UserError(
                f"{type(network).__name__}: expected real inputs, got a complex {name!r}; define a method "
                "export_form(batch) -> i2ikd.ExportForm in the network, or choose the format torch-export"
            )
    return form


def _default_form(network: nn.Module, batch: Batch) -> ExportForm:
    names = used_conditions(network, batch)

    def inputs(batch: Batch) -> dict[str, Tensor]:
        return {"input": batch.input, **{name: batch.conditions[name] for name in names}}

    return ExportForm(_Positional(network, names), inputs)


def used_conditions(network: nn.Module, batch: Batch) -> list[str]:
    """Return the conditions that the output of a network depends on, in the order of the batch.

    A network with ``**conditions`` receives all of them and may ignore some, which would otherwise be inputs of a file.

    Args:
        network: in eval mode.
        batch: slices of the task.
    """
    passed = conditions_for(network, batch)
    if not passed:
        return []
    used = dict(passed)
    with torch.no_grad(), eval_mode(network):
        expected = network(batch.input, **passed)
        for name in passed:
            others = {key: value for key, value in used.items() if key != name}
            try:
                unchanged = torch.equal(network(batch.input, **others), expected)
            except Exception:  # the network cannot do without it
                unchanged = False
            if unchanged:
                used = others
    return list(used)


class _Positional(nn.Module):
    """Pass tensors by position to a network that takes conditions by keyword.

    Args:
        network: called as ``network(input, **conditions)``.
        names: of the conditions, in the order of the tensors.
    """

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self._names = names

    def forward(self, input: Tensor, *conditions: Tensor) -> Tensor:
        """Return the image [B, C, H, W]."""
        output: Tensor = self.network(input, **dict(zip(self._names, conditions)))
        return output


def free_axes(inputs: Mapping[str, Tensor], fixed: bool = False) -> dict[str, dict[int, str]]:
    """Return the axes of each input that a file leaves free, by name of the input.

    The first axis is the batch. The last two axes of a tensor with four axes are those of images where they have the
    size of the first input; other axes, and axes of length 1, are fixed.

    Args:
        inputs: inputs by name.
        fixed: whether the batch axis alone is free.

    >>> free_axes({"input": torch.zeros(2, 1, 8, 6), "mask": torch.zeros(2, 1, 8, 1)})
    {'input': {0: 'batch', 2: 'height', 3: 'width'}, 'mask': {0: 'batch', 2: 'height'}}
    """
    image = next(iter(inputs.values()))
    return {
        name: {0: "batch"}
        | {
            axis: word
            for axis, word in AXES.items()
            if not fixed and tensor.ndim == 4 and tensor.shape[axis] == image.shape[axis] and tensor.shape[axis] > 1
        }
        for name, tensor in inputs.items()
    }


def stand_in(batch: Batch, samples: int, size: tuple[int, int] | None = None, seed: int = 0) -> Batch:
    """Return a batch of random values with the shapes of a batch: an example without data of a subject.

    Args:
        batch: slices of the task.
        samples: number of samples of the result.
        size: height and width of the result; axes of conditions with the size of the input change with it.
        seed: of the values, which are uniform in 0..1.
    """
    height, width = batch.input.shape[-2:]
    rows, columns = size or (height, width)
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor) -> Tensor:
        shape = [samples, *tensor.shape[1:]]
        if tensor.ndim == 4:
            shape[2] = rows if shape[2] == height and height > 1 else shape[2]
            shape[3] = columns if shape[3] == width and width > 1 else shape[3]
        if tensor.is_floating_point() or tensor.is_complex():
            return torch.rand(shape, dtype=tensor.dtype, generator=generator)
        return torch.randint(0, 2, shape, generator=generator).to(tensor.dtype)

    return Batch(
        input=draw(batch.input),
        target=torch.empty(0),
        conditions={name: draw(tensor) for name, tensor in batch.conditions.items()},
        labelled=torch.zeros(samples, dtype=torch.bool),
    )
