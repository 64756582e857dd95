"""Blocks of two networks with one interface: found by path, traced, and compared in shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import Tensor, nn

from i2ikd import Batch, Student, Teacher, UserError, eval_mode
from i2ikd.taps import RANGE


@dataclass(frozen=True)
class Block:
    """A module, or consecutive children of one module, from an image to an image.

    Attributes:
        path: as stated: a module's, or ``first..last``.
        paths: of its modules, in the order in which they run.
        modules: its modules.
    """

    path: str
    paths: tuple[str, ...]
    modules: tuple[nn.Module, ...]

    @property
    def input_tap(self) -> str:
        """Tap of the image that it takes."""
        return f"{self.paths[0]}:input"

    @property
    def output_tap(self) -> str:
        """Tap of the image that it returns."""
        return self.paths[-1]

    @property
    def taps(self) -> list[str]:
        """Taps of the inputs and outputs of its modules, which ``trace`` needs."""
        return [tap for path in self.paths for tap in (f"{path}:input", path)]


def find_blocks(network: nn.Module, paths: Sequence[str], where: str) -> list[Block]:
    """Return the blocks of a network.

    Args:
        network: the network.
        paths: of modules, or ``first..last``, without ``*``.
        where: how messages name the place.

    Raises:
        UserError: a range that is no run of children of one module, or a block within another.
    """
    blocks = [_find(network, path, where) for path in paths]
    for one, other in combinations(blocks, 2):
        if any(_within(a, b) or _within(b, a) for a in one.paths for b in other.paths):
            raise UserError(
                f"{where}: expected blocks beside each other, got {one.path!r} and {other.path!r}, which share "
                "modules; remove one of them"
            )
    return blocks


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}.")


def _find(network: nn.Module, path: str, where: str) -> Block:
    first, separator, last = path.partition(RANGE)
    paths = [first]
    if separator:
        parent, _, name = first.rpartition(".")
        other, _, end = last.rpartition(".")
        children = [child for child, _ in network.get_submodule(parent).named_children()]
        if parent != other or children.index(name) > children.index(end):
            raise UserError(
                f"{where}: expected the block {path!r} to be a range of children of one module, the first one before "
                "the last"
            )
        prefix = f"{parent}." if parent else ""
        paths = [prefix + child for child in children[children.index(name) : children.index(end) + 1]]
    return Block(path, tuple(paths), tuple(network.get_submodule(each) for each in paths))


Images = Sequence[tuple[Tensor, Tensor]]
"""The image that each block takes, and the one that it returns."""


@torch.no_grad()
def trace(network: Student | Teacher, blocks: Sequence[Block], batch: Batch, where: str) -> list[tuple[Tensor, Tensor]]:
    """Return input and output of each block in one pass in eval mode.

    Args:
        network: with the taps of every block.
        blocks: its blocks.
        batch: to run it on.
        where: how messages name the place.

    Raises:
        UserError: a block that runs more than once, a range whose modules are not a chain, or an output that a later
            module overwrites.
    """
    with eval_mode(network.network), _versions(blocks) as versions:
        network(batch)
    found = []
    for block in blocks:
        images = [_taken(network, path, block, where) for path in block.paths]
        for (_, output), (following, _) in pairwise(images):
            if following is not output:
                raise UserError(
                    f"{where}: expected each module of the block {block.path!r} to take the output of the one before, "
                    "and nothing between them; choose a range of modules that run as a chain"
                )
        found.append((images[0][0], images[-1][1]))
        if any(image._version != version for image, version in versions[block.path]):
            raise UserError(
                f"{where}: expected the images around the block {block.path!r} to stay as they are, got one that a "
                "module overwrites in place; end the block after the activation, or build it with inplace = False"
            )
    network.release()
    return found


@contextmanager
def _versions(blocks: Sequence[Block]) -> Iterator[dict[str, list[tuple[Tensor, int]]]]:
    """Record the images around each block with the count of their changes in place so far."""
    found: dict[str, list[tuple[Tensor, int]]] = {block.path: [] for block in blocks}

    def note(block: Block, image: object) -> None:
        if isinstance(image, Tensor):
            found[block.path].append((image, image._version))

    handles = []
    for block in blocks:
        first, last = block.modules[0], block.modules[-1]
        handles.append(
            first.register_forward_pre_hook(lambda module, inputs, block=block: note(block, next(iter(inputs), None)))
        )
        handles.append(last.register_forward_hook(lambda module, inputs, output, block=block: note(block, output)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _taken(network: Student | Teacher, path: str, block: Block, where: str) -> tuple[Tensor, Tensor]:
    inputs, outputs = (network.taps.take([tap], overwritten=True) for tap in (f"{path}:input", path))
    if len(outputs) != 1:
        raise UserError(f"{where}: expected the block {block.path!r} to run once in a pass, got {len(outputs)} times")
    return inputs[0], outputs[0]


def refuse_unequal(large: Sequence[Block], small: Sequence[Block], ours: Images, theirs: Images, where: str) -> None:
    """Raise ``UserError`` where paired blocks take or return images of unequal shape.

    Args:
        large: blocks of one network.
        small: blocks of the other, in the same order.
        ours: images of ``large``.
        theirs: images of ``small``.
        where: how messages name the place.
    """
    for left, right, one, other in zip(large, small, ours, theirs, strict=True):
        shapes = [" -> ".join(str(list(image.shape[1:])) for image in images) for images in (one, other)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{where}: expected the blocks {left.path!r} and {right.path!r} to take and return images of one "
                f"shape, as one runs in the place of the other, got {shapes[0]} and {shapes[1]}; end the blocks where "
                "both networks have equally many channels, or compare the features through an adapter: recipe = "
                "'kd-mri', distiller = 'fitnet'"
            )
