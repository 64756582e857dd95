"""Figures of a report: costs at their values, complete legends, readable losses, and parts that belong to arms."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from i2ikd.experiment.summary import Comparison
from i2ikd.report.curves import training_losses, validation_losses
from i2ikd.report.figures import differences_to_student, quality_against_latency, quality_against_parameters
from i2ikd.report.style import logarithmic_loss, marker_styles, sheet
from i2ikd.report.svg import draw, inline, standalone

Make = Callable[..., Comparison]


def drawn(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


@pytest.mark.parametrize(
    ("plot", "cost"), [(quality_against_parameters, "params"), (quality_against_latency, "latency_ms")]
)
def test_every_point_and_interval_is_at_its_cost(
    plot: Callable[[Comparison], Figure], cost: str, forty: Comparison
) -> None:
    rows = [row for row in forty.rows if row.costs is not None]
    (axes,) = plot(forty).axes
    points = [container[0].get_xydata()[0] for container in axes.containers]
    expected = [(getattr(row.costs, cost), row.metrics["psnr"].mean) for row in rows]
    np.testing.assert_array_equal(points, expected)
    assert sum(x == expected[1][0] for x, _ in points) == 28
    for container, (x, _) in zip(axes.containers, expected, strict=True):
        assert {vertex[0] for bar in container[2] for path in bar.get_paths() for vertex in path.vertices} == {x}


@pytest.mark.parametrize("plot", [quality_against_parameters, quality_against_latency, validation_losses])
@pytest.mark.parametrize("size", ["comparison", "forty"])
def test_a_legend_has_every_arm_and_lies_within_the_figure(
    plot: Callable[[Comparison], Figure], size: str, request: pytest.FixtureRequest
) -> None:
    comparison: Comparison = request.getfixturevalue(size)
    figure = plot(comparison)
    canvas = drawn(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [r.arm for r in comparison.rows if r.kind != "baseline"]
    for text in legend.get_texts():
        box = text.get_window_extent(canvas.get_renderer())
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not box.overlaps(figure.axes[0].get_window_extent())
    assert figure.axes[0].get_window_extent().height > 0.4 * 4.4 * figure.dpi


def test_every_arm_has_a_marker_of_its_own(make_comparison: Make) -> None:
    styles = marker_styles(make_comparison(arms={f"arm{n}": 31.0 for n in range(80)}, seeds=1, volumes=1, epochs=0))
    assert len(styles) == 82 and len(set(styles.values())) == 82


def test_loss_panels_have_three_ticks_and_a_legend_outside(comparison: Comparison) -> None:
    figure = training_losses(comparison)
    renderer = drawn(figure).get_renderer()
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert len(panels) == len(comparison.rows) - 1
    for panel in panels:
        low, high = panel.get_ylim()
        assert len([tick for tick in panel.get_yticks() if low <= tick <= high]) >= 3
        legend, title = panel.get_legend(), panel._left_title  # type: ignore[attr-defined]
        assert legend is not None
        box = legend.get_window_extent(renderer)
        assert box.y0 >= panel.get_window_extent(renderer).y1 - 1 and box.y1 <= title.get_window_extent(renderer).y0 + 1
        assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.0301, 0.0309), [0.0295, 0.03, 0.0305, 0.031]),
        ((0.021, 0.09), [0.02, 0.03, 0.04, 0.05, 0.06, 0.08]),
        ((0.003, 0.5), [0.003, 0.01, 0.03, 0.1, 0.3]),
        ((1e-5, 1e4), [1e-6, 1e-4, 0.01, 1, 100, 1e4]),
    ],
)
def test_ticks_of_a_loss_are_round_numbers(values: tuple[float, float], expected: list[float]) -> None:
    _, (axes,) = sheet(3, 2)
    logarithmic_loss(axes, values)
    low, high = axes.get_ylim()
    ticks = [float(tick) for tick in axes.get_yticks() if low <= tick <= high]
    assert ticks == pytest.approx(expected)


def test_parts_of_an_arm_are_marked_in_the_page_and_not_in_a_file(make_comparison: Make) -> None:
    small = make_comparison(arms={"student": 31.4, "control": 31.5, "kd-mri": 31.7}, seeds=1, volumes=2, epochs=2)
    for plot, marked in {
        quality_against_parameters: {"2", "3", "4"},
        validation_losses: {"2", "3", "4"},
        training_losses: {"2", "3", "4"},
        differences_to_student: {"3", "4"},
    }.items():
        drawing = draw(plot(small))
        text = inline(drawing, "one", "a")
        assert set(re.findall(r'data-arm="(\d+)"', text)) == marked and "i2ikd-arm" not in text
        file = standalone(drawing)
        assert "i2ikd-arm" not in file and "data-arm" not in file
