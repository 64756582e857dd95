"""Which taps a term compares: the ones it names, the experiment's, or the ones registered for the two models."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from i2ikd.errors import UserError
from i2ikd.recipe import Pairs
from i2ikd.registry import Registry
from i2ikd.taps import resolve_pairs


def choose_pairs(
    registry: Registry,
    models: tuple[str, str],
    networks: tuple[nn.Module, nn.Module],
    wanted: Pairs | None,
    tap_kind: str,
    who: str,
) -> list[tuple[str, str]]:
    """Return (teacher path, student path) pairs, expanded.

    Args:
        host: the registry.
        models: names of the teacher's and the student's model.
        networks: teacher and student.
        wanted: explicit pairs, the name of registered ones, or ``None`` for what is registered for the models.
        role: ``features``, ``preactivations`` or ``images``.
        who: the term, for messages.

    Raises:
        UserError: nothing is registered and nothing was given, or a path matches nothing.
    """
    if isinstance(wanted, str):
        return _expanded(networks, registry.get("pairs", wanted).resolve()(*networks))
    if wanted is not None:
        return _expanded(networks, wanted)
    for component in registry.components("pairs"):
        metadata = component.metadata
        if (metadata.get("teacher"), metadata.get("student")) == models and metadata.get(
            "role", "features"
        ) == tap_kind:
            return _expanded(networks, component.resolve()(*networks))
    raise UserError(
        f"{who} needs pairs of taps ({tap_kind}) between {models[0]!r} and {models[1]!r}, and none are registered for "
        'these models: give pairs = [["teacher path", "student path"]]; `i2ikd show model NAME --taps` lists the paths'
    )


def _expanded(networks: tuple[nn.Module, nn.Module], pairs: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    return resolve_pairs(*networks, pairs)
