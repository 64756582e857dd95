"""``i2ikd list``: what there is of a kind."""

from __future__ import annotations

import json
import shutil
import textwrap

import click

from i2ikd.errors import UserError, nearest
from i2ikd.registry import KINDS, Component, default_registry

_SHOWN = ("formula", "paper", "suffixes", "role")


def kind_of(word: str) -> str:
    """Return the kind for a singular or plural word.

    Raises:
        UserError: there is none.
    """
    for kind in KINDS:
        if word in (kind, kind + "s"):
            return kind
    raise UserError(f"there is no kind {word!r}; {nearest(word, [k if k == 'pairs' else k + 's' for k in KINDS])}")


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(kind: str | None, as_json: bool) -> None:
    """List the components of a KIND (models, tasks, distillers, ...); without one, the kinds."""
    registry = default_registry()
    if kind is None:
        counts = {k: len(registry.components(k)) for k in KINDS}
        if as_json:
            click.echo(json.dumps(counts, indent=1))
        else:
            for name, count in counts.items():
                click.echo(f"{count:4}  {name if name == 'pairs' else name + 's'}")
        return
    components = registry.components(kind_of(kind))
    if as_json:
        click.echo(json.dumps([describe(c) for c in components], indent=1, ensure_ascii=False))
    else:
        _print(components)


def describe(component: Component) -> dict[str, str]:
    """Name, plugin, summary and facts of a component."""
    return {
        "name": component.name,
        "plugin": component.plugin.name,
        "distribution": component.plugin.distribution,
        "summary": component.summary,
        **component.metadata,
    }


def _print(components: list[Component]) -> None:
    """Print a paragraph a component; without rich, whose import would take longer than everything else here."""
    width = shutil.get_terminal_size((100, 24)).columns
    indent = max((len(c.name) for c in components), default=0) + 2
    for component in components:
        summary = f"{component.summary} [{component.plugin.name}]"
        lines = [
            summary,
            *(f"{entry_}: {component.metadata[entry_]}" for entry_ in _SHOWN if entry_ in component.metadata),
        ]
        wrapped = [part for line in lines for part in textwrap.wrap(line, max(width - indent, 30))]
        name = click.style(component.name, bold=True) + " " * (indent - len(component.name))
        click.echo(name + ("\n" + " " * indent).join(wrapped))
