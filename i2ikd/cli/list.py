"""``i2ikd list``: list the registered components of a kind."""

from __future__ import annotations

import shutil
import textwrap

import click

from i2ikd.cli.result import print_json
from i2ikd.component import Component
from i2ikd.errors import UserError, nearest
from i2ikd.registry import default_registry

_SHOWN = ("formula", "paper", "suffixes", "tap_kind", "licence")


def kind_of(word: str) -> str:
    """Return the kind for its singular or plural name.

    Args:
        word: such as ``model`` or ``models``.

    Raises:
        UserError: an unknown kind.
    """
    kinds = default_registry().kinds.values()
    for kind in kinds:
        if word in (kind.name, kind.plural):
            return kind.name
    raise UserError(f"unknown kind {word!r}; {nearest(word, [kind.plural for kind in kinds])}")


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(kind: str | None, as_json: bool) -> None:
    """List the components of a KIND (models, tasks, distillers, ...); without KIND, list the kinds."""
    registry = default_registry()
    if kind is None:
        counts = {each: len(registry.components(each.name)) for each in registry.kinds.values()}
        if as_json:
            print_json({each.name: count for each, count in counts.items()})
        else:
            for each, count in counts.items():
                click.echo(f"{count:4}  {each.plural}")
        return
    components = registry.components(kind_of(kind))
    if as_json:
        print_json([describe(c) for c in components])
    else:
        _print(components)


def describe(component: Component) -> dict[str, str]:
    """Return name, plugin, distribution, summary and metadata of a component.

    Args:
        component: a registered component.
    """
    return {
        "name": component.name,
        "plugin": component.plugin.name,
        "distribution": component.plugin.distribution,
        "summary": component.summary,
        **component.metadata,
    }


def _print(components: list[Component]) -> None:
    """Print one paragraph per component; without rich, whose import dominates the run time of this command."""
    width = shutil.get_terminal_size((100, 24)).columns
    indent = max((len(c.name) for c in components), default=0) + 2
    for component in components:
        summary = f"{component.summary} [{component.plugin.name}]"
        lines = [
            summary,
            *(f"{key}: {component.metadata[key]}" for key in _SHOWN if key in component.metadata),
        ]
        wrapped = [part for line in lines for part in textwrap.wrap(line, max(width - indent, 30))]
        name = click.style(component.name, bold=True) + " " * (indent - len(component.name))
        click.echo(name + ("\n" + " " * indent).join(wrapped))
