"""Tables of a comparison: terminal, CSV, Markdown, LaTeX, legend."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from i2ikd.evaluation.statistics import Estimate
from i2ikd.experiment.conclusions import conclusions
from i2ikd.experiment.summary import Comparison
from i2ikd.report.content import table_content
from i2ikd.report.csv_table import csv_table
from i2ikd.report.latex import escape, latex
from i2ikd.report.legend import legend, reference_arms
from i2ikd.report.markdown import markdown
from i2ikd.report.table import print_comparison, print_scores

Make = Callable[..., Comparison]


def printed(comparison: Comparison, width: int) -> str:
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width))
    return stream.getvalue()


def csv_rows(comparison: Comparison) -> dict[str, dict[str, str]]:
    return {row["arm"]: row for row in csv.DictReader(io.StringIO(csv_table(comparison)))}


def markdown_rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip().replace("\\", ""): [cell.strip() for cell in cells] for cells in lines}


@pytest.mark.parametrize("width", [100, 132, 220])
def test_a_printed_table_fits_the_width_and_contains_all_numbers(comparison: Comparison, width: int) -> None:
    text = printed(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in comparison.rows:
        for column, digits in {"psnr": 2, "ssim": 4}.items():
            estimate = row.metrics[column]
            assert f"{estimate.mean:.{digits}f}" in text
            assert f"[{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]" in text


def test_output_to_a_file_has_at_least_100_columns(comparison: Comparison) -> None:
    assert printed(comparison, 40) == printed(comparison, 100)


def test_on_a_wide_terminal_every_arm_has_one_line(comparison: Comparison) -> None:
    lines = [line for line in printed(comparison, 250).splitlines() if line.startswith(" channel-wise ")]
    row = comparison.row("channel-wise")
    assert row is not None and row.gap_closed is not None and len(lines) == 1
    assert (
        f"{100 * row.gap_closed.mean:.0f} [{100 * row.gap_closed.low:.0f}, {100 * row.gap_closed.high:.0f}]" in lines[0]
    )
    for reference in ("student", "control"):
        assert f"{row.differences[reference].mean:+.3f}" in lines[0]
        assert f"p {row.corrected[reference]:.3f}" in lines[0]
    assert "49.28 k" in lines[0] and "5.31" in lines[0]


@pytest.fixture
def concluded(make_comparison: Make) -> Comparison:
    comparison = make_comparison(epochs=0)
    comparison.conclusions = conclusions(comparison, "control", "student", "dB")
    return comparison


def test_conclusions_are_printed_below_the_table(concluded: Comparison) -> None:
    text = printed(concluded, 220)
    lines = [conclusion.text for conclusion in concluded.conclusions]
    assert len(lines) == 1 + 8 - 2 and all(line in text for line in lines)
    assert text.index("bold: best mean") < text.index(lines[0])


def test_conclusions_precede_the_table_in_markdown(concluded: Comparison) -> None:
    text = markdown(concluded)
    assert text.index("- dataset:") < text.index("- channel-wise is better than control by ") < text.index("| arm |")
    assert "- gram\\_fsp " in text and "- gram_fsp " not in text
    assert "Conclusions" not in markdown(dataclasses.replace(concluded, conclusions=[]))


def test_metadata_precedes_the_table(comparison: Comparison) -> None:
    head = printed(comparison, 220).splitlines()[1]
    assert "measured acceleration 4.05" in head and "seeds 0, 1" in head


def test_the_legend_defines_metrics_intervals_gap_closed_control_and_correction(comparison: Comparison) -> None:
    found = dict(legend(comparison))
    assert found["psnr"].startswith("psnr-volume-max; PSNR of a volume; peak: the target volume's maximum")
    assert found["psnr"].endswith("higher is better") and found["nmse"].endswith("lower is better")
    assert "95 % bootstrap interval over subjects and seeds" in found["[low, high]"]
    assert "gap too small" in found["gap closed"] and "equal-budget" in found["control"]
    assert "Holm" in found["Δ student, Δ control"]
    assert "with 6 subjects p is at least 0.0312 before correction" in found["Δ student, Δ control"]


@pytest.mark.parametrize(
    ("references", "named", "control"),
    [
        (["student", "control", "kd-mri"], "control", "control"),
        (["student", "kd-mri"], "control", None),
        (["student", "review", "kd-mri"], "control", None),
        (["student", "review", "kd-mri"], "kd-mri", "kd-mri"),
        (["control"], "control", "control"),
        ([], "control", None),
    ],
)
def test_only_the_named_control_is_described_as_one(
    comparison: Comparison, references: list[str], named: str, control: str | None
) -> None:
    changed = dataclasses.replace(comparison, references=references, control=named)
    assert reference_arms(changed).control == control
    described = [term for term, text in legend(changed) if text.startswith("equal-budget control")]
    assert described == ([] if control is None else [control])


@pytest.mark.parametrize(
    ("references", "headings"),
    [
        (["student", "control", "kd-mri"], ["Δ student", "Δ control"]),
        (["student", "kd-mri"], ["Δ student"]),
        (["control"], ["Δ control"]),
        ([], []),
    ],
)
def test_the_table_has_a_column_of_differences_to_the_student_and_to_the_control(
    comparison: Comparison, references: list[str], headings: list[str]
) -> None:
    student = "student" if "student" in references else None
    changed = dataclasses.replace(comparison, references=references, student=student)
    columns = [column for column in table_content(changed).columns if column.part == "difference"]
    assert [column.title for column in columns] == headings
    assert [term for term, _ in legend(changed) if term.startswith("Δ")] == [", ".join(headings)] * bool(headings)
    for line in table_content(changed).lines:
        row = comparison.row(line.arm)
        for column in columns:
            difference = row.differences.get(column.title[2:]) if row is not None else None
            assert line.cells[column.key].value == (difference and difference.mean)


def test_the_legend_names_subjects_with_several_volumes(comparison: Comparison, make_comparison: Make) -> None:
    grouped = make_comparison(of_a_subject=2)
    found = dict(legend(grouped))
    assert found["[low, high]"].endswith("over subjects and seeds; a subject is drawn with all of its volumes")
    assert "with 3 subjects p is at least 0.25 before correction" in found["Δ student, Δ control"]
    assert "drawn" not in dict(legend(comparison))["[low, high]"]
    counts = {int(row[f"{column}_n"]) for row in csv_rows(grouped).values() for column in grouped.columns}
    assert counts == {3}


def test_the_legend_warns_of_a_single_seed(make_comparison: Make) -> None:
    assert (
        "one seed: the interval does not include the variation between trainings"
        in dict(legend(make_comparison(seeds=1)))["[low, high]"]
    )


def test_csv_contains_all_numbers_unrounded(comparison: Comparison) -> None:
    rows = csv_rows(comparison)
    assert list(rows) == [row.arm for row in comparison.rows]
    for row in comparison.rows:
        found = rows[row.arm]
        for column, estimate in row.metrics.items():
            assert float(found[f"{column}_mean"]) == estimate.mean
            assert float(found[f"{column}_high"]) == estimate.high
            assert int(found[f"{column}_n"]) == estimate.n
        for reference, difference in row.differences.items():
            assert float(found[f"difference_to_{reference}_low"]) == difference.low
            assert float(found[f"difference_to_{reference}_p_holm"]) == row.corrected[reference]
        assert found["gap_closed_mean"] == (repr(row.gap_closed.mean) if row.gap_closed else "")
        assert found["rank"] == ("" if row.rank is None else str(row.rank))
    assert rows["zero-filled"]["params"] == "" and rows["teacher"]["params"] == "141765"


def test_markdown_contains_the_numbers_and_escapes_names(comparison: Comparison) -> None:
    text = markdown(comparison)
    rows = markdown_rows(text)
    for row in comparison.rows:
        assert f"{row.metrics['psnr'].mean:.2f}" in rows[row.arm][4]
        assert f"{row.metrics['nmse'].high:.5f}" in rows[row.arm][6]
    assert "| gram\\_fsp |" in text
    assert len({len(cells) for cells in rows.values()}) == 1
    assert "**31.85**" in rows["channel-wise"][4] and text.count("**31.") == 1


def test_latex_contains_the_numbers_and_equal_numbers_of_cells_per_row(comparison: Comparison) -> None:
    text = latex(comparison)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = len(table_content(comparison).columns)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {columns - 1}
    row = comparison.row("review")
    assert row is not None
    line = next(line for line in body if line.startswith("review"))
    assert f"{row.metrics['ssim'].mean:.4f} {{\\scriptsize {{[}}{row.metrics['ssim'].low:.4f}" in line
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.count("{") == text.count("}")
    assert text.isascii()


def test_latex_escapes_special_characters(comparison: Comparison) -> None:
    assert escape("a_b 50% & c#d {$} ~^ \\x") == (
        r"a\_b 50\% \& c\#d \{\$\} \textasciitilde{}\textasciicircum{} \textbackslash{}x"
    )
    text = latex(comparison)
    assert r"gram\_fsp" in text and r"25\% \& more" in text and r"cartesian\_1d" in text


def test_undefined_values_are_dashes_in_tables_and_empty_in_csv(make_comparison: Make) -> None:
    comparison = make_comparison(seeds=1, volumes=1, latency=False)
    row = comparison.row("kd-mri")
    assert row is not None and math.isnan(row.metrics["psnr"].low)
    assert csv_rows(comparison)["kd-mri"]["psnr_low"] == ""
    assert csv_rows(comparison)["kd-mri"]["latency_ms"] == ""
    cells = next(line for line in table_content(comparison).lines if line.arm == "kd-mri").cells
    assert cells["psnr"].interval == "" and "latency_ms" not in cells
    assert "nan" not in printed(comparison, 100) + markdown(comparison) + latex(comparison)


def test_a_gap_that_is_too_small_is_reported_instead_of_a_share(make_comparison: Make) -> None:
    comparison = make_comparison(arms={"student": 32.9, "kd-mri": 33.0})
    row = comparison.row("kd-mri")
    assert row is not None and row.gap_closed is not None and row.gap_closed.gap_too_small
    assert "gap too small" in markdown_rows(markdown(comparison))["kd-mri"]
    assert csv_rows(comparison)["kd-mri"]["gap_closed_gap_too_small"] == "true"


def test_without_a_student_gap_closed_and_difference_are_omitted(make_comparison: Make) -> None:
    comparison = make_comparison(arms={"attention": 31.2, "review": 31.7})
    assert reference_arms(comparison).student is None
    assert [column.key for column in table_content(comparison).columns][-2:] == ["hfn", "rank"]
    assert "gap closed" not in dict(legend(comparison))
    printed(comparison, 100)


def test_an_uninstalled_metric_is_described_by_its_name(make_comparison: Make) -> None:
    comparison = make_comparison()
    comparison.columns["hfn"] = "gone-slice"
    column = table_content(comparison).column("hfn")
    assert (column.arrow, column.unit) == ("", "")
    assert dict(legend(comparison))["hfn"] == "gone-slice"


def test_scores_are_printed_with_their_intervals() -> None:
    scores = {
        "zero-filled": {"psnr": Estimate(24.512, 23.1, 25.87, 6), "ssim": Estimate(0.7123, 0.7, 0.73, 6)},
        "network": {"psnr": Estimate(31.25, math.nan, math.nan, 1)},
    }
    stream = io.StringIO()
    print_scores(scores, "val", Console(file=stream))
    text = stream.getvalue()
    assert "val split" in text and "24.51" in text and "[23.10, 25.87]" in text and "31.25" in text
    assert "nan" not in text
