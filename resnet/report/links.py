"""Links from the page to the files beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from resnet.predictions_file import predictions_name
from resnet.report.results import Results

# Of other stages, by the folder that they are in.
LINKED = {
    "batchnorm": {"weights.safetensors": "the weights, with averaged statistics: use these"},
    "train": {"weights.safetensors": "the weights as trained", "log.jsonl": "the training log"},
    "evaluate": {
        "metrics.json": "the errors",
        "predictions.csv": "each validation image's label and likeliest classes",
        "logits.npy": "every logit of each validation image",
    },
    "convert": {
        "classes.txt": "the classes in the order of their labels",
        "rejected.csv": "images that were left out, with the reason",
        "decode_warnings.csv": "images that were decoded with a warning",
        "ignored.csv": "files that are no images",
    },
}
TABLES = {
    "per_class": "every class: errors, interval, precision, recall",
    "calibration": "the bins of the reliability diagram",
    "mistakes": "every mistake, the surest first",
    "likely_label_errors": "images whose label is likely wrong",
    "near_duplicates": "validation images and the training images that they resemble",
}


class File(NamedTuple):
    """A file beside the page: its path from there, its name, and what is in it."""

    path: str
    name: str
    text: str


def links(results: Results, tables: Sequence[str]) -> list[File]:
    """Links to what the stages have left, and to the report's own tables. Lists with nothing in them are left out."""
    found = [File("report.json", "report.json", "all that this page states, as numbers")]
    found += [File(f"{name}.csv", f"{name}.csv", TABLES[name]) for name in tables]
    views = list(results.views)
    of_views = {predictions_name(view, views): f"the same in the view {view}" for view in views[1:]}
    linked = LINKED | {"evaluate": LINKED["evaluate"] | of_views}
    empty = _empty_lists(results.stages["convert"])
    for stage, names in linked.items():
        folder = results.run.stage_folder(stage)
        found += [
            File(_relative(folder / name, results.run.stage_folder("report")), f"{stage}/{name}", text)
            for name, text in names.items()
            if name not in empty and (folder / name).is_file()
        ]
    return found


def _empty_lists(conversion: Mapping[str, Any]) -> set[str]:
    counts = {
        "rejected.csv": conversion["rejected"],
        "decode_warnings.csv": conversion["decode_warnings"],
        "ignored.csv": len(conversion.get("ignored", {})),
    }
    return {name for name, count in counts.items() if not count}


def _relative(path: Path, folder: Path) -> str:
    """The path as a link from a page in the folder."""
    return quote(os.path.relpath(path, folder))
