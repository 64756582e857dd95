"""Write every form of a comparison's report into its folder."""

from __future__ import annotations

from pathlib import Path

from i2ikd.compare.comparison import Comparison
from i2ikd.files import write_atomically
from i2ikd.report.markdown import markdown


def write_report(comparison: Comparison, out: Path) -> list[Path]:
    """Write ``out``/report/ and return its files.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = out / "report"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "table.md"
    write_atomically(file, markdown(comparison))
    return [file]
