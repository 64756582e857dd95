"""Blocks of two networks with one interface: run in each other's place, fed with each other's images, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from i2ikd import Batch, Student, TapPairs, Teacher, UserError, eval_mode

Block = Callable[..., Tensor]


@contextmanager
def replaced(blocks: Mapping[nn.Module, Block]) -> Iterator[None]:
    """Run functions in the place of modules' ``forward``, with the arguments that the modules are called with."""
    before = {module: module.__dict__.get("forward") for module in blocks}
    for module, function in blocks.items():
        module.__dict__["forward"] = function
    try:
        yield
    finally:
        for module, forward in before.items():
            del module.__dict__["forward"]
            if forward is not None:
                module.__dict__["forward"] = forward


@contextmanager
def fed(blocks: Sequence[nn.Module], images: Sequence[Tensor]) -> Iterator[None]:
    """Replace the first positional argument of each module by an image; all other arguments are the network's."""

    def feed(image: Tensor) -> Callable[..., tuple[object, ...]]:
        return lambda module, arguments: (image, *arguments[1:])

    handles = [block.register_forward_pre_hook(feed(image)) for block, image in zip(blocks, images, strict=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def frozen(block: nn.Module) -> Block:
    """Return a module in eval mode as a function: gradient reaches its arguments, and never its parameters."""
    parameters = {name: parameter.detach() for name, parameter in block.named_parameters()}

    def run(*arguments: object, **named: object) -> Tensor:
        with eval_mode(block):
            output: Tensor = functional_call(block, parameters, arguments, named)
        return output

    return run


@torch.no_grad()
def trace(network: Student | Teacher, paths: Sequence[str], batch: Batch, where: str) -> list[tuple[Tensor, Tensor]]:
    """Return input and output of each block in one pass in eval mode.

    Args:
        network: with taps on every path and on every path that ends in ``:input``.
        paths: of the blocks.
        batch: to run it on.
        where: how messages name the place.

    Raises:
        UserError: a block that runs more than once.
    """
    with eval_mode(network.network):
        network(batch)
    found = []
    for path in paths:
        inputs, outputs = (network.features([tap], None).taps for tap in (f"{path}:input", path))
        if len(outputs) != 1:
            raise UserError(f"{where}: expected the block {path!r} to run once in a pass, got {len(outputs)} times")
        found.append((inputs[0], outputs[0]))
    network.release()
    return found


def with_inputs(paths: Sequence[str]) -> list[str]:
    """Return the taps that ``trace`` needs."""
    return [*paths, *(f"{path}:input" for path in paths)]


Images = Sequence[tuple[Tensor, Tensor]]


def refuse_unequal(pairs: TapPairs, large: Images, small: Images, where: str) -> None:
    """Raise ``UserError`` where paired blocks take or return images of unequal shape."""
    for (left, right), ours, theirs in zip(pairs, large, small, strict=True):
        shapes = [" -> ".join(str(list(image.shape[1:])) for image in images) for images in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{where}: expected the blocks {left!r} and {right!r} to take and return images of one shape, got "
                f"{shapes[0]} and {shapes[1]}; choose blocks between which both networks have equally many channels"
            )
