"""``i2ikd show``: print summary, metadata, options, documentation and source of one component."""

from __future__ import annotations

import inspect
from pathlib import Path

import click

from i2ikd.cli.list import describe, kind_of
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError
from i2ikd.options import parameters
from i2ikd.registry import default_registry


@click.command("show")
@click.argument("kind")
@click.argument("name")
@click.option("--taps", is_flag=True, help="Of a model, list the module paths that can be tapped, with shapes.")
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="With --taps, set an option of the model.")
@click.option(
    "--student", metavar="NAME", help="With --taps, suggest pairs of the model, as teacher, and this student."
)
@click.option("--student-option", "student_options", multiple=True, metavar="KEY=VALUE", help="Option of the student.")
@click.option("--input", "size", metavar="C,H,W", help="With --taps, shape of the input; default: 1,64,64.")
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    metavar="EXPERIMENT.toml",
    help="With --taps, take the input and the conditions from this experiment's task.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    kind: str,
    name: str,
    taps: bool,
    options: tuple[str, ...],
    student: str | None,
    student_options: tuple[str, ...],
    size: str | None,
    experiment: Path | None,
    as_json: bool,
) -> None:
    """Show the component NAME of a KIND: summary, formula, options with types and defaults, source."""
    component = default_registry().get(kind_of(kind), name)
    target = component.resolve()
    if taps and component.kind != "model":
        raise UserError(f"--taps: expected a model, got {component.kind} {name!r}")
    if options and not taps:
        raise UserError(f"-o {options[0]}: expected --taps, which builds the model with the options")
    if not taps and (student is not None or student_options or size is not None or experiment is not None):
        raise UserError("--student, --student-option, --input and --experiment: expected --taps with them; add it")
    if taps:
        from i2ikd.cli.taps import show_taps

        other = None if student is None else (student, student_options)
        show_taps((name, options), other, size, experiment, as_json)
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
