"""Formulas as MathML, which browsers render without a script: fenced blocks of the language ``math``, in LaTeX."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

FORMULAS: dict[str, str] = tomllib.loads((Path(__file__).parent / "formulas.toml").read_text(encoding="utf-8"))
"""The loss of each distiller in LaTeX, by registered name."""


def mathml(latex: str) -> str:
    """Convert a formula.

    Args:
        latex: the formula, without delimiters.

    Returns:
        A ``<math>`` element.

    Raises:
        ValueError: a command that is not known, which would be shown as it is written.
    """
    text = convert(latex, display="block")
    if "\\" in text:
        raise ValueError(f"{latex}: expected commands that latex2mathml knows, got {text}")
    return text


def fence(source: str, language: str, css_class: str, options: Any, md: Any, **more: Any) -> str:
    """Format a fenced block; the signature is that of pymdownx.superfences."""
    return f'<div class="formula" tabindex="0">{mathml(source.strip())}</div>'
