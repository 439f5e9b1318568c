"""Report: one self-contained page of what was run and what came out, and its figures as PNG files."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from resnet.artifacts import STAGES, Run
from resnet.files import atomic, make_folder
from resnet.records.shards import read_classes
from resnet.report import figures
from resnet.report.published import Published, published_errors
from resnet.training.log_lines import read_log

TEMPLATE = Path(__file__).parent / "page.html"
TITLES = {
    "convert": "ConvertRecords",
    "train": "Train",
    "batchnorm": "BatchNormStatistics",
    "evaluate": "Evaluate",
    "report": "Report",
}


def report(run: Run) -> None:
    """The stage: report.html, and its figures beside it."""
    folder = run.stage_folder("report")
    with run.at_work("report") as begun:
        if begun is None:
            return
        pictures = _draw(run, folder / "figures")
        page = folder / "report.html"
        with atomic(page, "w") as file:
            file.write(_render(run, pictures))
        run.finish(begun, [], byproducts=[page, *pictures.values()])
        print(f"report: {page}")


def _draw(run: Run, folder: Path) -> dict[str, Path]:
    """The figures by name; those that this run has nothing to show in are left out."""
    make_folder(folder)
    log = read_log(run.stage_folder("train") / "log.jsonl")
    predictions = read_predictions(run)
    plans: dict[str, Callable[[Path], bool]] = {
        "curves": lambda path: figures.curves(log, path),
        "published": lambda path: figures.published(_metrics(run), comparable(run), path),
        "augmented": lambda path: figures.augmented_images(run, path),
        "confusion": lambda path: figures.confusion_matrix(predictions, path),
        "mistakes": lambda path: figures.mistakes(run, predictions, path),
    }
    return {name: path for name, draw in plans.items() if draw(path := folder / f"{name}.png")}


def _render(run: Run, pictures: dict[str, Path]) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    stages = {name: run.made(name) for name in STAGES["report"].inputs}
    recipe, names = run.recipe, dict(read_classes(run.records))
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        recipe=recipe,
        images=stages["convert"]["images"],
        classes=len(names),
        names=names,
        conversion=stages["convert"],
        metrics=_metrics(run),
        facts=stages["train"],
        seconds=_training_seconds(run),
        published=published_errors(recipe),
        on_imagenet=_on_imagenet(run),
        confused=confused_pairs(read_predictions(run)),
        stages=[(TITLES[name], record["attempts"], _duration(record)) for name, record in stages.items()],
        pictures=defaultdict(
            str, {name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()}
        ),
        toml=recipe.toml(),
        time_text=time_text,
    )


def comparable(run: Run) -> list[Published]:
    """The published errors that this run's can be held against: all are on ImageNet."""
    return published_errors(run.recipe) if _on_imagenet(run) else []


def _on_imagenet(run: Run) -> bool:
    """Whether the validation images are ImageNet's 50,000, from its archives or from TFRecords of others."""
    whole = run.made("convert")["images"]["validation"] == 50_000 and len(read_classes(run.records)) == 1000
    return run.recipe.dataset.source == "imagenet" or (run.recipe.dataset.source == "tfrecords" and whole)


def _metrics(run: Run) -> dict[str, Any]:
    metrics = run.made("evaluate")["metrics"]
    return metrics["views"]["1-crop"] | {"images": metrics["images"]}


def read_predictions(run: Run) -> pd.DataFrame:
    text = dict.fromkeys(("file", "label", *(f"class{place}" for place in range(1, 6))), str)
    return pd.read_csv(run.stage_folder("evaluate") / "predictions.csv", dtype=text, keep_default_na=False)  # type: ignore[arg-type]


def confused_pairs(predictions: pd.DataFrame, most: int = 10) -> list[tuple[str, str, int, int]]:
    """The commonest mistakes: right class, class taken for it, how often, and of how many of the right class."""
    wrong = predictions[predictions["label"] != predictions["class1"]]
    counts = wrong.groupby(["label", "class1"]).size().sort_values(ascending=False, kind="stable")
    of = predictions["label"].value_counts()
    return [(right, taken, int(n), int(of[right])) for (right, taken), n in counts.head(most).items()]  # type: ignore[misc]


def time_text(seconds: float) -> str:
    """A duration for people: "42 s", "3 min 05 s", "2 h 10 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def _training_seconds(run: Run) -> float:
    log = read_log(run.stage_folder("train") / "log.jsonl")
    return log[-1]["seconds"] if log else 0.0


def _duration(record: dict[str, Any]) -> float:
    return (datetime.fromisoformat(record["end"]) - datetime.fromisoformat(record["start"])).total_seconds()
