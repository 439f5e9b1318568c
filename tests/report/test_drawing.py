"""Figures: text as text, colours of the page, the same bytes for the same data, and names that are only text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from made_runs import MadeRun, log_lines

from resnet.report.class_figures import confusion_figure
from resnet.report.content import content_of
from resnet.report.drawing import COLOURS, STYLE_SHEET
from resnet.report.page import STYLE_SHEETS
from resnet.report.results import Results
from resnet.report.tables import Analysis
from resnet.stage_table import STAGES
from resnet.stages.report import draw

HOSTILE = ["</svg><script>alert(1)</script>", 'a" onload="x', "$a$", "&lt;"]


@pytest.fixture(scope="module")
def drawn_twice(tmp_path_factory):
    """The drawings of a made run, and the same once more."""
    run = MadeRun(HOSTILE, [f"{k}.jpg" for k in range(8)], log=log_lines(4, 10, validated=True))
    ledger = run.write(tmp_path_factory.mktemp("drawn"))
    results = Results(ledger.run, {name: ledger.finished(name) for name in STAGES["report"].inputs})
    analysis = Analysis.of(results)
    return [draw(results, analysis, content_of(results, analysis)) for _ in range(2)]


@pytest.fixture(scope="module")
def figures(drawn_twice):
    return drawn_twice[0].figures()


def test_the_same_data_give_the_same_bytes(drawn_twice):
    first, second = ([figure.svg for figure in drawings.figures()] for drawings in drawn_twice)
    assert len(first) == 8
    assert first == second


def test_on_the_page_every_colour_is_a_variable_of_the_style_sheet(figures):
    for figure in figures:
        inline = figure.inline()
        assert not re.search("#[0-9a-fA-F]{6}", inline)
        assert set(re.findall(r"var\(--(\w+)\)", inline)) <= set(COLOURS)


def test_the_file_has_colours_of_its_own(figures):
    for figure in figures:
        assert "var(" not in figure.svg
        assert set(re.findall("#[0-9a-f]{6}", figure.svg)) <= set(COLOURS.values())


def test_text_is_text_of_at_least_eleven_units(figures):
    for figure in figures:
        inline = figure.inline()
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", inline)]
        assert len(sizes) == inline.count("<text") > 3
        assert min(sizes) >= 11


def test_each_figure_states_its_finding_to_who_does_not_see_it(figures):
    for figure in figures:
        root = ET.fromstring(figure.inline())
        assert root.get("role") == "img"
        assert root.get("aria-label") == figure.finding
        assert figure.finding.endswith(".")


def test_ids_are_unique_on_the_page_and_all_of_them_are_used(figures):
    page = "".join(figure.inline() for figure in figures)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids) > 5
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', page)) == set(ids)


def test_names_in_a_figure_are_only_text(figures):
    (confusion,) = (figure for figure in figures if figure.name == "confusion")
    root = ET.fromstring(confusion.inline())
    assert not [element for element in root.iter() if element.tag.endswith("script") or element.get("onload")]
    shown = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert shown >= {"</svg><script>alert(1…", 'a" onload="x', "$a$", "&lt;"}


@pytest.mark.parametrize("classes", [1, 31])
def test_one_class_and_more_than_thirty_have_no_confusion_matrix(classes):
    assert confusion_figure(None, ["name"] * classes, None) is None


def luminance(colour: str) -> float:
    """Relative luminance, by WCAG 2.1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, by WCAG 2.1."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def schemes() -> dict[str, dict[str, str]]:
    """The colours of each scheme in style.css, by name."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE_SHEET.read_text(), re.DOTALL)
    names = ("light", "dark", "print")
    return {name: dict(re.findall(r"--(\w+): (#\w{6})", block)) for name, block in zip(names, blocks, strict=True)}


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_stands_out_from_what_it_is_on(scheme):
    colours = schemes()[scheme]
    for ground in ("page", "card"):
        for text in ("ink", "soft", "blue", "orange", "red"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_numbers_in_the_confusion_matrix_stand_out_from_their_cells(scheme):
    from resnet.report.class_figures import STRONGEST

    colours = schemes()[scheme]
    for cell in ("blue", "orange"):
        parts = zip(*(bytes.fromhex(colours[name][1:]) for name in (cell, "card")), strict=True)
        mixed = "#" + bytes(round(STRONGEST * one + (1 - STRONGEST) * other) for one, other in parts).hex()
        assert contrast(colours["ink"], mixed) >= 4.5


def test_every_scheme_has_every_colour_and_the_page_uses_no_other():
    assert len({frozenset(colours) for colours in schemes().values()}) == 1
    for sheet in STYLE_SHEETS[1:]:
        assert not re.search("#[0-9a-f]{3,6}", sheet.read_text())
