"""Write all forms of a comparison's report: HTML, Markdown, CSV, LaTeX, and the figures as SVG."""

from __future__ import annotations

import re
from pathlib import Path

from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.errors import UserError
from i2ikd.experiment.summary import Comparison
from i2ikd.files import refuse_linked_folder, write_atomically
from i2ikd.registry import Registry, default_registry
from i2ikd.report.csv_table import csv_table
from i2ikd.report.latex import latex
from i2ikd.report.markdown import markdown
from i2ikd.report.page import RenderedFigure, page, render_figures
from i2ikd.report.pictures import load_pictures


def write_report(comparison: Comparison, out: Path, registry: Registry | None = None) -> list[Path]:
    """Write the HTML page, the table as Markdown, CSV and LaTeX, and each figure as SVG to ``out``/report.

    The page includes the images of ``out``/pictures.npz (``pictures.save_pictures``), if the file exists.

    Args:
        comparison: the results to write.
        out: the comparison's folder.
        registry: source of metrics and figures; ``default_registry()`` when ``None``.

    Returns:
        The files, the page first.

    Raises:
        UserError: a file cannot be written, or the pictures are damaged.
    """
    figures = render_figures(comparison, registry or default_registry())
    forms = {
        "index.html": page(comparison, load_pictures(out), registry, figures),
        "table.md": markdown(comparison, registry),
        "table.csv": csv_table(comparison),
        "table.tex": latex(comparison, registry),
        **{_file_name(figure): figure.document for figure in figures if figure.document},
    }
    folder = out / "report"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {folder}: {error.strerror}") from error
    for figure in figures:
        if not figure.document:  # of an earlier report
            (folder / _file_name(figure)).unlink(missing_ok=True)
    refuse_linked_folder(folder, out)
    for name, text in forms.items():
        write_atomically(folder / name, text, follow_link=False)
    written = [folder / name for name in forms]
    OutputManifest(out).state_files(written)
    return written


def _file_name(figure: RenderedFigure) -> str:
    """Return the name of a figure's file, in the report's folder whatever the figure's name is."""
    return re.sub(r"[^\w.+-]", "_", figure.name).lstrip(".") + ".svg"
