"""HTML page: well-formed, self-contained, with the comparison's numbers, images and figures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from i2ikd.experiment.summary import Comparison, Conclusion
from i2ikd.hookspecs import Register, hookimpl
from i2ikd.registry import Plugin, Registry, default_registry
from i2ikd.report.figures import quality_against_parameters
from i2ikd.report.markdown import markdown
from i2ikd.report.page import page
from i2ikd.report.pictures import Picture, save_pictures
from i2ikd.report.style import GRID, INK
from i2ikd.report.svg import draw, inline, standalone
from i2ikd.report.write import write_report

Make = Callable[..., Comparison]
MakePictures = Callable[..., list[Picture]]
VOID = {"meta", "link", "br", "img", "hr", "input", "col", "wbr"}


class Reader(HTMLParser):
    """HTML parser that checks nesting and collects text, attributes, ids and table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.rows: list[list[tuple[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(("", dict(attrs).get("data-value")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            shown, value = self.rows[-1][-1]
            self.rows[-1][-1] = (shown + data, value)


@pytest.fixture
def small(make_comparison: Make) -> Comparison:
    return make_comparison(arms={"student": 31.4, "kd-mri": 31.7}, epochs=2)


def test_tags_are_closed_ids_unique_and_references_defined(full: str) -> None:
    reader = Reader(full)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    targets = [value[1:] for _, name, value in reader.attributes if name == "href"]
    targets += re.findall(r"url\(#([^)]+)\)", full)
    assert targets and set(targets) <= set(reader.ids)


def test_no_external_resource_is_loaded(full: str) -> None:
    reader = Reader(full)
    sources = [value for _, name, value in reader.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert sources and all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "http:" not in full and "https:" not in full and "@import" not in full
    assert not {"link", "iframe", "object"} & {tag for tag, _, _ in reader.attributes}


def test_the_table_contains_the_numbers_and_sort_values(full: str, comparison: Comparison) -> None:
    reader = Reader(full)
    rows = {cells[0][0].removesuffix(" control"): cells for cells in reader.rows[1 : 1 + len(comparison.rows)]}
    for row in comparison.rows:
        shown, value = rows[row.arm][4]
        assert shown.startswith(f"{row.metrics['psnr'].mean:.2f} [{row.metrics['psnr'].low:.2f}, ")
        assert value is not None and float(value) == row.metrics["psnr"].mean
    row = comparison.rows[-1]
    assert float(rows[row.arm][9][1] or "nan") == row.differences["student"].mean
    assert rows["zero-filled"][1] == ("–", None)


def test_the_page_contains_differences_to_every_reference(full: str, comparison: Comparison) -> None:
    row = comparison.row("attention")
    assert row is not None
    for reference in ("student", "control", "kd-mri"):
        assert f"minus {reference}" in full
        assert f"{row.differences[reference].low:+.3f}".replace("-", "−") in full
        assert f"p {row.corrected[reference]:.3f}" in full


def test_conclusions_are_on_top_and_warnings_are_marked(small: Comparison) -> None:
    changed = replace(small, conclusions=[Conclusion("x < y", "kd-mri"), Conclusion("warning: z", warning=True)])
    text = page(changed, None, Registry())
    assert "<li>x &lt; y</li>" in text and '<li class="warning">warning: z</li>' in text
    assert text.index('<ul class="conclusions">') < text.index('<section id="results">')
    assert '<ul class="conclusions">' not in page(small, None, Registry())


def test_names_and_metadata_are_escaped(small: Comparison) -> None:
    small.name = "<script>alert(1)</script>"
    text = page(small, None, Registry())
    assert "25% &amp; more" in text and "<script>alert" not in text


def test_equal_comparisons_have_identical_pages(small: Comparison, make_pictures: MakePictures) -> None:
    assert page(small, make_pictures(small, 24)) == page(small, make_pictures(small, 24))


def test_images_of_three_volumes_share_one_error_scale(full: str, comparison: Comparison) -> None:
    assert full.count('class="strip"') == 3
    assert full.count("colour bar from 0 to") == 1
    assert full.count('alt="error of ') == 3 * len(comparison.rows)
    for label in ("best", "median", "worst"):
        assert f"<h3>{label} volume: " in full


def test_a_filtered_comparison_contains_only_images_of_its_arms(
    make_comparison: Make, make_pictures: MakePictures
) -> None:
    whole = make_comparison(epochs=0)
    pictures = make_pictures(whole, 32)
    whole.rows = [row for row in whole.rows if row.arm in ("teacher", "student", "review")]
    text = page(whole, pictures, Registry())
    assert "error of review" in text and "error of attention" not in text


@pytest.mark.parametrize(
    "lacking",
    [
        {"seeds": 1, "volumes": 1, "arms": {"student": 32.0, "kd-mri": 33.0, "other": 30.0}},
        {"seeds": 1, "volumes": 2, "latency": False, "arms": {"student": 32.0}},
        {"arms": {"student": 32.9, "kd-mri": 33.0}},
        {"epochs": 1, "arms": {"control": 32.0, "gram_fsp": 30.0}},
    ],
    ids=str,
)
def test_a_page_without_some_values_is_well_formed_and_free_of_nan(
    lacking: dict[str, object], make_comparison: Make, make_pictures: MakePictures
) -> None:
    comparison = make_comparison(**{"epochs": 4, **lacking})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = page(comparison, make_pictures(comparison, 32))
    reader = Reader(text)
    assert reader.open == [] and "nan" not in reader.text.lower().split()


def test_a_page_is_written_without_figures_teacher_and_pictures(make_comparison: Make) -> None:
    comparison = make_comparison(epochs=0, latency=False)
    comparison.rows = [row for row in comparison.rows if row.kind != "teacher"]
    text = page(comparison, None)
    assert Reader(text).open == []
    assert 'id="images"' not in text
    assert "no training history to draw" in text and "CPU latency" in text


def test_a_plugins_figure_is_included_and_an_exception_in_one_is_reported(
    small: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    def bars(comparison: Comparison) -> Figure:
        figure = Figure(facecolor="white")
        figure.subplots().bar([row.arm for row in comparison.rows], [1.0] * len(comparison.rows))
        return figure

    def broken(comparison: Comparison) -> Figure:
        raise ZeroDivisionError("no arm has\na size")

    class ThirdParty:
        @hookimpl
        def register_figures(self, register: Register) -> None:
            register("bars", bars, summary="bars of a plugin")
            register("broken", broken, summary="a broken figure")
            register("text", lambda comparison: "not a figure", summary="no figure at all")

    registry = Registry()
    registry.plugins = list(default_registry().plugins)
    registry.add(Plugin("third-party", "third-party-package", "2.0", ThirdParty()))
    text = page(small, None, registry)
    assert '<figure id="figure-bars" class="half paper">' in text
    assert "a broken figure: no arm has a size [third-party (third-party-package 2.0)]" in text
    assert "expected a matplotlib Figure, got a str" in text
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(
        "i2ikd: 2 of 8 figures not drawn: broken: no arm has a size [third-party (third-party-package"
    )
    assert Reader(text).open == []


def test_a_figure_file_is_a_document_in_light_colours(comparison: Comparison) -> None:
    figure = quality_against_parameters(comparison)
    text = standalone(draw(figure))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("width") and root.get("height")
    assert "#ffffff" in text and "#1b1f24" in text and "#dfe3e8" in text
    assert INK not in text and GRID not in text and "<metadata" not in text
    assert text == standalone(draw(quality_against_parameters(comparison)))


def test_a_figure_that_can_no_longer_be_drawn_leaves_no_file(make_comparison: Make, tmp_path: Path) -> None:
    write_report(make_comparison(epochs=2), tmp_path)
    assert (tmp_path / "report" / "latency.svg").is_file()
    write_report(make_comparison(epochs=2, latency=False), tmp_path)
    assert not (tmp_path / "report" / "latency.svg").exists()
    assert (tmp_path / "report" / "parameters.svg").is_file()


def test_an_inline_figure_has_the_pages_colours(comparison: Comparison) -> None:
    text = inline(draw(quality_against_parameters(comparison)), "one", 'sizes "and" more')
    assert "currentColor" in text and "var(--grid)" in text and "#010203" not in text
    assert 'aria-label="sizes &quot;and&quot; more"' in text
    assert text.startswith("<svg") and 'id="one-' in text and "<metadata" not in text


def test_a_report_is_four_files_and_includes_the_stored_pictures(
    small: Comparison, make_pictures: MakePictures, tmp_path: Path
) -> None:
    save_pictures(make_pictures(small, 32), tmp_path)
    files = write_report(small, tmp_path)
    figures = ["differences.svg", "latency.svg", "parameters.svg", "training.svg", "validation.svg"]
    assert [file.name for file in files] == ["index.html", "table.md", "table.csv", "table.tex", *figures]
    assert files[0].read_text(encoding="utf-8").count('class="strip"') == 3
    assert files[1].read_text(encoding="utf-8") == markdown(small)
