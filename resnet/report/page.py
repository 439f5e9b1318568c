"""The report's page, one self-contained HTML file, and the same content as Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from resnet.progress import time_text
from resnet.report.content import Content
from resnet.report.drawing import STYLE_SHEET, Figure
from resnet.report.galleries import Gallery
from resnet.report.names import as_markdown, readable
from resnet.report.wording import between, count, percent

TEMPLATES = Path(__file__).parent / "templates"
STYLE_SHEETS = (STYLE_SHEET, TEMPLATES / "report.css")
PARTS = ("result", "training", "classes", "answers", "made")
LEAKED = 0.01  # share of validation images with near-duplicates in training from which the top of the page says so
GALLERIES = ("augmented", "mistakes", "label_errors", "duplicates")
SECTIONS = {
    "result": "Result",
    "compared": "Compared",
    "weights": "Weights from elsewhere",
    "training": "Training",
    "seen": "What the network saw",
    "classes": "Class by class",
    "mistakes": "Confident mistakes",
    "label-errors": "Likely label errors",
    "duplicates": "Near-duplicates",
    "trust": "Can its probabilities be trusted?",
    "statistics": "Batch-norm statistics",
    "made": "What was run",
    "lineage": "From the images to the result",
    "repeat": "Repeat it",
    "files": "Files",
}


@dataclass(frozen=True)
class Drawings:
    """The figures by section, and the galleries by name."""

    training: list[Figure] = field(default_factory=list)
    classes: list[Figure] = field(default_factory=list)
    confusion: Figure | None = None
    calibration: list[Figure] = field(default_factory=list)
    statistics: Figure | None = None
    graph: Figure | None = None
    curves_note: str = ""
    galleries: dict[str, Gallery] = field(default_factory=dict)

    def figures(self) -> list[Figure]:
        """All of them, in the order of the page."""
        single = [figure for figure in (self.confusion, self.statistics, self.graph) if figure]
        return [*self.training, *self.classes, *self.calibration, *single]


def render(content: Content, drawings: Drawings) -> str:
    """The page, with its figures inside it. Whatever the names in the data are, it can be encoded as UTF-8."""
    facts = {fact.name: fact.text for fact in content.facts}
    values = {
        "content": content,
        "style": Markup("\n".join(path.read_text(encoding="utf-8") for path in STYLE_SHEETS)),
        "figures": drawings,
        "galleries": {name: drawings.galleries.get(name) for name in GALLERIES},
        "curves_note": drawings.curves_note,
        "alerts": alerts(content),
        "cards": cards(content),
        "fact": lambda name: facts.get(name, ""),
        "losses": losses,
    }
    page = _environment(is_html=True).get_template("page.html")
    body = "".join(_environment(is_html=True).get_template(f"{name}.html").render(values) for name in PARTS)
    contents = [(name, title) for name, title in SECTIONS.items() if f'<section id="{name}"' in body]
    text = page.render(values, body=Markup(body), contents=contents)
    return readable(unbroken(text))


def unbroken(page: str) -> str:
    """The page with spaces at which no line ends within "3.34 %" and "p = 0.32"."""
    page = re.sub(r"(?<=\d) %", "\u00a0%", page)
    return re.sub(r"\bp (=|&lt;) (?=\d)", "p\u00a0\\1\u00a0", page)


@lru_cache
def _environment(*, is_html: bool) -> jinja2.Environment:
    """How templates are read. Text is escaped by itself for HTML; for Markdown by the filter `text`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=is_html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = as_markdown
    environment.globals |= {"count": count, "percent": percent, "between": between, "time_text": time_text, "zip": zip}
    return environment


def render_markdown(content: Content) -> str:
    """report.md: the key table, the sentences, and the commands."""
    template = _environment(is_html=False).get_template("report.md")
    return readable(template.render(content=content, alerts=alerts(content), cards=cards(content))) + "\n"


def alerts(content: Content) -> list[str]:
    """What a reader must know before the rest."""
    found = [content.class_order, *content.headline.view.doubts]
    if content.duplicates and (content.duplicates.images or 0) >= LEAKED * content.headline.images:
        found.append(f"{content.duplicates.sentence} {content.duplicates.error_sentence}")
    if content.course and content.course.log_has_changed:
        found.append("The training log has changed since training.")
    return [sentence for sentence in found if sentence]


def cards(content: Content) -> list[tuple[str, str]]:
    """The key figures beside the error, each with what it is."""
    head, facts = content.headline, {fact.name: fact.text for fact in content.facts}
    found = []
    if head.view.top5_error is not None and head.view.top5_error_interval is not None:
        found.append((percent(head.view.top5_error), f"top-5 error; {between(head.view.top5_error_interval)}"))
    found.append((f"{head.images:,}", "validation images, each seen once"))
    if "Their file" in facts:
        found.append(("imported", "weights, not trained here"))
    elif content.course:
        found.append((time_text(content.course.seconds), f"of training: {count(content.epochs, 'epoch')}"))
    if "Parameters" in facts:
        found.append((facts["Parameters"], "parameters"))
    found.append((f"{head.classes:,}", "class" if head.classes == 1 else "classes"))
    return found


def losses(gallery: Gallery) -> str:
    """A sentence where the page does not show the pixels as they are."""
    return " Compressed with losses for this page." if gallery.is_lossy else ""
