"""Which modules of two networks correspond: stated by a term or the experiment, or registered for the two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from i2ikd.errors import UserError
from i2ikd.recipe import Pairs, TapPairs
from i2ikd.taps import expand, expand_blocks, expand_taps, resolve_pairs

if TYPE_CHECKING:
    from i2ikd.registry import Registry


MODULE_KINDS = ("blocks", "layers")
"""Kinds of pairs that are modules to run or to copy, and not taps; the experiment's ``pairs`` are taps."""


def choose_pairs(
    registry: Registry,
    models: tuple[str, str],
    networks: tuple[nn.Module, nn.Module],
    wanted: Pairs | None,
    tap_kind: str,
    where: str,
) -> list[tuple[str, str]]:
    """Return (teacher path, student path) pairs, with ``*`` expanded; blocks may be ranges ``first..last`` of modules.

    Args:
        registry: of the pairs.
        models: names of the teacher's and the student's model.
        networks: teacher and student.
        wanted: explicit pairs, the name of registered ones, or ``None`` for those registered for the models.
        tap_kind: ``features``, ``preactivations``, ``images``, ``blocks`` or ``layers``.
        where: how messages name the place.

    Raises:
        UserError: nothing is registered and nothing was given, or a path matches nothing.
    """
    if isinstance(wanted, str):
        return _resolved(networks, registry.get("pairs", wanted).resolve()(*networks), tap_kind)
    if wanted is not None:
        return _resolved(networks, wanted, tap_kind)
    found = registered_pairs(registry, models, networks, tap_kind)
    if found is None:
        option = tap_kind if tap_kind in MODULE_KINDS else "pairs"
        raise UserError(
            f"{where}: expected pairs of modules ({tap_kind}) of {models[0]!r} and {models[1]!r}, none are registered "
            f'for these models; set {option} = [["teacher path", "student path"]] '
            "(`i2ikd show model NAME --taps -o OPTION=VALUE` lists the paths)"
        )
    return found


def registered_pairs(
    registry: Registry, models: tuple[str, str], networks: tuple[nn.Module, nn.Module], tap_kind: str
) -> list[tuple[str, str]] | None:
    """Return the pairs registered for two models, or ``None``."""
    for component in registry.components("pairs"):
        metadata = component.metadata
        registered = (metadata.get("teacher"), metadata.get("student"), metadata.get("tap_kind", "features"))
        if registered == (*models, tap_kind):
            return _resolved(networks, component.resolve()(*networks), tap_kind)
    return None


def _resolved(networks: tuple[nn.Module, nn.Module], pairs: TapPairs, tap_kind: str) -> list[tuple[str, str]]:
    matching = {"blocks": expand_blocks, "layers": expand}.get(tap_kind, expand_taps)
    return resolve_pairs(*networks, pairs, matching)
