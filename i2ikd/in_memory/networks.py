"""Checks of networks that are passed as objects, before anything is trained."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.experiment.blank import try_network
from i2ikd.network import eval_mode
from i2ikd.sample import Batch


def refuse_no_module(network: object, name: str, factory: bool = False) -> None:
    """Raise ``UserError`` for an argument that is no network.

    Args:
        network: the argument.
        name: of the argument.
        factory: whether a function that returns a network is expected too.
    """
    wanted = "a torch.nn.Module" + (", or a function that returns one" if factory else "")
    if isinstance(network, type):
        remedy = f"{network.__name__}(...), or a function that calls it" if factory else f"{network.__name__}(...)"
        if not factory or not issubclass(network, nn.Module):
            raise UserError(f"{name}: expected {wanted}, got the class {network.__name__}; pass {remedy}")
    elif not isinstance(network, nn.Module) and not (factory and callable(network)):
        raise UserError(f"{name}: expected {wanted}, got a {type(network).__name__}")


def refuse_shared_weights(teacher: nn.Module | None, student: nn.Module) -> None:
    """Raise ``UserError`` if training the student would change the teacher."""
    if teacher is None:
        return
    if teacher is student:
        raise UserError("teacher and student: expected two networks, got one object twice; pass copy.deepcopy(teacher)")
    own = {_storage(tensor): name for name, tensor in chain(teacher.named_parameters(), teacher.named_buffers())}
    for name, tensor in chain(student.named_parameters(), student.named_buffers()):
        if tensor.numel() and _storage(tensor) in own:
            raise UserError(
                f"teacher and student share weights ({own[_storage(tensor)]!r} and {name!r}), so that training the "
                "student would change the teacher; pass a student with weights of its own, e.g. a copy.deepcopy"
            )


def _storage(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def refuse_frozen(student: nn.Module) -> None:
    """Raise ``UserError`` for a student without a parameter to train."""
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise UserError(
            f"student: expected parameters to train, {type(student).__name__} has none with requires_grad; call "
            "student.requires_grad_(True), or pass another network"
        )


def try_on(network: nn.Module, batch: Batch, name: str) -> None:
    """Run a network on a batch without changing it.

    Raises:
        UserError: it cannot take the batch, or its output does not fit the target.
    """
    with eval_mode(network):
        try_network(network, batch, name)
