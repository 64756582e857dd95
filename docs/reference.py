"""Generated parts of the pages: settings from pydantic models, components from the registry, commands from click."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from mathematics import FORMULAS
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from i2ikd import config, recipe
from i2ikd.distiller import Distiller
from i2ikd.options import parameters
from i2ikd.registry import Component, default_registry

_SCALARS = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", Path: "path", Any: "anything"}
_BOUNDS = {
    "ge": "≥ {}",
    "gt": "> {}",
    "le": "≤ {}",
    "lt": "< {}",
    "min_length": "(at least {})",
    "pattern": "matching {}",
}


def components(kind: str) -> list[Component]:
    """Return the components of a kind that i2ikd ships; third-party plugins are excluded."""
    return [c for c in default_registry().components(kind) if c.plugin.distribution == "i2ikd"]


def type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Describe in words the values of an annotation."""
    bounds = _bounds(metadata)
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *constraints = typing.get_args(annotation)
        bounds += _bounds(constraints)
    return " ".join([_plain_type(annotation), *bounds])


def _plain_type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(part) for part in arguments if part is not type(None))
    if origin is typing.Literal:
        return " or ".join(f"`{value(choice)}`" for choice in arguments)
    if origin is tuple and Ellipsis not in arguments:
        return "[" + ", ".join(type_text(part) for part in arguments) + "]"
    if origin is dict:
        return "table"
    if origin is not None and issubclass(origin, Sequence):
        return f"list of {type_text(arguments[0])}"
    if annotation is recipe.Reference:
        return "name, or table of `name` and options"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        names = list(annotation.model_fields)
        return "table" if len(names) > 4 else "table of " + ", ".join(f"`{name}`" for name in names)
    return str(getattr(annotation, "__name__", annotation))


def _bounds(metadata: Iterable[Any]) -> list[str]:
    bounds = []
    for item in metadata:
        if isinstance(item, FieldInfo):
            bounds += _bounds(item.metadata)
        for name, text in _BOUNDS.items():
            limit = getattr(item, name, None)
            if limit is not None and not isinstance(item, FieldInfo):
                bounds.append(text.format(f"`{limit}`" if isinstance(limit, str) else f"{limit:g}"))
    return bounds


def value(default: Any) -> str:
    """Format a default as TOML."""
    if isinstance(default, recipe.Reference):
        return f'"{default.name}"' if not default.options else value({"name": default.name, **default.options})
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str | Path):
        return f'"{default}"'
    if isinstance(default, list | tuple):
        return "[" + ", ".join(value(item) for item in default) + "]"
    if isinstance(default, dict | BaseModel):
        return "{}" if isinstance(default, BaseModel) or not default else str(default)
    return str(default)


def _default(default: Any) -> str:
    if default is None:
        return "–"
    return "required" if default in (PydanticUndefined, inspect.Parameter.empty) else f"`{value(default)}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table; pipes in cells are escaped."""
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), ["---"] * len(head), *cells]) + "\n"


def prose(text: str) -> str:
    """Escape markup characters of a docstring for Markdown, except in code."""
    parts = re.split(r"(``.+?``|`[^`]+`|(?<!\w)\*\w+\*(?!\w))", text)
    return "".join(part if i % 2 else re.sub(r"([_*<>|])", r"\\\1", part) for i, part in enumerate(parts))


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field in the source of a model."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, text in zip(body.body, body.body[1:]):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            docs[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return docs


def settings(name: str, text: str) -> str:
    """Format the keys of a model as a table; ``text`` has ``key: meaning`` for keys without a docstring."""
    model: type[BaseModel] = getattr(config, name, None) or getattr(recipe, name)
    given = dict(line.split(": ", 1) for line in text.splitlines() if line.strip())
    known = attribute_docs(model)
    if set(given) | set(known) != set(model.model_fields) or set(given) & set(known):
        wrong = sorted(set(given) ^ (set(model.model_fields) - set(known)))
        raise ValueError(
            f"{name}: the page must explain exactly the keys without a docstring; wrong: {', '.join(wrong)}"
        )
    rows = []
    for key, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        meaning = prose(known[key]) if key in known else given[key]
        name_and_type = f"`{field.alias or key}`", type_text(field.annotation, field.metadata)
        rows.append((*name_and_type, _default(default), meaning))
    return table(("key", "type", "default", "meaning"), rows)


