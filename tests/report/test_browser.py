"""The page in a browser: sorting, filter, pins, the viewer of two images, widths, print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from i2ikd.experiment.summary import Comparison
from i2ikd.report.page import page
from tests.report.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
SHOWN = "[...document.querySelectorAll('table.sortable tr[data-arm]')].filter(e => e.offsetParent)"
NAMES = f"{SHOWN}.map(e => e.dataset.name)"
TOO_WIDE = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def browser(running: Browser, full: str, tmp_path: Path) -> Iterator[Browser]:
    """The page of 8 arms, loaded anew for every test; an error in it fails the test."""
    (tmp_path / "index.html").write_text(full, encoding="utf-8")
    running.show(1400)
    running.load(tmp_path / "index.html")
    yield running
    assert running.messages == []


@pytest.fixture
def large(browser: Browser, forty: Comparison, tmp_path: Path) -> Browser:
    """The page of 40 arms, without figures."""
    (tmp_path / "forty.html").write_text(page(forty, figures=[]), encoding="utf-8")
    browser.load(tmp_path / "forty.html")
    return browser


def arms_within(part: str) -> str:
    visible = "e => e.getClientRects().length && e.getBoundingClientRect().height"
    return (
        f"new Set([...document.querySelectorAll('{part} [data-arm]')].filter({visible}).map(e => e.dataset.arm)).size"
    )


def press(name: str) -> str:
    return f"document.querySelector('button.pin[aria-label=\"pin {name}\"]').click()"


def search(text: str) -> str:
    return f"{{const f = document.querySelector('input'); f.value = '{text}'; f.dispatchEvent(new Event('input'))}}"


def test_arms_are_sorted(browser: Browser, comparison: Comparison) -> None:
    means = {row.arm: row.metrics["psnr"].mean for row in comparison.rows if row.kind == "arm"}
    head = "document.querySelectorAll('thead button')[4]"
    browser.run(f"{head}.click()")
    assert browser.run(NAMES) == sorted(means, key=lambda arm: means[arm])
    browser.run(f"{head}.click()")
    assert browser.run(NAMES) == sorted(means, key=lambda arm: -means[arm])
    assert browser.run(f"{head}.parentElement.ariaSort") == "descending"


def test_arms_are_filtered_in_tables_figures_and_images(browser: Browser) -> None:
    assert browser.run("document.querySelector('output').textContent") == "8 of 8 arms"
    browser.run(search("REV, control"))
    assert browser.run(NAMES) == ["control", "review"]
    assert browser.run("document.querySelector('output').textContent") == "2 of 8 arms"
    parts = ["#differences", "#images", *(f"#figure-{name}" for name in ("parameters", "validation", "training"))]
    assert [browser.run(arms_within(part)) for part in parts] == [2] * 5
    browser.run(search(""))
    assert [browser.run(arms_within(part)) for part in parts] == [8] * 5


def test_pinned_arms_are_on_top_stay_and_are_highlighted(browser: Browser) -> None:
    browser.run(press("review"))
    browser.run(press("kd-mri"))
    browser.run(search("student"))
    assert browser.run(NAMES) == ["kd-mri", "review", "student"]
    clear = "[...document.querySelectorAll('#figure-latency [data-arm]')].filter(e => !e.classList.contains('faded'))"
    assert len(set(browser.run(f"{clear}.map(e => e.dataset.arm)"))) == 2
    browser.run("document.querySelector('.chips button').click()")
    browser.run(press("kd-mri"))
    assert browser.run("document.querySelectorAll('.faded, .pinned').length") == 0
    browser.run(search(""))
    assert browser.run(NAMES)[:3] == ["student", "control", "kd-mri"]


def test_two_images_are_compared_by_a_divider_and_by_blinking(browser: Browser) -> None:
    def choose(name: str, value: str) -> str:
        change = "new Event(s.type === 'range' ? 'input' : 'change')"
        return (
            f"{{const s = document.querySelector('.viewer .{name}'); s.value = '{value}'; s.dispatchEvent({change})}}"
        )

    tile = "document.querySelectorAll('.strip')[1].querySelector('[data-tile=\"{}\"] {}').src"
    stage = "document.querySelectorAll('.stage img')"
    for name, value in {"volume": "1", "left": "teacher", "right": "control", "divider": "30"}.items():
        browser.run(choose(name, value))
    assert browser.run(f"{stage}[0].src === {tile.format('teacher', '.picture > img')}")
    assert browser.run(f"{stage}[1].src === {tile.format('control', '.picture > img')}")
    assert browser.run(f"{stage}[1].style.clipPath") == "inset(0px 0px 0px 30%)"
    browser.run(choose("shown", "error"))
    assert browser.run(f"{stage}[1].src === {tile.format('control', '.error')}")
    browser.run("document.querySelector('.blink').click()")
    assert browser.run(f"{stage}[1].style.clipPath") == "none"
    browser.run("document.querySelector('.blink').click()")
    assert browser.run(f"{stage}[1].style.clipPath") == "inset(0px 0px 0px 30%)"


def test_all_columns_are_within_a_window_of_1400_pixels_and_on_a_printed_sheet(large: Browser) -> None:
    assert large.run(TOO_WIDE) == 0
    large.show(1032, media="print")  # A4, landscape, without margins of 12 mm, in units of 1/96 inch
    assert large.run(TOO_WIDE) == 0
    assert large.run("document.documentElement.scrollWidth <= innerWidth")
    assert large.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    assert large.run(f"{NAMES}.length") == 40
    assert large.run("getComputedStyle(document.querySelector('.long')).overflowY") == "visible"


@pytest.mark.parametrize("width", [800, 1400])
def test_the_page_is_as_wide_as_the_window(large: Browser, width: int) -> None:
    large.show(width)
    assert large.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_dark_page_is_printed_on_white(browser: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    browser.show(1400, scheme="dark")
    assert browser.run(background) == "rgb(20, 23, 27)"
    browser.show(1400, media="print", scheme="dark")
    assert browser.run(background) == "rgb(255, 255, 255)"


def test_contents_link_to_all_sections(browser: Browser) -> None:
    links = browser.run("[...document.querySelectorAll('.tools a')].map(e => e.getAttribute('href'))")
    assert links == ["#results", "#legend", "#differences", "#figures", "#images"]
    assert all(browser.run(f"!!document.querySelector('{link}')") for link in links)
