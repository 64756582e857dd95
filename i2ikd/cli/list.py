"""``i2ikd list``: what there is of a kind."""

from __future__ import annotations

import json

import click

from i2ikd.errors import UserError, nearest
from i2ikd.plugins import KINDS, Component, default_host


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
    host = default_host()
    if kind is None:
        counts = {k: len(host.components(k)) for k in KINDS}
        if as_json:
            click.echo(json.dumps(counts, indent=1))
        else:
            for name, count in counts.items():
                click.echo(f"{count:4}  {name if name == 'pairs' else name + 's'}")
        return
    components = host.components(kind_of(kind))
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
        **component.facts,
    }


def _print(components: list[Component]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = [fact for fact in ("paper", "formula", "suffixes", "role") if any(fact in c.facts for c in components)]
    table = Table(box=None, header_style="bold")
    several = len({c.plugin.name for c in components}) > 1
    table.add_column("name", no_wrap=True)
    for heading in ("summary", *facts):
        table.add_column(heading, overflow="fold")
    for component in components:
        cells = [component.facts.get(fact, "") for fact in facts]
        owner = f" [{component.plugin.name}]" if several else ""
        table.add_row(component.name, Text(component.summary + owner), *map(Text, cells))
    Console().print(table)
