"""The report in a real browser: everything is visible, nothing overflows, and nothing is requested."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import CHROMIUM, browser
from made_runs import MadeRun, log_lines, scattered_logits

from resnet.ledger import Attempt
from resnet.stages import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

LONG = "a name of three hundred characters " * 8 + "W" * 40
FIGURES = """[...document.querySelectorAll('svg.drawing, .gallery img')].map(element => {
    const box = element.getBoundingClientRect();
    return [box.width, box.height, element.complete === false, element.getAttribute('aria-label') || element.alt];
})"""
# Elements that reach beyond the window; those in a container that scrolls may.
BEYOND = """[...document.querySelectorAll('body *')]
    .filter(element => !element.parentElement.closest('.scroll, svg'))
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map(element => element.outerHTML.slice(0, 200))"""
# Tables, and cells of them, that a reader would have to scroll to.
CUT = """[...document.querySelectorAll('table, td, th')]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map(element => element.outerHTML.slice(0, 200))"""
LABELS = """[...document.querySelectorAll('.stacked tbody td:not(.drawn, [colspan])')].map(
    cell => getComputedStyle(cell, '::before').content.slice(1, -1))"""
TEXT_SIZES = """[...document.querySelectorAll('svg.drawing')].map(drawing => {
    const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
    const sizes = [...drawing.querySelectorAll('text')].map(text => parseFloat(getComputedStyle(text).fontSize));
    return scale * Math.min(...sizes);
})"""
RECIPE = "document.querySelector('.recipe')"
HEADINGS = "[...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]))"
TARGETS = "[...document.querySelectorAll('nav a')].every(link => document.querySelector(link.getAttribute('href')))"
TABLES = "[...document.querySelectorAll('thead th')].every(cell => cell.scope === 'col')"


def noise(number: int, size: int) -> np.ndarray:
    """Coarse noise: an image that compresses badly, as photographs do."""
    random = np.random.default_rng(number)
    return cv2.resize(random.integers(0, 256, (size // 4, size // 4, 3), np.uint8), (size, size))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report with every kind of section, and names that need much room."""
    labels = np.arange(120) % 12
    logits = scattered_logits(labels, 12, 0.6)
    point = {"top1_error": 9.0, "top1_error_interval": [8.0, 10.0], "gained": 1, "lost": 2}
    statistics = [{"batches": n} | point for n in (0, 1, 25, 1000)]
    run = MadeRun(
        [LONG, *(f"class {k}" for k in range(11))],
        [f"{LONG}/{k}.jpg" for k in range(120)],
        labels=labels,
        logits=logits,
        has_logits_file=True,
        other_views={"10-crop": scattered_logits(labels, 12, 0.7, seed=1)},
        metrics={"statistics": statistics},
        log=log_lines(6, 20, validated=True),
        size=64,
        picture=noise,
        train={"started_from": {"run": "first", "sha256": "ab" * 32, "new": []}},
    )
    ledger = run.write(tmp_path_factory.mktemp("page") / "artifacts")
    attempt = Attempt(ledger, "report")
    report.main(ledger.run, attempt)
    return attempt.folder / "report.html"


@pytest.fixture(scope="module")
def tab():
    with browser() as tab:
        yield tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 400, 768, 1280])
def test_every_figure_is_visible_and_nothing_overflows(page, tab, width, scheme):
    tab.open(page, width=width, scheme=scheme)
    figures = tab.evaluate(FIGURES)
    assert len(figures) >= 8 + 48 + 24
    for shown_width, height, is_loading, text in figures:
        assert shown_width > 50
        assert height > 50
        assert not is_loading
        assert text
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.evaluate(BEYOND) == []
    assert tab.evaluate(CUT) == []


def test_on_a_phone_each_cell_of_a_wide_table_names_its_column(page, tab):
    tab.open(page, width=400)
    labels = tab.evaluate(LABELS)
    assert {"Top-5 (%)", "Precision (%)", "Made from"} <= set(labels)
    assert all(labels)
    tab.open(page)
    assert set(tab.evaluate(LABELS)) == {"on"}  # of "none"


def test_the_page_requests_nothing_but_itself(page, tab):
    tab.open(page)
    assert tab.requests == [page.absolute().as_uri()]


def test_text_in_figures_can_be_read_on_a_phone(page, tab):
    tab.open(page, width=400)
    sizes = tab.evaluate(TEXT_SIZES)
    assert len(sizes) >= 8
    assert min(sizes) >= 11


def test_the_page_can_be_found_ones_way_in(page, tab):
    tab.open(page)
    levels = tab.evaluate(HEADINGS)
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert tab.evaluate(TARGETS)
    assert tab.evaluate(TABLES)
    assert tab.evaluate("document.documentElement.lang") == "en"


def test_the_schemes_differ_and_paper_is_white(page, tab):
    ground = "getComputedStyle(document.body).backgroundColor"
    tab.open(page, scheme="dark")
    dark = tab.evaluate(ground)
    tab.open(page)
    assert tab.evaluate(ground) != dark
    tab.open(page, scheme="dark", media="print")
    assert tab.evaluate(ground) == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.evaluate(f"getComputedStyle({RECIPE}).maxHeight") == "none"


def test_cards_are_in_one_row_on_paper(page, tab):
    tab.open(page, width=560, media="print")
    tops = tab.evaluate("[...document.querySelectorAll('.cards li')].map(card => card.getBoundingClientRect().top)")
    assert len(set(tops)) == 1 < len(tops)


def test_every_table_has_room_on_paper(page, tab):
    tab.open(page, width=688, media="print")  # A4 without the margins
    assert tab.evaluate(CUT) == []
