"""The course of a training, from its log: the numbers and the sentences of the report's section on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from resnet.report.wording import after_epochs, percent
from resnet.settings import Training
from resnet.training.log_format import LogLines

MOST_POINTS = 400  # of the log that a curve shows one by one
PER_EPOCH = ("loss", "top1_error", "validation_loss", "validation_top1_error")


@dataclass(frozen=True)
class Course:
    """What the report states of a training. Errors are percent, times are seconds, shares are 0 to 1."""

    epochs: list[dict[str, float | None]]  # of each: PER_EPOCH, means over its lines, and the learning rate at its end
    drops: list[int]  # epochs after which the learning rate dropped
    seconds: float
    images_per_second: float  # median of the log's lines
    data_wait: float  # share of the time spent waiting for images
    slowest_wait: float | None  # greatest share in any line after the first epoch; None where there is none
    unreadable_lines: int
    log_has_changed: bool
    sentences: list[str]


@dataclass(frozen=True)
class Curve:
    """A quantity over the epochs: points from the log, and a moving mean over `window` of its lines."""

    epochs: np.ndarray
    values: np.ndarray
    smooth: np.ndarray
    window: int
    step: int  # every step-th point is kept, the last one too
    lines: int


def course_of(
    log: LogLines,
    training: Training,
    log_has_changed: bool,
    are_images_mixed: bool = False,
    best_step: int | None = None,
) -> Course | None:
    """None of a log without a line about training. `best_step`: that of the weights in best.safetensors."""
    lines = [line for line in log if "loss" in line]
    if not lines:
        return None
    epochs = _by_epoch(log)
    drops = [epoch for epoch in training.drops if 0 < epoch < log[-1]["epoch"]]
    waits = [line["data_wait"] for line in lines]
    later = [line["data_wait"] for line in lines if line["epoch"] > 1]
    return Course(
        epochs=epochs,
        drops=drops,
        seconds=log[-1]["seconds"],
        images_per_second=float(np.median([line["images_per_second"] for line in lines])),
        data_wait=float(np.mean(waits)),
        slowest_wait=max(later) if later else None,
        unreadable_lines=log.unreadable,
        log_has_changed=log_has_changed,
        sentences=_sentences(epochs, drops, are_images_mixed, _epoch_of(best_step, log)),
    )


def _epoch_of(step: int | None, log: LogLines) -> int | None:
    """The epoch whose validation came after this step."""
    table = pd.DataFrame([line for line in log if line["step"] == step and "validation_loss" in line])
    return None if table.empty else int(_numbers(table).iloc[0])


def _numbers(lines: pd.DataFrame) -> pd.Series:
    """The epoch of each line, counted from 1: that which its last batch began in."""
    return (lines["epoch"] * (1 - 1 / lines["step"].clip(lower=1)) // 1).astype(int) + 1


def _by_epoch(log: LogLines) -> list[dict[str, float | None]]:
    """The mean of each epoch's lines."""
    table = pd.DataFrame(log)
    table["number"] = _numbers(table)
    columns = [name for name in PER_EPOCH if name in table]
    means = table.groupby("number")[columns].mean()
    means["learning_rate"] = table.dropna(subset="learning_rate").groupby("number")["learning_rate"].last()
    return [
        {"epoch": number, **{name: None if pd.isna(value) else float(value) for name, value in row.items()}}
        for number, row in zip(means.index.tolist(), means.to_dict("records"), strict=True)
    ]


def _sentences(
    epochs: list[dict[str, float | None]], drops: list[int], are_images_mixed: bool, best_epoch: int | None
) -> list[str]:
    of_mixed = ", of mixed images and the label with the greater share," if are_images_mixed else ""
    sentences = [_trend(f"Training error{of_mixed}", _known(epochs, "top1_error"))]
    if validated := _known(epochs, "validation_top1_error"):
        sentences.append(_trend("Validation error, with moving averages of the statistics,", validated))
        lowest = min(validated.values())
        if lowest < list(validated.values())[-1]:
            first = next(epoch for epoch, error in validated.items() if error == lowest)
            sentences.append(f"It was lowest after epoch {first}, at {percent(lowest)}; the last weights are used.")
        if best_epoch is not None:
            sentences.append(f"The weights after epoch {best_epoch} are in train/best.safetensors.")
    if drops:
        sentences.append(f"The learning rate dropped {after_epochs(drops)}.")
    return sentences


def _known(epochs: list[dict[str, float | None]], key: str) -> dict[int, float]:
    """A number of each epoch that has it, by the epoch."""
    return {int(epoch["epoch"] or 0): value for epoch in epochs if (value := epoch.get(key)) is not None}


def _trend(what: str, by_epoch: dict[int, float]) -> str:
    if not by_epoch:
        return f"{what} is not known."
    first, *_, last = [*by_epoch.values(), *by_epoch.values()]
    if len(by_epoch) == 1:
        return f"{what} was {percent(first)}."
    if first == last:
        return f"{what} was {percent(first)} in the first epoch and in the last."
    verb = "fell" if last < first else "rose"
    return f"{what} {verb} from {percent(first)} to {percent(last)}."


def curve(log: LogLines, name: str) -> Curve:
    """A quantity of the log over the epochs. Points that are not numbers are left out."""
    points = [(line["epoch"], line[name]) for line in log if name in line and np.isfinite(line[name])]
    epochs, values = np.array(points, float).reshape(-1, 2).T
    per_epoch = len(values) / max(epochs[-1], 1.0) if len(values) else 1.0
    window = max(1, round(min(per_epoch, len(values) / 20)))
    smooth = pd.Series(values).rolling(window, center=True, min_periods=1).mean().to_numpy()
    step = max(-(-len(values) // MOST_POINTS), 1)
    kept = slice((len(values) - 1) % step, None, step)  # with the last line, which is what a training ended at
    return Curve(epochs[kept], values[kept], smooth[kept], window, step, len(values))
