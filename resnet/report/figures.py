"""The report's figures. Each function draws one into `path` and returns whether there was anything to draw.

Names from the data are drawn with `parse_math=False`: otherwise matplotlib takes what is between two "$" for a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # files only: needs no screen

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from resnet.errors import UserError
from resnet.images.decoding import Unreadable
from resnet.loader.batches import training_batches
from resnet.loader.transforms import CenterCrop, show
from resnet.records import example
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.records.tfrecord import CorruptRecord
from resnet.report.names import one_line
from resnet.report.published import Published
from resnet.run import Run

BLUE, ORANGE, GREY, INK = "#2563a8", "#d9722e", "#9aa3ad", "#1f2933"
SHEET = 48  # images on the sheet of augmented images
CONFUSION_CLASSES = 30  # more than these are illegible in a matrix
CAPTION, TICK = 22, 40  # characters that a name may have there
STYLE: Any = {
    "figure.dpi": 150,
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e7eaee",
    "axes.axisbelow": True,
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def curves(log: list[dict[str, float]], path: Path) -> bool:
    """Loss, errors, learning rate and throughput over the epochs."""
    training = [line for line in log if "loss" in line]
    validation = [line for line in log if "validation_loss" in line]
    if not training:
        return False
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True)
        _curve(axes[0, 0], training, "loss", BLUE, "training")
        _curve(axes[0, 0], validation, "validation_loss", ORANGE, "validation", marker=True)
        highest = max(line["loss"] for line in training)
        axes[0, 0].set(title="Loss", ylim=(0, 1.05 * highest))  # the first epochs' validation can be off the scale
        _curve(axes[0, 1], training, "top1_error", BLUE, "training, augmented")
        _curve(axes[0, 1], validation, "validation_top1_error", ORANGE, "validation, moving statistics", marker=True)
        axes[0, 1].set(title="Top-1 error (%)", ylim=(0, None))
        _curve(axes[1, 0], training, "learning_rate", BLUE, "")
        axes[1, 0].set(title="Learning rate", yscale="log", xlabel="epoch")
        _curve(axes[1, 1], training, "images_per_second", BLUE, "")
        axes[1, 1].set(title="Throughput (images/s)", ylim=(0, None), xlabel="epoch")
        waited = np.average([line["data_wait"] for line in training])
        axes[1, 1].text(
            0.99,
            0.04,
            f"waiting for images: {100 * waited:.1f} % of the time",
            transform=axes[1, 1].transAxes,
            ha="right",
        )
        for axis in axes[0]:
            axis.legend(loc="best")
        _save(figure, path)
    return True


def _curve(axis: Axes, lines: list[dict[str, float]], name: str, color: str, label: str, marker: bool = False) -> None:
    xs, ys = [line["epoch"] for line in lines], [line[name] for line in lines]
    axis.plot(xs, ys, color=color, label=label, linewidth=1.2, marker="o" if marker else None, markersize=2.5)


def published(metrics: dict[str, Any], others: list[Published], path: Path) -> bool:
    """This run's top-1 error and its interval, among the published ones of the same network."""
    if not others:
        return False
    rows = sorted(
        [(row.top1_error, f"{row.source} ({row.view})", False) for row in others]
        + [(metrics["top1_error"], "this run (1-crop)", True)]
    )
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 0.6 + 0.28 * len(rows)))
        for place, (error, _, ours) in enumerate(rows):
            color = ORANGE if ours else BLUE
            if ours:
                low, high = metrics["top1_error_interval"]
                axis.plot([low, high], [place, place], color=color, linewidth=4, alpha=0.35, solid_capstyle="butt")
            axis.plot(error, place, "o", color=color)
            axis.annotate(f"{error:.2f}", (error, place), (8, 0), textcoords="offset points", va="center", color=color)
        axis.set_yticks(range(len(rows)), [label for _, label, _ in rows])
        for tick, (_, _, ours) in zip(axis.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("bold" if ours else "normal")
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_xlabel("top-1 error (%)")
        _save(figure, path)
    return True


def augmented_images(run: Run, path: Path) -> bool:
    """The first training images, exactly as the network gets them."""
    records = ShardedRecords(run.records, "train")
    images, labels = [], []
    steps = -(-SHEET // run.recipe.training.batch_size)
    with training_batches(run.recipe, records, workers=1, first_step=0, last_step=steps) as loader:
        for batch in loader:
            images.append(batch.images.copy())  # there may be more batches than slots in the ring
            labels.append(batch.labels)
    names = [_caption(records.classes[label][1]) for label in np.concatenate(labels)[:SHEET]]
    sheet(np.concatenate(images)[:SHEET], names, 12, path)
    return True


def mistakes(run: Run, predictions: pd.DataFrame, path: Path, most: int = 24) -> bool:
    """The most confident mistakes, shown as in evaluation."""
    wrong = predictions[predictions["label"] != predictions["class1"]]
    if wrong.empty:
        return False
    worst = wrong.sort_values("probability1", ascending=False, kind="stable").head(most)
    records = ShardedRecords(run.records, "validation")
    if len(records) != len(predictions):
        has = f"{run.records} has {len(records):,} validation records"
        raise UserError(f"{has}, but {len(predictions):,} were evaluated. Run ConvertRecords.")
    text = dict(records.classes)
    captions = [
        f"{_caption(text[label])}\n{_caption(text[predicted], 'predicted ')}\n{100 * probability:.0f} %"
        for label, predicted, probability in zip(worst["label"], worst["class1"], worst["probability1"], strict=True)
    ]
    sheet(as_evaluated(run, records, worst.index), captions, 8, path)
    return True


def as_evaluated(run: Run, records: ShardedRecords, numbers: Sequence[int]) -> np.ndarray:
    """These validation images as evaluation shows them, uint8 [n, size, size, 3].

    Raises UserError for a record that cannot be read: like evaluation, a report leaves out none.
    """
    size, transform = run.recipe.evaluation_size, CenterCrop.of(run.recipe.evaluation)
    shown = np.empty((len(numbers), size, size, 3), np.uint8)
    with closing(RecordReader(records.shards)) as reader:
        for number, out in zip(numbers, shown, strict=True):
            shard, offset, length = (int(records.index[number][field]) for field in ("shard", "offset", "length"))
            path = records.shards[shard]
            try:
                show(example.encoded_image(reader.payload(shard, offset, length)), transform, [], out)
            except CorruptRecord as error:
                raise UserError(f"{error}. {_remedy(path)}") from None
            except (Unreadable, example.Malformed) as error:
                raise UserError(f"{path}: the record at byte {offset} is corrupt: {error}. {_remedy(path)}") from None
            except OSError as error:
                raise UserError(f"cannot read {path} at byte {offset}: {error.strerror}. {_remedy(path)}") from None
    return shown


def _remedy(shard: Path) -> str:
    if shard.is_symlink():  # records.in_place
        return f"The shard is a link to {shard.resolve()}: get that file again."
    return "To repair the shard, delete it and run ConvertRecords."


def _caption(name: str, before: str = "") -> str:
    return one_line(before + name.split(",")[0], CAPTION)  # ImageNet's names list synonyms


def confusion_matrix(predictions: pd.DataFrame, path: Path) -> bool:
    """Which class is predicted for which label, as a matrix; only for up to CONFUSION_CLASSES."""
    names = sorted(set(predictions["label"]) | set(predictions["class1"]), key=lambda name: (len(name), name))
    if len(names) > CONFUSION_CLASSES:
        return False
    places = {name: place for place, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), int)
    for label, predicted in zip(predictions["label"], predictions["class1"], strict=True):
        matrix[places[label], places[predicted]] += 1
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    texts = [one_line(name, TICK) for name in names]
    with plt.rc_context(STYLE | {"axes.grid": False}):
        side = 2.5 + 0.4 * len(names)
        figure, axis = plt.subplots(figsize=(side, side))
        axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)  # the root makes rare mistakes visible
        for row, column in np.argwhere(matrix):
            color = "white" if share[row, column] > 0.4 else INK
            axis.text(column, row, str(matrix[row, column]), ha="center", va="center", color=color, fontsize=8)
        rotation = 90 if max(map(len, texts)) > 2 else 0
        axis.set_xticks(range(len(texts)), texts, rotation=rotation, parse_math=False)
        axis.set_yticks(range(len(texts)), texts, parse_math=False)
        axis.set(xlabel="predicted", ylabel="label")
        _save(figure, path)
    return True


def sheet(images: np.ndarray, captions: list[str], columns: int, path: Path) -> None:
    """Images (uint8 [n, size, size, 3]) side by side, each under its caption."""
    rows = -(-len(images) // columns)
    lines = max(caption.count("\n") for caption in captions) + 1
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(10, rows * (10 / columns + 0.17 * lines)), squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, image, caption in zip(axes.flat, images, captions, strict=False):
            axis.imshow(image, interpolation="nearest")
            axis.set_title(caption, fontsize=6.5, fontweight="normal", loc="center", pad=2, parse_math=False)
        _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", facecolor="white", dpi=150)
    plt.close(figure)
