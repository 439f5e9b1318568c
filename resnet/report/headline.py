"""The result, first of all: how often the network is wrong, how sure that is, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from resnet.analysis.baseline import Baseline, compare_with_chance
from resnet.analysis.mcnemar import compare_images
from resnet.loader.batches import doubts
from resnet.report.published import Published
from resnet.report.results import Results
from resnet.report.wording import between, count, percent

TOP5_CLASSES = 10  # up to so many classes, a top-5 error says next to nothing
VIEWS = {
    "1-crop": "one centre crop",
    "10-crop": "ten crops, their probabilities averaged",
    "multi-scale": "the whole image at several sizes, their probabilities averaged",
}


@dataclass(frozen=True)
class View:
    """A view's scores. Errors are percent."""

    name: str
    description: str
    loss: float | None
    top1_error: float
    top1_error_interval: list[float]
    top5_error: float | None  # None where there are too few classes
    top5_error_interval: list[float] | None
    comparison: str  # with the first view; empty for the first one
    doubts: list[str]  # why the view may not show what one expects


@dataclass(frozen=True)
class PublishedError:
    """A published error of the same network, beside this run's. `difference`: this run's minus it, in points."""

    source: str
    view: str
    top1_error: float
    top5_error: float | None
    note: str
    is_same_view: bool
    difference: float
    is_inside_interval: bool


@dataclass(frozen=True)
class Headline:
    """What the top of the report states. Errors are percent."""

    images: int
    wrong: int
    classes: int
    view: View
    sentence: str
    baseline: Baseline
    failure: str  # why the result is none; empty where it is one
    published: list[PublishedError]  # lowest first; none but for ImageNet
    published_sentences: list[str]
    views: list[View]
    real_labels: dict[str, Any] | None
    real_labels_sentence: str


def headline(results: Results) -> Headline:
    """The headline of a run."""
    metrics, images = results.metrics, results.images
    views = [_view(results, name) for name in results.views]
    first, wrong = views[0], round(metrics["top1_error"] * metrics["images"] / 100)
    baseline = compare_with_chance(images)
    real = results.stages["evaluate"]["metrics"].get("real_labels")
    return Headline(
        images=metrics["images"],
        wrong=wrong,
        classes=len(results.classes),
        view=first,
        sentence=(
            f"Shown {first.description} of each of {count(metrics['images'], 'validation image')}, the network names "
            f"the wrong class for {wrong:,}: {percent(first.top1_error)} top-1 error (95 % interval "
            f"{between(first.top1_error_interval)})."
        ),
        baseline=baseline,
        failure=_failure(baseline),
        published=[_beside(row, first) for row in results.comparable()],
        published_sentences=_published_sentences(results, first),
        views=views,
        real_labels=real,
        real_labels_sentence=_on_real_labels(real) if real else "",
    )


def _failure(baseline: Baseline) -> str:
    if not baseline.better_than_chance:
        return "This result is no better than chance."
    if baseline.dominant and baseline.dominant.takes_all:
        return "One class takes nearly all answers."
    return ""


def _view(results: Results, name: str) -> View:
    scores = results.views[name]
    has_top5 = len(results.classes) > TOP5_CLASSES
    comparison = ""
    if name != results.view:
        other = results.view_images(name)
        comparison = compare_images(results.images, other, name, results.view).sentence(name, results.view)
    return View(
        name=name,
        description=VIEWS.get(name, name),
        loss=scores.get("loss"),
        top1_error=scores["top1_error"],
        top1_error_interval=scores["top1_error_interval"],
        top5_error=scores["top5_error"] if has_top5 else None,
        top5_error_interval=scores["top5_error_interval"] if has_top5 else None,
        comparison=comparison,
        doubts=doubts(name, results.run.recipe),
    )


def _beside(row: Published, view: View) -> PublishedError:
    low, high = view.top1_error_interval
    return PublishedError(
        row.source,
        row.view,
        row.top1_error,
        row.top5_error,
        row.note,
        is_same_view=row.view == view.name,
        difference=view.top1_error - row.top1_error,
        is_inside_interval=low <= row.top1_error <= high,
    )


def _published_sentences(results: Results, view: View) -> list[str]:
    """What the published errors of the same network and view say about this one."""
    sentences = []
    if expectation := results.expectation():
        row, agreement = expectation
        sentences.append(
            f"Published for recipe {results.run.recipe_name} by {row.source}: {percent(row.top1_error)} top-1 error. "
            f"This run {agreement} (95 % interval)."
        )
    rows = [row for row in results.comparable() if row.view == view.name]
    if not rows:
        return sentences
    network = f"ResNet-{results.run.recipe.model.depth}"
    lowest, middle, highest = rows[0], median(row.top1_error for row in rows), rows[-1]
    place = view.top1_error - middle
    from_here = f"{abs(place):.2f} points {'above' if place > 0 else 'below'}" if round(place, 2) else "at"
    if len(rows) == 1:
        published = (
            f"With this view, one error of {network} is published: {percent(middle)} ({lowest.source}). This run is "
            f"{from_here} it."
        )
    else:
        published = (
            f"With this view, {count(len(rows), 'published error')} of {network} go from {percent(lowest.top1_error)} "
            f"({lowest.source}) to {percent(highest.top1_error)} ({highest.source}). This run is {from_here} their "
            "median."
        )
    return [*sentences, published, _inside(rows, view)]


def _inside(rows: list[Published], view: View) -> str:
    """Which published errors the result does not differ from."""
    low, high = view.top1_error_interval
    inside = sum(low <= row.top1_error <= high for row in rows)
    if not inside:
        return "This run's interval has none of them: the result differs by more than the choice of images explains."
    return (
        f"This run's interval has {inside} of {len(rows)}: from these the result does not differ by more than the "
        "choice of images explains. Repeated trainings with other seeds differ by 0.1 to 0.2 points besides."
    )


def _on_real_labels(real: dict[str, Any]) -> str:
    return (
        f"On the reassessed labels of {real['images']:,} images (ReaL, Beyer et al. 2020) the top-1 error is "
        f"{percent(real['top1_error'])} (95 % interval {between(real['top1_error_interval'])})."
    )
