"""``i2ikd plugins``: list plugins, their components, and the reasons for disabled ones."""

from __future__ import annotations

import click

from i2ikd.cli.result import print_json
from i2ikd.registry import default_registry


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the plugins with their components; for a plugin that is not in use, the reason."""
    plugins = default_registry().plugins
    if as_json:
        rows = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "problem": plugin.problem or None,
                "provides": [{"kind": c.kind, "name": c.name} for c in plugin.provides],
            }
            for plugin in plugins
        ]
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("plugin", "distribution", "provides"):
        table.add_column(heading, overflow="fold")
    for plugin in plugins:
        kinds = dict.fromkeys(c.kind for c in plugin.provides)
        provided = "; ".join(
            f"{kind}: " + ", ".join(c.name for c in plugin.provides if c.kind == kind) for kind in kinds
        )
        text = f"not in use: {plugin.problem}" if plugin.problem else provided
        table.add_row(plugin.name, f"{plugin.distribution} {plugin.version}", text)
    Console().print(table, highlight=False, markup=False)
