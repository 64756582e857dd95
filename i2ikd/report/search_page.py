"""Page of a search: the smallest student near the teacher, and the Pareto front of quality and cost."""

from __future__ import annotations

import json
import math
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.evaluation.statistics import Difference
from i2ikd.experiment.search import Candidate, SearchResult
from i2ikd.files import write_atomically
from i2ikd.report import numbers
from i2ikd.report.page import environment, policy
from i2ikd.report.style import GRID, INK, put_legend, sheet
from i2ikd.report.svg import draw, inline, standalone

LABELS = {"latency_ms": "latency of one slice (ms)", "params": "parameters", "macs": "multiply-adds", "bytes": "bytes"}
_HEADS = ["arm", "params", "MACs", "bytes", "latency (ms)"]
_ACCENT = "#0068a5"


def write_search(result: SearchResult, out: Path) -> list[Path]:
    """Write ``search.json``, and the page and its figure to ``out``/report.

    Args:
        result: of the search.
        out: folder of the comparison, whose report is written.

    Returns:
        The files, the page first.
    """
    figure = pareto_front(result)
    folder = out / "report"
    files = {
        folder / "search.html": search_page(result, figure),
        folder / "search.md": f"# {result.name}: search\n\n{result.sentence}.\n\n{search_table(result)}\n",
        folder / "pareto.svg": standalone(draw(figure)),
        out / "search.json": json.dumps(result.as_json(), indent=1, ensure_ascii=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        write_atomically(path, text, follow_link=False)
    OutputManifest(out).state_files(files)
    return list(files)


def search_page(result: SearchResult, figure: Figure) -> str:
    """Return the HTML page.

    Args:
        result: of the search.
        figure: of ``pareto_front``.
    """
    heads, rows = _content(result)
    return (
        environment()
        .get_template("search.html")
        .render(
            policy=policy(),
            name=result.name,
            sentence=result.sentence,
            heads=heads,
            rows=rows,
            over_budget=[(size, "; ".join(limits)) for size, _, limits in result.over_budget],
            not_chosen=result.not_chosen,
            runtime=result.runtime,
            svg=Markup(inline(draw(figure), "pareto", "Pareto front")),
        )
    )


def search_table(result: SearchResult) -> str:
    """Return the candidates as a Markdown table, by cost.

    Args:
        result: of the search.
    """
    heads, rows = _content(result)
    lines = [heads, [":--"] + ["--:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _content(result: SearchResult) -> tuple[list[str], list[list[str]]]:
    unit = f" ({result.unit})" if result.unit else ""
    heads = [*_HEADS, f"{result.column}{unit}", f"to teacher{unit}", f"to control of the size{unit}", "Pareto front"]
    return heads, [_row(one, one.arm == result.smallest) for one in result.candidates]


def _row(one: Candidate, smallest: bool) -> list[str]:
    score = f"{one.score.mean:.3f} {numbers.span(one.score.low, one.score.high, 3)}".strip()
    return [
        f"{one.arm} (smallest)" if smallest else one.arm,
        numbers.count(one.cost.params),
        numbers.count(one.cost.macs),
        numbers.count(one.cost.bytes),
        numbers.milliseconds(one.cost.latency_ms),
        score,
        _difference(one.to_teacher),
        _difference(one.to_control),
        "yes" if one.on_front else "",
    ]


def _difference(difference: Difference | None) -> str:
    if difference is None or math.isnan(difference.mean):
        return numbers.NONE
    return f"{difference.mean:+.3f} {numbers.span(difference.low, difference.high, 3, signed=True)}".strip()


def pareto_front(result: SearchResult) -> Figure:
    """Plot the score against the cost, with the front, the teacher, and the accepted loss.

    Args:
        result: of the search.

    Returns:
        The figure, without background.
    """
    figure, (axes,) = sheet(7.0, 4.4)
    quantity = result.budget.quantity
    points = [(float(getattr(one.cost, quantity) or 0), one.score.mean, one) for one in result.candidates]
    for front, colour, label in ((False, GRID, "other students"), (True, _ACCENT, "Pareto front")):
        chosen = [(x, y) for x, y, one in points if one.on_front == front]
        if chosen:
            axes.plot(*zip(*chosen), "o-" if front else "o", color=colour, label=label, drawstyle="steps-post")
    for x, y, one in points:
        if one.on_front:
            axes.annotate(one.arm, (x, y), (4, -12), textcoords="offset points", fontsize=8, color=INK)
    if result.teacher is not None:
        axes.axhline(result.teacher.mean, color=INK, linewidth=1.0, label="teacher")
        bound = result.teacher.mean - (result.within if result.higher_is_better else -result.within)
        axes.axhline(bound, color=INK, linewidth=0.8, linestyle="--", label=f"{result.within:g} from the teacher")
    limit = getattr(result.budget, quantity)
    if limit is not None:
        axes.axvline(limit, color=GRID, linewidth=1.0, linestyle=":", label="budget")
    axes.set_xlim(left=0)
    axes.set_xlabel(LABELS[quantity] + (f", {result.runtime}" if quantity in ("latency_ms", "bytes") else ""))
    axes.set_ylabel(f"{result.column} ({result.unit})" if result.unit else result.column)
    put_legend(figure, loc="outside right upper")
    return figure
