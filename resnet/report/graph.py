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
COLUMNS = 3
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
    """A picture of the tasks, in their order, in rows that fit a page."""
    every = [Task(IMAGES, "", ["from outside"]), *tasks]
    place = {task.title: _place(number) for number, task in enumerate(every)}
    arrows = [_arrow(place[needed_by(task.title)], place[task.title]) for task in tasks]
    boxes = [_box(task, *place[task.title]) for task in every]
    columns, rows = min(len(every), COLUMNS), -(-len(every) // COLUMNS)
    width = 2 * MARGIN + columns * (WIDTH + GAP) - GAP
    height = 2 * MARGIN + rows * (HEIGHT + GAP) - GAP
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif">'
        f'<rect width="{width}" height="{height}" style="fill: {CARD}"/>{"".join(arrows)}{"".join(boxes)}</svg>'
    )
    said = [", ".join(filter(None, (task.title, task.state, *task.lines))) for task in tasks]
    return Figure("graph", "The graph", f"{'; '.join(said)}.", svg, is_wide=True)


def _place(number: int) -> tuple[int, int]:
    """The upper left corner of a task, counted from 0."""
    row, column = divmod(number, COLUMNS)
    return MARGIN + column * (WIDTH + GAP), MARGIN + row * (HEIGHT + GAP)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """To the right in a row; from the end of a row down, and back to the beginning of the next."""
    (x1, y1), (x2, y2) = start, end
    if y1 == y2:
        y = y1 + HEIGHT // 2
        path = f"M {x1 + WIDTH} {y} H {x2 - 2} M {x2 - 9} {y - 5} L {x2 - 1} {y} L {x2 - 9} {y + 5}"
    else:
        x, between = x2 + WIDTH // 2, y2 - GAP // 2
        path = f"M {x1 + WIDTH // 2} {y1 + HEIGHT} V {between} H {x} V {y2 - 2}"
        path += f" M {x - 5} {y2 - 9} L {x} {y2 - 1} L {x + 5} {y2 - 9}"
    return f'<path d="{path}" style="fill: none; stroke: {SOFT}; stroke-width: 1.5"/>'


def _box(task: Task, x: int, y: int) -> str:
    colour = COLOURS.get(task.state, LINE)
    lines = [(task.title, f"font-size: 14px; font-weight: 700; fill: {INK}")]
    lines += [(task.state, f"font-size: 12px; font-weight: 600; fill: {colour}")] if task.state else []
    lines += [(line, f"font-size: 12px; fill: {SOFT}") for line in task.lines if line]
    texts = [
        f'<text x="{x + 12}" y="{y + 24 + 19 * number}" style="{style}">{escape(_short(text))}</text>'
        for number, (text, style) in enumerate(lines)
    ]
    outline = f"fill: {CARD}; stroke: {colour}; stroke-width: 1.5"
    rect = f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" style="{outline}"/>'
    return rect + "".join(texts)


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
