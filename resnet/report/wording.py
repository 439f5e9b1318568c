"""Numbers as the report writes them, on the page as in its other files, and as a training says them."""

from __future__ import annotations

from collections.abc import Sequence

from resnet.settings import Training


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 epoch", "40 epochs"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(value: float) -> str:
    """A percentage with two decimals."""
    return f"{value:.2f} %"


def between(interval: Sequence[float]) -> str:
    """An interval of percentages: "0.43 to 2.83 %"."""
    low, high = interval
    return f"{low:.2f} to {high:.2f} %"


def listed(words: Sequence[object]) -> str:
    """ "20, 30 and 36"."""
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last


def after_epochs(epochs: Sequence[int]) -> str:
    """ "after epoch 20", "after epochs 20, 30 and 36"."""
    return f"after {'epoch' if len(epochs) == 1 else 'epochs'} {listed(epochs)}"


def learning_rate(training: Training) -> str:
    """How it changes within the epochs that are trained."""
    rate = f"{training.learning_rate:g}"
    if training.warmup_epochs:
        rate += f" after a warm-up of {count(training.warmup_epochs, 'epoch')}"
    if training.schedule == "cosine":
        rate += f", along a cosine to {training.final_learning_rate:g}"
    if drops := [epoch for epoch in training.drops if epoch < training.epochs]:
        rate += f", times {training.drop_factor:g} {after_epochs(drops)}"
    return rate


def short(digest: str | None) -> str:
    """The first characters of a digest: enough to tell two apart by eye."""
    return digest[:16] if digest else "not known"
