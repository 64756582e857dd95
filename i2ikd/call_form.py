"""How a network is called: which tensors are its arguments, and which of its outputs is the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.network import conditions_taken, described
from i2ikd.options import check, parameters
from i2ikd.wrapping import unwrapped

INPUT = "input"
"""Name of the network input among the names of conditions."""


def called_as(network: nn.Module, call: Sequence[str] | None, output: str | int | None) -> nn.Module:
    """Return a network that is called as ``network(input, **conditions)`` and returns an image.

    The network itself is changed to a subclass of its class, so that paths of modules and names of weights stay.

    Args:
        network: the network.
        call: names of the positional arguments, in order: conditions of the task, and ``input``; ``None``: the input,
            and the conditions that ``forward`` takes by name.
        output: key, attribute or index of the image in what the network returns; ``None``: it returns the image.

    Raises:
        UserError: the network is a compiled script, whose class cannot be changed.

    >>> import torch
    >>> class Twins(nn.Module):
    ...     def forward(self, picture):
    ...         return {"first": picture, "second": 2 * picture}
    >>> float(called_as(Twins(), None, "second")(torch.ones(1, 1, 1, 1)))
    2.0
    """
    if call is None and output is None:
        return network
    inner = unwrapped(network)
    kind: Any = type(inner)
    if inner is not network or "forward" in vars(inner) or kind.__module__.startswith("torch.jit"):
        raise UserError(
            f"{type(network).__name__}: expected a plain torch.nn.Module for the options call and output, got a "
            "compiled or wrapped one; return it without the wrapper"
        )
    names = None if call is None else tuple(call)

    def forward(self: nn.Module, input: Tensor, **conditions: Tensor) -> Tensor:
        """Compute the image [B, C, H, W]."""
        if names is None:
            found = kind.forward(self, input, **conditions_taken(kind.forward, conditions))
        else:
            found = kind.forward(self, *_arguments(names, {INPUT: input, **conditions}, kind.__name__))
        image: Tensor = found if output is None else _selected(found, output, kind.__name__)
        return image

    inner.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return network


def _arguments(names: Sequence[str], given: Mapping[str, Tensor], network: str) -> list[Tensor]:
    """Return tensors by name, in order."""
    for name in names:
        if name not in given:
            raise UserError(f"{network}: call: the task provides {', '.join(given)}, not {name!r}; name one of these")
    return [given[name] for name in names]


def _selected(found: Any, output: str | int, network: str) -> Any:
    """Return one of the outputs of a network: an entry of a mapping or sequence, or an attribute of an object."""
    try:
        if isinstance(output, int) or isinstance(found, Mapping):
            return found[output]
        return getattr(found, output)
    except (LookupError, TypeError, AttributeError):
        raise UserError(f"{network}: output = {output!r}: {described(found)}; name one of these") from None


def options_of(
    model: Callable[..., Any], options: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide options into those of a factory, and ``call`` and ``output``, unless the factory has such arguments.

    Args:
        model: the factory.
        options: of a network in an experiment.
        where: prefix of error messages.

    Returns:
        The options of the factory, and those of ``called_as``.

    Raises:
        UserError: ``call`` is no list of names, or ``output`` neither a name nor an index.
    """
    own = parameters(model)
    form = {name: options[name] for name in ("call", "output") if name in options and name not in own}
    rest = {name: value for name, value in options.items() if name not in form}
    return rest, check(_form, form, where)


def _form(call: list[str] | None = None, output: str | int | None = None) -> None:
    """Types of the options."""
