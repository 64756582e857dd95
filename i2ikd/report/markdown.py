"""Markdown form of a comparison (GitHub flavour)."""

from __future__ import annotations

from i2ikd.experiment.summary import Comparison
from i2ikd.registry import Registry
from i2ikd.report.content import Column, Line, table_content
from i2ikd.report.legend import legend


def markdown(comparison: Comparison, registry: Registry | None = None) -> str:
    """Format a comparison as a document with metadata, conclusions, table and legend.

    Args:
        comparison: the results to write.
        registry: source of the metrics' descriptions; ``default_registry()`` when ``None``.

    Returns:
        Markdown text, ending with a newline.
    """
    content = table_content(comparison, registry)
    header = [_escaped(column.heading) for column in content.columns]
    rule = [":--" if column.key == "arm" else "--:" for column in content.columns]
    body = [[_cell(line, column) for column in content.columns] for line in content.lines]
    lines = [f"# {_escaped(comparison.name)}", ""]
    lines += [f"- {_escaped(name)}: {_escaped(value)}" for name, value in comparison.metadata.items()]
    if comparison.conclusions:
        lines += ["", "**Conclusions**", ""]
        lines += [f"- {_escaped(conclusion.text)}" for conclusion in comparison.conclusions]
    lines += ["", *(f"| {' | '.join(row)} |" for row in (header, rule, *body)), ""]
    lines += [f"- **{_escaped(term)}**: {_escaped(text)}" for term, text in legend(comparison, registry)]
    return "\n".join(lines) + "\n"


def _cell(line: Line, column: Column) -> str:
    """Format one cell; the best means in bold."""
    cell = line.cells[column.key]
    text = _escaped(cell.text)
    if column.key in line.best:
        text = f"**{text}**"
    return " ".join(part for part in (text, _escaped(cell.interval), _escaped(cell.remark)) if part)


def _escaped(text: str) -> str:
    """Escape the characters that Markdown and HTML interpret as markup."""
    for sign in "\\`*_|[]~#":
        text = text.replace(sign, "\\" + sign)
    return text.replace("<", "&lt;").replace("\n", " ")