def documentation(target: Any) -> tuple[list[str], dict[str, str]]:
    """Return the paragraphs of a component's docstring, and the description of each option."""
    text = inspect.getdoc(target) or ""
    match = re.search(r"^(Args|Options):\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    options: dict[str, str] = {}
    for line in textwrap.dedent(match[2]).splitlines() if match else []:
        option = re.match(r"(\w+): (.*)", line)
        if option:
            options[option[1]] = option[2]
        elif line.strip():
            options[next(reversed(options))] += " " + line.strip()
    description = re.split(r"^(?:Args|Options|Raises|Returns|>>>)", text, maxsplit=1, flags=re.MULTILINE)[0]
    return [part for part in description.strip().split("\n\n") if part.strip()], options


def options_table(component: Component) -> str:
    """Format the options of a component, the typed arguments of its target, as a table."""
    target: Any = component.resolve()
    _, meanings = documentation(target)
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True)
    rows = [
        (f"`{name}`", type_text(hints[name]), _default(parameter.default), prose(meanings.get(name, "")))
        for name, parameter in parameters(target).items()
        if name in hints
    ]
    return table(("option", "type", "default", "meaning"), rows) if rows else "No options.\n"


def catalogue(kind: str, text: str) -> str:
    """Format every component of a kind: its docstring and its options."""
    parts = []
    for component in components(kind):
        paragraphs, _ = documentation(component.resolve())
        body = "\n\n".join(_labelled(part) for part in paragraphs)
        parts.append(f"#### {component.name}\n\n{body}\n\n{options_table(component)}")
    return "\n".join(parts)


def listing(kind: str, text: str) -> str:
    """Format the components of a kind as a table with their summaries."""
    metadata = ("suffixes", "tap_kind")
    used = [key for key in metadata if any(key in c.metadata for c in components(kind))]
    rows = [(f"`{c.name}`", prose(c.summary), *(c.metadata.get(key, "") for key in used)) for c in components(kind)]
    return table(("name", "summary", *used), rows)


def methods_overview(argument: str, text: str) -> str:
    """Format the distillers as a table: what each compares and requires, with default options."""
    rows = []
    for component in components("distiller"):
        made: Distiller = component.create()
        least = f", at least {made.least_batch}" if made.least_batch > 1 else ""
        batch = f"relates its samples{least}" if made.relates_samples else "any"
        taps = made.tap_kind if made.uses_taps else "none: the output"
        cacheable = "–" if not made.uses_teacher else "yes" if made.cacheable else "no"
        link = f"[{component.name}](#{component.name})"
        rows.append((link, prose(component.summary), taps, batch, cacheable))
    return table(("method", "compares", "taps", "batch", "cacheable"), rows)


def methods(argument: str, text: str) -> str:
    """Format every distiller: paper, formula, requirements, deviations, options, from registry and docstring."""
    parts = []
    for component in components("distiller"):
        first, *rest = documentation(component.resolve())[0]
        lines = [f"### {component.name}", prose(first), f"```math\n{FORMULAS[component.name]}\n```"]
        if "paper" in component.metadata and not any(part.startswith(("Paper:", "Papers:")) for part in rest):
            lines.append(f"**Paper:** {prose(component.metadata['paper'])}")
        lines += [_labelled(part) for part in rest]
        parts.append("\n\n".join([*lines, options_table(component)]))
    return "\n".join(parts)


def _labelled(paragraph: str) -> str:
    """Set the label of a paragraph in bold; keep lists."""
    if paragraph.startswith("* "):
        return "\n".join("* " + prose(item) for item in re.split(r"^\* ", paragraph, flags=re.MULTILINE) if item)
    label = re.match(r"(Papers?|Formulas?[^:\n]*|Needs|Differs from[^:\n]*|Deviation[^:\n]*): ?", paragraph)
    return f"**{label[1]}:** {prose(paragraph[label.end() :])}" if label else prose(paragraph)


def commands(argument: str, text: str) -> str:
    """Format every command with its ``--help`` text."""
    from i2ikd.cli.main import cli

    top = click.Context(cli, info_name="i2ikd", terminal_width=88, **cli.context_settings)
    parts = [f"## i2ikd\n\n```text\n{cli.get_help(top)}\n```\n"]
    for component in components("command"):
        command: Any = component.resolve()
        context = click.Context(command, info_name=component.name, parent=top, terminal_width=88)
        parts.append(f"## i2ikd {component.name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


PARTS: dict[str, Callable[[str, str], str]] = {
    "settings": settings,
    "catalogue": catalogue,
    "names": listing,
    "methods-overview": methods_overview,
    "methods": methods,
    "commands": commands,
}
