"""Substitution of blocks in a network: other functions in their place, or other images as their input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.func import functional_call

from i2ikd import eval_mode
from i2ikd_schemes.blocks import Block

Function = Callable[..., Tensor]


@contextmanager
def replaced(functions: Mapping[Block, Function]) -> Iterator[None]:
    """Run functions in the place of blocks, with the arguments that the blocks are called with."""
    forwards: dict[nn.Module, Function] = {}
    for block, function in functions.items():
        forwards[block.modules[0]] = function
        forwards |= dict.fromkeys(block.modules[1:], _first_argument)
    before = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module, own in before.items():
            del module.__dict__["forward"]
            if own is not None:
                module.__dict__["forward"] = own


def _first_argument(image: Tensor, *arguments: object, **named: object) -> Tensor:
    return image


@contextmanager
def fed(blocks: Sequence[Block], images: Sequence[Tensor]) -> Iterator[None]:
    """Replace the first positional argument of each block by an image; all other arguments are the network's.

    A block receives a copy: one that changes its input in place leaves ``images`` as they are.
    """

    def feed(image: Tensor) -> Callable[..., tuple[object, ...]]:
        return lambda module, arguments: (image.clone(), *arguments[1:])

    handles = [
        block.modules[0].register_forward_pre_hook(feed(image)) for block, image in zip(blocks, images, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def frozen(block: Block) -> Function:
    """Return a block in eval mode as a function: gradient reaches its arguments, and never its parameters."""
    first, *others = (_frozen(module) for module in block.modules)

    def run(*arguments: object, **named: object) -> Tensor:
        image = first(*arguments, **named)
        for module in others:
            image = module(image)
        return image

    return run


def _frozen(module: nn.Module) -> Function:
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def run(*arguments: object, **named: object) -> Tensor:
        with eval_mode(module):
            output: Tensor = functional_call(module, parameters, arguments, named)
        return output

    return run
