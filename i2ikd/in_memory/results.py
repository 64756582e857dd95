"""Results of ``i2ikd.distill`` and ``i2ikd.compare``: as text, HTML, figures and data frames."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from i2ikd.errors import UserError
from i2ikd.experiment.compare import table_rows
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.scores import network_of
from i2ikd.experiment.summary import Comparison, Row
from i2ikd.seeds import kept_random_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class DistillResult:
    """Result of ``distill``; a notebook displays it as a table.

    Attributes:
        student: the trained student, in eval mode; the module that was passed.
        history: a row per epoch: stage, epoch, mean of every term, learning rate, validation loss.
        metrics: means over the validation slices, by network (``student``, ``teacher``) and metric (``psnr``: dB,
            peak the target's maximum; ``ssim``; ``nmse``); empty without validation data.
    """

    student: nn.Module
    history: list[dict[str, Any]]
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [f"{type(self.student).__name__}, {len(self.history)} epochs"]
        for network, scores in self.metrics.items():
            rows.append("  ".join([f"{network:8}", *(f"{name} {_number(value)}" for name, value in scores.items())]))
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        """Return metrics and the last epoch of each stage as HTML tables."""
        columns = list(dict.fromkeys(name for scores in self.metrics.values() for name in scores))
        scores = [[name, *(_number(row.get(c, math.nan)) for c in columns)] for name, row in self.metrics.items()]
        last = {row["stage"]: row for row in self.history}
        stages = [
            [name, str(row["epoch"] + 1), ", ".join(f"{t} {_number(v)}" for t, v in row["losses"].items()),
             "" if row["validation"] is None else _number(row["validation"])]
            for name, row in last.items()
        ]  # fmt: skip
        tables = [_html_table(["stage", "epochs", "losses", "validation loss"], stages)]
        if scores:
            tables.insert(0, _html_table(["validation data", *columns], scores))
        return f"<p><b>{escape(type(self.student).__name__)}</b></p>{''.join(tables)}"

    def plot(self) -> Figure:
        """Return a figure of every loss term and of the validation loss over the epochs."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.add_subplot()
        names = list(dict.fromkeys(name for row in self.history for name in row["losses"] if name != "total"))
        for name in names:
            points = [(i, row["losses"][name]) for i, row in enumerate(self.history, 1) if name in row["losses"]]
            axes.plot(*zip(*points), label=name)
        validated = [(i, row["validation"]) for i, row in enumerate(self.history, 1) if row["validation"] is not None]
        if validated:
            axes.plot(*zip(*validated), "k--", label="validation loss")
        stages = [row["stage"] for row in self.history]
        for index in range(1, len(stages)):
            if stages[index] != stages[index - 1]:
                axes.axvline(index + 0.5, color="0.8", zorder=0)
        axes.set(xlabel="epoch", ylabel="loss", yscale="log")
        axes.legend()
        return figure

    def to_pandas(self) -> Any:
        """Return the history as a ``pandas.DataFrame``: a row per epoch, a column per term.

        Raises:
            UserError: pandas is not installed.
        """
        rows = [{**{k: v for k, v in row.items() if k != "losses"}, **row["losses"]} for row in self.history]
        return _pandas().DataFrame(rows)


class ComparisonResult:
    """Result of ``compare``; a notebook displays it as a table with its verdict.

    Args:
        graph: of the finished runs.
        comparison: the results.
    """

    def __init__(self, graph: RunGraph, comparison: Comparison) -> None:
        self._graph = graph
        self._comparison = comparison

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table as in ``results.json``: baselines, teacher, arms."""
        return [row.as_json() for row in self._comparison.rows]

    @property
    def verdict(self) -> list[str]:
        """Sentences on the teacher and on every arm against the control, and what to run next."""
        return [conclusion.text for conclusion in self._comparison.conclusions]

    @property
    def folder(self) -> Path:
        """Folder of runs and results; a temporary one is deleted with this object."""
        return self._graph.context.store.root

    def network(self, arm: str, seed: int | None = None) -> nn.Module:
        """Return the trained network of an arm, in eval mode.

        Args:
            arm: name of the arm, or ``teacher``.
            seed: which; the first one unless given.

        Raises:
            UserError: no such arm or seed.
        """
        experiment = self._graph.context.experiment
        seeds = list(experiment.seeds)
        chosen = seeds[0] if seed is None else seed
        if chosen not in seeds:
            raise UserError(f"seed: expected one of {seeds}, got {chosen}")
        arms = [] if arm == "teacher" else [experiment.arm(arm)]
        with kept_random_state():
            row = next(row for row in table_rows(self._graph, arms, seeds) if row.name == arm)
            return network_of(self._graph.context, row.runs[chosen], row.combine, row.transforms).eval()

    def __str__(self) -> str:
        from rich.console import Console

        from i2ikd.report.table import print_comparison

        text = io.StringIO()
        print_comparison(self._comparison, Console(file=text, width=120))
        return text.getvalue().rstrip()

    def _repr_html_(self) -> str:
        """Return verdict and table as HTML."""
        from i2ikd.report.content import table_content

        content = table_content(self._comparison)
        rows = [[str(line.cells[column.key]) for column in content.columns] for line in content.lines]
        verdict = "".join(f"<li>{escape(text)}</li>" for text in self.verdict)
        return f"<ul>{verdict}</ul>{_html_table([column.heading for column in content.columns], rows)}"

    def plot(self) -> Figure:
        """Return a figure of every arm's paired difference to the control in the first metric, 95 % intervals."""
        from matplotlib.figure import Figure

        comparison = self._comparison
        found = [(row.arm, row.differences[comparison.control]) for row in _compared(comparison)]
        figure = Figure(figsize=(7, 1.2 + 0.35 * len(found)), layout="constrained")
        axes = figure.add_subplot()
        for place, (_, difference) in enumerate(found):
            low, high = difference.mean - difference.low, difference.high - difference.mean
            error = None if math.isnan(low) else [[low], [high]]
            axes.errorbar(difference.mean, place, xerr=error, fmt="o", color="C0", capsize=3)
        axes.set_yticks(range(len(found)), [arm for arm, _ in found])
        axes.invert_yaxis()
        axes.axvline(0, color="0.6", zorder=0)
        axes.set_xlabel(f"{next(iter(comparison.columns))} minus that of {comparison.control}")
        return figure

    def to_pandas(self) -> Any:
        """Return the table as a ``pandas.DataFrame``: a row per arm, columns with means and interval ends.

        Raises:
            UserError: pandas is not installed.
        """
        rows = []
        for row in self._comparison.rows:
            costs = row.costs
            values: dict[str, Any] = {"kind": row.kind, "params": costs.params if costs else None}
            values |= {"macs": costs.macs if costs else None, "latency_ms": costs.latency_ms if costs else None}
            for column, estimate in row.metrics.items():
                values |= {column: estimate.mean, f"{column}_low": estimate.low, f"{column}_high": estimate.high}
            values["gap_closed"] = None if row.gap_closed is None else row.gap_closed.mean
            rows.append({"arm": row.arm, **values, "rank": row.rank})
        return _pandas().DataFrame(rows).set_index("arm")

    def report(self, folder: str | Path) -> list[Path]:
        """Write the report of the comparison: HTML with figures and images, Markdown, CSV and LaTeX.

        Args:
            folder: into whose folder ``report`` the files are written.

        Returns:
            The files, the page first.

        Raises:
            UserError: a file cannot be written.
        """
        from i2ikd.report.pictures import collect_pictures, save_pictures
        from i2ikd.report.write import write_report

        out, registry = Path(folder), self._graph.context.registry
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create the folder {out}: {error.strerror}") from error
        with kept_random_state():
            save_pictures(collect_pictures(self._graph, self._comparison), out)
            return write_report(self._comparison, out, registry)


def _compared(comparison: Comparison) -> Sequence[Row]:
    return [row for row in comparison.rows if comparison.control in row.differences]


def _pandas() -> Any:
    """Return pandas.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UserError('to_pandas needs pandas, which is not installed; run: pip install "i2ikd[pandas]"') from error
    return pandas


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4g}"


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
