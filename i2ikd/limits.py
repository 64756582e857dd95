"""Limits of numbers that decide how much is allocated or how often something is repeated, with their costs."""

from __future__ import annotations

from typing import TypeVar

from pydantic import AfterValidator

from i2ikd.errors import UserError

GIB = 2**30
MOST_BYTES = 64 * GIB
"""Memory of one object, such as the weights of a network or the slices of a simulated data set."""
MOST_LAYERS = 10_000
"""Layers of one network; building more takes minutes."""

Number = TypeVar("Number", int, float)


def at_most(limit: int, cost: str) -> AfterValidator:
    """Return a validator for the type of a setting: a number up to a limit.

    Args:
        limit: the largest number.
        cost: what each unit costs, for the message.

    >>> from typing import Annotated
    >>> from pydantic import TypeAdapter
    >>> TypeAdapter(Annotated[int, at_most(3, "each is a process")]).validate_python(3)
    3
    """

    def check(value: Number) -> Number:
        if value > limit:
            raise ValueError(f"expected at most {limit:,}: {cost}")
        return value

    return AfterValidator(check)


def require_memory(where: str, size: int, what: str) -> None:
    """Refuse what would take more than 64 GiB, before it is allocated.

    Args:
        where: prefix of the message, with the numbers that decide.
        size: in bytes.
        what: name of what is allocated.

    Raises:
        UserError: it is more.
    """
    if size > MOST_BYTES:
        stated = f"{size // GIB:,} GiB" if size < 10**18 else "more than a billion GiB"
        limit = f"{MOST_BYTES // GIB} GiB of {what}"
        raise UserError(f"{where}: expected at most {limit}, got {stated}; reduce the numbers")


def require_layers(where: str, layers: int, weights: int) -> None:
    """Refuse a network of too many layers or weights, before anything of it is allocated.

    Args:
        where: prefix of the message, with the options that decide.
        layers: number of its layers.
        weights: an estimate of its number of weights, 4 bytes each.

    Raises:
        UserError: more than 10,000 layers, or more than 64 GiB of weights.
    """
    if layers > MOST_LAYERS:
        stated = f"{layers:,}" if layers < 10**15 else "more than a quadrillion"
        raise UserError(f"{where}: expected at most {MOST_LAYERS:,} layers, got {stated}; reduce the numbers")
    require_memory(where, 4 * weights, "weights")
