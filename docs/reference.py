"""The generated parts of the pages: settings from the models, components from the registry, commands from click."""

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
    """What i2ikd itself ships of a kind; plugins of others, if any are installed, have their own documentation."""
    return [c for c in default_registry().components(kind) if c.plugin.distribution == "i2ikd"]


def type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Say in words which values an annotation takes."""
    bounds = _bounds(metadata)
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *own = typing.get_args(annotation)
        bounds += _bounds(own)
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
    found = []
    for item in metadata:
        if isinstance(item, FieldInfo):
            found += _bounds(item.metadata)
        for name, text in _BOUNDS.items():
            limit = getattr(item, name, None)
            if limit is not None and not isinstance(item, FieldInfo):
                found.append(text.format(f"`{limit}`" if isinstance(limit, str) else f"{limit:g}"))
    return found


def value(found: Any) -> str:
    """Write a default as TOML has it."""
    if isinstance(found, recipe.Reference):
        return f'"{found.name}"' if not found.options else value({"name": found.name, **found.options})
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, str | Path):
        return f'"{found}"'
    if isinstance(found, list | tuple):
        return "[" + ", ".join(value(item) for item in found) + "]"
    if isinstance(found, dict | BaseModel):
        return "{}" if isinstance(found, BaseModel) or not found else str(found)
    return str(found)


def _default(found: Any) -> str:
    if found is None:
        return "–"
    return "required" if found in (PydanticUndefined, inspect.Parameter.empty) else f"`{value(found)}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; pipes in cells are escaped."""
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), ["---"] * len(head), *cells]) + "\n"


def prose(text: str) -> str:
    """Let a docstring's formulas stand in Markdown: signs that would mark up are escaped, except in code."""
    parts = re.split(r"(``.+?``|`[^`]+`|(?<!\w)\*\w+\*(?!\w))", text)
    return "".join(part if i % 2 else re.sub(r"([_*<>|])", r"\\\1", part) for i, part in enumerate(parts))


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a model's source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:]):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def settings(name: str, text: str) -> str:
    """Table of the keys of a model; ``text`` has ``key: meaning`` for those that the source does not explain."""
    model: type[BaseModel] = getattr(config, name, None) or getattr(recipe, name)
    given = dict(line.split(": ", 1) for line in text.splitlines() if line.strip())
    known = attribute_docs(model)
    if set(given) | set(known) != set(model.model_fields) or set(given) & set(known):
        wrong = sorted(set(given) ^ (set(model.model_fields) - set(known)))
        raise ValueError(f"{name}: the page explains the wrong keys: {', '.join(wrong)}")
    rows = []
    for key, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        meaning = prose(known[key]) if key in known else given[key]
        name_and_type = f"`{field.alias or key}`", type_text(field.annotation, field.metadata)
        rows.append((*name_and_type, _default(default), meaning))
    return table(("key", "type", "default", "meaning"), rows)


def documentation(target: Any) -> tuple[list[str], dict[str, str]]:
    """Return the paragraphs of a component's docstring, and what it says of each option."""
    text = inspect.getdoc(target) or ""
    match = re.search(r"^(Args|Options):\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    options: dict[str, str] = {}
    for line in textwrap.dedent(match[2]).splitlines() if match else []:
        found = re.match(r"(\w+): (.*)", line)
        if found:
            options[found[1]] = found[2]
        elif line.strip():
            options[next(reversed(options))] += " " + line.strip()
    own = re.split(r"^(?:Args|Options|Raises|Returns|>>>)", text, maxsplit=1, flags=re.MULTILINE)[0]
    return [part for part in own.strip().split("\n\n") if part.strip()], options


def options_table(component: Component) -> str:
    """Table of a component's options, which are the typed arguments of its target."""
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
    """Every component of a kind: what it is, in the words of its docstring, and its options."""
    parts = []
    for component in components(kind):
        paragraphs, _ = documentation(component.resolve())
        body = "\n\n".join(prose(part) for part in paragraphs)
        parts.append(f"#### {component.name}\n\n{body}\n\n{options_table(component)}")
    return "\n".join(parts)


def listing(kind: str, text: str) -> str:
    """Table of the components of a kind with their summaries."""
    metadata = ("suffixes", "tap_kind")
    used = [entry_ for entry_ in metadata if any(entry_ in c.metadata for c in components(kind))]
    rows = [(f"`{c.name}`", prose(c.summary), *(c.metadata.get(f, "") for f in used)) for c in components(kind)]
    return table(("name", "what it is", *used), rows)


def methods_overview(argument: str, text: str) -> str:
    """Table of the distillers: what each compares and what it needs, with default options."""
    rows = []
    for component in components("distiller"):
        made: Distiller = component.create()
        least = f", at least {made.least_batch}" if made.least_batch > 1 else ""
        batch = f"relates its samples{least}" if made.relates_samples else "any"
        taps = made.tap_kind if made.uses_taps else "none: the output"
        kept = "–" if not made.uses_teacher else "yes" if made.cacheable else "no"
        link = f"[{component.name}](#{component.name})"
        rows.append((link, prose(component.summary), taps, batch, kept))
    return table(("method", "compares", "taps", "batch", "knowledge kept"), rows)


def methods(argument: str, text: str) -> str:
    """Every distiller: paper, formula, needs, deviations, options, from registry and docstring."""
    parts = []
    for component in components("distiller"):
        first, *rest = documentation(component.resolve())[0]
        lines = [f"### {component.name}", prose(first), f"```text\n{component.metadata.get('formula', '')}\n```"]
        if "paper" in component.metadata and not any(part.startswith(("Paper:", "Papers:")) for part in rest):
            lines.append(f"**Paper:** {prose(component.metadata['paper'])}")
        lines += [_labelled(part) for part in rest]
        parts.append("\n\n".join([*lines, options_table(component)]))
    return "\n".join(parts)


def _labelled(paragraph: str) -> str:
    """Set off the label of a paragraph; a list stays a list."""
    if paragraph.startswith("* "):
        return "\n".join("* " + prose(item) for item in re.split(r"^\* ", paragraph, flags=re.MULTILINE) if item)
    label = re.match(r"(Papers?|Formulas?[^:\n]*|Needs|Differs from[^:\n]*|Deviation[^:\n]*): ?", paragraph)
    return f"**{label[1]}:** {prose(paragraph[label.end() :])}" if label else prose(paragraph)


def commands(argument: str, text: str) -> str:
    """Every command with what it says on ``--help``."""
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
