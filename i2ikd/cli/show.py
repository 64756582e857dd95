"""``i2ikd show``: print summary, metadata, options, documentation and source of one component."""

from __future__ import annotations

import inspect
from typing import Any

import click

from i2ikd.cli.list import describe, kind_of
from i2ikd.cli.result import print_json
from i2ikd.config_file import apply_override
from i2ikd.errors import UserError
from i2ikd.options import parameters
from i2ikd.registry import default_registry


@click.command("show")
@click.argument("kind")
@click.argument("name")
@click.option("--taps", is_flag=True, help="Of a model, list the module paths that can be tapped.")
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="With --taps, set an option of the model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(kind: str, name: str, taps: bool, options: tuple[str, ...], as_json: bool) -> None:
    """Show the component NAME of a KIND: summary, formula, options with types and defaults, source."""
    component = default_registry().get(kind_of(kind), name)
    target = component.resolve()
    if taps and component.kind != "model":
        raise UserError(f"--taps: expected a model, got {component.kind} {name!r}")
    if options and not taps:
        raise UserError(f"-o {options[0]}: expected --taps, which builds the model with the options")
    if taps:
        stated: dict[str, Any] = {}
        for override in options:
            apply_override(stated, override)
        from i2ikd.call_form import options_of

        own, _ = options_of(component.resolve(), stated, f"model {name!r}")
        network: Any = component.create(own, f"model {name!r}", default_registry())
        for path, module in network.named_modules():
            if path:
                click.echo(f"{path}  {type(module).__name__}")
        return
    option_rows = [] if isinstance(target, click.Command) else [_option(p) for p in parameters(target).values()]
    text = inspect.getdoc(target) or ""
    if as_json:
        print_json({**describe(component), "options": option_rows, "text": text})
        return
    click.echo(f"{component.kind} {component.name}  ({component.plugin.label})")
    for key, value in {"summary": component.summary, **component.metadata}.items():
        if value:
            click.echo(f"{key}: {value}")
    if option_rows:
        click.echo("options:")
        for option in option_rows:
            default = "" if option["default"] is None else f" = {option['default']}"
            click.echo(f"  {option['name']}: {option['type']}{default}")
    click.echo("\n" + text)


def _option(parameter: inspect.Parameter) -> dict[str, str | None]:
    """Return name, type and default of an option as text."""
    annotation = parameter.annotation
    type_ = "any" if annotation is inspect.Parameter.empty else annotation
    default = None if parameter.default is inspect.Parameter.empty else repr(parameter.default)
    return {
        "name": parameter.name,
        "type": type_ if isinstance(type_, str) else inspect.formatannotation(type_),
        "default": default,
    }
