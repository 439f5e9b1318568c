"""The graph of tasks as a picture: what each waits for, its state, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from resnet.progress import time_text
from resnet.report.drawing import BLUE, CARD, GREEN, GREY, INK, LINE, ORANGE, RED, SOFT, Figure
from resnet.report.results import Results, work_seconds
from resnet.report.wording import count, percent
from resnet.stage_table import STAGES

WIDTH, HEIGHT, GAP, MARGIN = 188, 92, 28, 8  # of a task, and between two, in SVG's units
LETTERS = 25  # that fit the width of a task
COLOURS = {
    "up to date": GREEN,
    "running": BLUE,
    "interrupted": ORANGE,
    "stale": ORANGE,
    "missing": GREY,
    "unreadable": RED,
}
IMAGES = "Images"  # the external task that all others come from


class Task(NamedTuple):
    """A task of the graph. `lines`: what else is to be said of it, two at most."""

    title: str
    state: str
    lines: Sequence[str] = ()


def needed_by(title: str) -> str:
    """The task that a task waits for, as the tasks themselves say: the one that depends on all others before it."""
    stage = next(stage for stage in STAGES.values() if stage.title == title)
    return STAGES[stage.inputs[-1]].title if stage.inputs else IMAGES


def finished_tasks(results: Results) -> list[Task]:
    """The tasks of a run whose report is being written."""
    what = {
        "convert": f"{sum(results.stages['convert']['images'].values()):,} images",
        "train": "imported weights" if results.imported else count(results.run.recipe.training.epochs, "epoch"),
        "batchnorm": "imported weights" if results.imported else "",
        "evaluate": f"{percent(results.metrics['top1_error'])} top-1 error",
    }
    done = [
        Task(STAGES[name].title, "up to date", [time_text(work_seconds(record)), what[name]])
        for name, record in results.stages.items()
    ]
    return [*done, Task(STAGES["report"].title, "up to date", ["this page"])]


def graph(tasks: Sequence[Task]) -> Figure:
    """A picture of the tasks, in their order."""
    every = [Task(IMAGES, "", ["from outside"]), *tasks]
    place = {task.title: MARGIN + number * (WIDTH + GAP) for number, task in enumerate(every)}
    arrows = [_arrow(place[needed_by(task.title)] + WIDTH, place[task.title]) for task in tasks]
    boxes = [_box(task, place[task.title]) for task in every]
    width, height = 2 * MARGIN + len(every) * (WIDTH + GAP) - GAP, 2 * MARGIN + HEIGHT
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif">'
        f'<rect width="{width}" height="{height}" style="fill: {CARD}"/>{"".join(arrows)}{"".join(boxes)}</svg>'
    )
    said = [", ".join(filter(None, (task.title, task.state, *task.lines))) for task in tasks]
    return Figure("graph", "The graph", f"{'; '.join(said)}.", svg, is_wide=True)


def _arrow(start: float, end: float) -> str:
    y = MARGIN + HEIGHT / 2
    head = f"M {end - 9} {y - 5} L {end - 1} {y} L {end - 9} {y + 5}"
    return f'<path d="M {start} {y} L {end - 2} {y} {head}" style="fill: none; stroke: {SOFT}; stroke-width: 1.5"/>'


def _box(task: Task, x: float) -> str:
    colour = COLOURS.get(task.state, LINE)
    lines = [(task.title, f"font-size: 14px; font-weight: 700; fill: {INK}")]
    lines += [(task.state, f"font-size: 12px; font-weight: 600; fill: {colour}")] if task.state else []
    lines += [(line, f"font-size: 12px; fill: {SOFT}") for line in task.lines if line]
    texts = [
        f'<text x="{x + 12}" y="{MARGIN + 24 + 19 * number}" style="{style}">{escape(_short(text))}</text>'
        for number, (text, style) in enumerate(lines)
    ]
    outline = f"fill: {CARD}; stroke: {colour}; stroke-width: 1.5"
    rect = f'<rect x="{x}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" rx="8" style="{outline}"/>'
    return rect + "".join(texts)


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
