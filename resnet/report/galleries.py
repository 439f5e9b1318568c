"""Images with captions: a grid on the page, and a sheet for slides."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.transforms import Bbox, TransformedBbox

from resnet.errors import UserError
from resnet.files import atomic
from resnet.images.decoding import Unreadable, png
from resnet.loader.batches import training_batches
from resnet.loader.transforms import CenterCrop, show
from resnet.records import example
from resnet.records.shards import RecordReader, ShardedRecords, way_to_mend
from resnet.records.tfrecord import CorruptRecord
from resnet.report.drawing import STYLE, any_letters
from resnet.report.findings import Selection
from resnet.report.names import first_name, one_line
from resnet.run import Run

LARGEST, SMALL = 224, 64  # pixels: the page shows images no larger; up to here each pixel as a square
LOSSLESS_BYTES, MOST_BYTES = 12_000, 32_000  # PNG up to the first; WebP of falling quality up to the second
QUALITIES = (90, 75, 50, 25)
SEEN_PIXELS = 24 * 224 * 224  # of training images on the page: 24 large ones, or up to SEEN small ones
SEEN = 48
COLUMNS = 8  # of a sheet
CELL, GAP, TEXT = 1.25, 0.06, 0.12  # inches: height of an image and the gap below it, of a caption's line
LINE = 36  # characters of a caption's line


@dataclass(frozen=True)
class Gallery:
    """Images (uint8 [n, size, size, 3]; pairs, side by side, [n, size, 2 size, 3]), each with the lines of its caption
    and a text for who does not see it."""

    name: str  # of its sheet, without the ending
    images: np.ndarray
    captions: list[list[str]]
    alts: list[str]

    @cached_property
    def uris(self) -> list[str]:
        """Each image as a data URI."""
        return [_uri(image) for image in self.images]

    @property
    def are_pairs(self) -> bool:
        return self.images.shape[2] > self.images.shape[1]

    @property
    def are_small(self) -> bool:
        """Whether their pixels are larger than those of a screen."""
        return self.images.shape[1] <= SMALL

    @property
    def is_lossy(self) -> bool:
        """Whether some of the URIs have other pixels than the images."""
        return self.images.shape[1] > LARGEST or any(uri.startswith("data:image/webp") for uri in self.uris)

    def write_sheet(self, path: Path) -> Path:
        """Write all images with their captions as one PNG file; returns the path."""
        columns = COLUMNS // 2 if self.are_pairs else COLUMNS
        width = COLUMNS * CELL / columns
        height = CELL + TEXT * max(map(len, self.captions)) + GAP
        rows = -(-len(self.images) // columns)
        with mpl.rc_context(STYLE):
            canvas = Canvas(figsize=(columns * width, rows * height), facecolor="white", dpi=180)
            sheet = canvas.add_axes((0, 0, 1, 1), xlim=(0, columns * width), ylim=(rows * height, 0))
            sheet.axis("off")
            for number, (image, caption) in enumerate(zip(self.images, self.captions, strict=True)):
                _place(sheet, image, caption, number % columns * width, number // columns * height, width - GAP)
            with any_letters(), atomic(path) as file:
                FigureCanvasAgg(canvas).print_png(file, metadata={"Software": None})
        return path


def _place(sheet: Axes, image: np.ndarray, caption: Sequence[str], left: float, top: float, width: float) -> None:
    """An image above its caption, which ends where the image does, whatever letters it has. In inches."""
    bottom = top + CELL - GAP
    sheet.imshow(image, extent=(left, left + width, bottom, top), aspect="auto")
    below = TransformedBbox(Bbox([(left, top), (left + width, bottom + 1)]), sheet.transData)
    for place, line in enumerate(caption):
        text = sheet.text(left, bottom + GAP / 2 + TEXT * place, one_line(line, LINE), fontsize=6.5, va="top")
        text.set(parse_math=False, clip_on=True, clip_box=below)


def _uri(image: np.ndarray) -> str:
    """A small image as it is; a large one compressed with losses, so that a page of a hundred can be mailed."""
    if len(image) > LARGEST:
        width = LARGEST * image.shape[1] // image.shape[0]
        image = cv2.resize(image, (width, LARGEST), interpolation=cv2.INTER_AREA)
    content, kind = png(image), "png"
    for quality in QUALITIES:
        if len(content) <= (LOSSLESS_BYTES if kind == "png" else MOST_BYTES):
            break
        _, encoded = cv2.imencode(".webp", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
        content, kind = encoded.tobytes(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def seen_in_training(run: Run, names: Sequence[str]) -> Gallery:
    """The first training images, exactly as the network gets them, but for mixup and CutMix. `names`: those of the
    classes, by label."""
    records = ShardedRecords(run.records, "train")
    most = min(SEEN, max(SEEN_PIXELS // run.recipe.model.image_size**2, 1))
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    steps = -(-most // run.recipe.training.batch_size)
    with training_batches(run.recipe, records, workers=1, first_step=0, last_step=steps) as loader:
        for batch in loader:
            if images and batch.images.shape[1] != images[0].shape[1]:
                break  # of a few images, the next epoch's are shown too, and may be larger
            images.append(batch.images.copy())  # there may be more batches than slots in the ring
            labels.append(batch.labels)
    captions = [names[label] for label in np.concatenate(labels)[:most]]
    return Gallery(
        "augmented",
        np.concatenate(images)[:most],
        [[first_name(caption)] for caption in captions],
        [f"A training image of the class {caption}" for caption in captions],
    )


def validation_gallery(name: str, run: Run, selection: Selection, images: int, *, taken: str) -> Gallery:
    """The validation images of a selection, shown as evaluation shows them. `taken`: the words before the answer.

    `images`: how many were evaluated. Raises UserError where the records have another number, or one cannot be read.
    """
    records = ShardedRecords(run.records, "validation")
    if len(records) != images:
        has = f"{run.records} has {len(records):,} validation records"
        raise UserError(f"{has}, but {images:,} were evaluated. Run ConvertRecords.")
    shown = selection.shown
    return Gallery(
        name,
        as_evaluated(run, records, [one.row for one in shown]),
        [
            [first_name(one.label), f"{taken} {first_name(one.predicted)}", _share(one.probability), one.file]
            for one in shown
        ],
        [f"{one.file}, labelled {one.label}, {taken} {one.predicted}" for one in shown],
    )


def duplicates_gallery(run: Run, shown: Sequence[Mapping[str, Any]], places: np.ndarray) -> Gallery:
    """Pairs of near-duplicates. `places`: of the validation and the training image in the records, int [n, 2]."""
    sides = [
        as_evaluated(run, ShardedRecords(run.records, split), places[: len(shown), side].tolist())
        for side, split in enumerate(("validation", "train"))
    ]
    captions = [
        [
            f"{first_name(row['validation_label'])} | {first_name(row['training_label'])}",
            row["validation_file"],
            row["training_file"],
        ]
        for row in shown
    ]
    alts = [
        f"{row['validation_file']}, labelled {row['validation_label']}, beside {row['training_file']}, labelled "
        f"{row['training_label']}"
        for row in shown
    ]
    return Gallery("duplicates", np.concatenate(sides, axis=2), captions, alts)


def _share(probability: float | None) -> str:
    return "no probability" if probability is None else f"{100 * probability:.0f} %"


def as_evaluated(run: Run, records: ShardedRecords, numbers: Sequence[int]) -> np.ndarray:
    """These images of a split as evaluation shows them, uint8 [n, size, size, 3].

    Raises UserError for a record that cannot be read: like evaluation, a report leaves out none.
    """
    size, transform = run.recipe.evaluation_size, CenterCrop.of(run.recipe.evaluation)
    shown = np.empty((len(numbers), size, size, 3), np.uint8)
    with closing(RecordReader(records.shards)) as reader:
        for number, out in zip(numbers, shown, strict=True):
            shard, offset, length = (int(records.index[number][field]) for field in ("shard", "offset", "length"))
            path, way_on = records.shards[shard], way_to_mend(records.shards[shard])
            try:
                show(example.encoded_image(reader.payload(shard, offset, length)), transform, [], out)
            except CorruptRecord as error:
                raise UserError(f"{error}. {way_on}") from None
            except (Unreadable, example.Malformed) as error:
                raise UserError(f"{path}: the record at byte {offset} is corrupt: {error}. {way_on}") from None
            except OSError as error:
                raise UserError(f"cannot read {path} at byte {offset}: {error.strerror}. {way_on}") from None
    return shown
