"""What is the same in several runs, what is not, and what that means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from resnet.analysis.mcnemar import compare_images
from resnet.comparison.compared import ComparedRun
from resnet.errors import UserError
from resnet.progress import time_text
from resnet.report.wording import between, listed, percent
from resnet.text_table import text_table

NONE = "–"  # where a run has no such thing


class Row(NamedTuple):
    """A fact of every run, in their order."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The first of the runs is what the others are compared with. `sentences`: one for each of the others."""

    runs: Sequence[ComparedRun]
    results: Sequence[Row]
    settings: Sequence[Row]  # that differ
    sentences: Sequence[str]

    @property
    def names(self) -> list[str]:
        return [run.name for run in self.runs]

    @property
    def settings_sentence(self) -> str:
        """That no setting differs, if so."""
        return "" if self.settings else "all settings are the same"

    def lines(self) -> list[str]:
        """For people, as a table of text."""
        nothing = ("",) * len(self.runs)
        settings = [Row(self.settings_sentence or "settings that differ", nothing), *self.settings]
        rows = [Row("", tuple(self.names)), *self.results, *settings]
        return [*text_table([[row.name, *row.texts] for row in rows]), "", *self.sentences]

    def as_json(self) -> dict[str, Any]:
        """For other programs."""
        return {
            "runs": [
                {
                    "run": run.name,
                    "recipe": run.recipe,
                    "view": run.score.view,
                    "top1_error": run.score.top1_error,
                    "top1_error_interval": run.score.interval,
                    "training_seconds": run.training_seconds,
                    "images_per_second": run.images_per_second,
                }
                for run in self.runs
            ],
            "settings": {row.name: [run.settings.get(row.name) for run in self.runs] for row in self.settings},
            "sentences": list(self.sentences),
        }


def compare_runs(runs: Sequence[ComparedRun]) -> Comparison:
    """Compare each run with the first."""
    names = sorted({name for run in runs for name in run.settings})
    values = {name: tuple(_value(run, name) for run in runs) for name in names}
    differing = [Row(name, texts) for name, texts in values.items() if len(set(texts)) > 1]
    return Comparison(runs, _results(runs), differing, [_sentence(runs[0], run) for run in runs[1:]])


def _results(runs: Sequence[ComparedRun]) -> list[Row]:
    def row(name: str, *texts: str) -> Row:
        return Row(name, texts)

    rows = [
        row("recipe", *(run.recipe for run in runs)),
        row("top-1 error", *(percent(run.score.top1_error) for run in runs)),
        row("95 % interval", *(between(run.score.interval) if run.score.interval else NONE for run in runs)),
        row("view", *(run.score.view for run in runs)),
        row("images evaluated", *(f"{len(run.images):,}" for run in runs)),
        row("training", *(NONE if (s := run.training_seconds) is None else time_text(s) for run in runs)),
        row("images per second", *(NONE if (s := run.images_per_second) is None else f"{s:,.0f}" for run in runs)),
        row("devices", *(listed(run.devices) if run.devices else NONE for run in runs)),
    ]
    return [one for one in rows if set(one.texts) != {NONE}]


def _value(run: ComparedRun, name: str) -> str:
    return json.dumps(run.settings[name]) if name in run.settings else NONE


def _sentence(first: ComparedRun, other: ComparedRun) -> str:
    """Whether the difference between two runs is more than chance, or why that cannot be said."""
    a, b = f"run {first.name}", f"run {other.name}"
    if first.score.view != other.score.view:
        b = f"{b} ({other.score.view}; {a}: {first.score.view})"
    try:
        return compare_images(first.images, other.images, b, a).sentence(b, a)
    except UserError as error:
        return str(error)
