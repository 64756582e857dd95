"""LaTeX form of a comparison: a table that needs the packages booktabs and graphicx only."""

from __future__ import annotations

import re

from i2ikd.experiment.summary import Comparison
from i2ikd.registry import Registry
from i2ikd.report.content import Cell, Column, Line, table_content
from i2ikd.report.legend import metadata_line

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "−": "$-$",
    "–": "--",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def escape(text: str) -> str:
    r"""Escape LaTeX's special characters.

    Args:
        text: plain text.

    Returns:
        LaTeX source that prints ``text`` unchanged.

    >>> print(escape("gram_fsp 50% & more"))
    gram\_fsp 50\% \& more
    """
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def latex(comparison: Comparison, registry: Registry | None = None) -> str:
    """Format a comparison as a ``table`` environment, scaled to the line width.

    Args:
        comparison: the results to write.
        registry: source of each metric's unit and direction; ``default_registry()`` when ``None``.

    Returns:
        LaTeX source, ending with a newline.
    """
    content = table_content(comparison, registry)
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(_caption(comparison))}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]', '-', comparison.name)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(content.columns) - 1)}}}",
        r"\toprule",
        _row([escape(column.heading) for column in content.columns]),
        r"\midrule",
    ]
    previous = ""
    for line in content.lines:
        if previous and line.kind == "arm" and previous != "arm":
            lines.append(r"\midrule")
        previous = line.kind
        lines.append(_row([_cell(line, column) for column in content.columns]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def _caption(comparison: Comparison) -> str:
    """Return name, metadata and metrics in one paragraph."""
    names = ", ".join(f"{column}: {metric}" for column, metric in comparison.columns.items())
    return f"{comparison.name}. {metadata_line(comparison)}. {names}. Brackets: 95 % bootstrap intervals."


def _row(cells: list[str]) -> str:
    """Join the cells of one table row."""
    return " & ".join(cells) + r" \\"


def _cell(line: Line, column: Column) -> str:
    """Format one cell; interval and remark in a smaller font."""
    cell: Cell = line.cells[column.key]
    text = escape(cell.text)
    if column.key in line.best:
        text = rf"\textbf{{{text}}}"
    suffix = " ".join(escape(part) for part in (cell.interval, cell.remark) if part)
    return rf"{text} {{\scriptsize {suffix}}}" if suffix else text
