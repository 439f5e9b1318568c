"""A training batch on a sheet: each image as the network saw it, beside the whole image with the frame of what it saw.

Beside the sheet is a table of the whole batch. It needs no TensorFlow and no lock, so it can be made while the run
trains.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resnet.files import atomic
from resnet.images.decoding import Unreadable
from resnet.images.regions import Box
from resnet.loader.replay import ShownImage, shown_in_batch
from resnet.records.shards import ShardedRecords
from resnet.report.names import one_line
from resnet.settings import Recipe

COLUMNS = 4  # images side by side
SIDE, WIDE, GAP = 160, 216, 8  # pixels: of the network's view, of the whole image beside it, and between them
LINE, LINES = 16, 3  # pixels of a line of text, and lines below an image
LETTERS = 54  # that fit into a line
PAPER, INK, BESIDE, FRAME = (255, 255, 255), (31, 41, 51), (225, 229, 234), (217, 114, 46)
TABLE = (
    "row",
    "file",
    "label",
    "shard",
    "offset",
    "x",
    "y",
    "width",
    "height",
    "flipped",
    "epoch",
    "position",
    "instead_of",
    "changes",
    "mixing",
    "mixed_with",
    "own_share",
)


class BatchSheet(NamedTuple):
    """What was drawn."""

    sheet: Path
    table: Path
    images: int  # of the batch: all are in the table
    drawn: int  # of these, on the sheet
    substitutes: int  # of corrupt records, among the images


def draw_batch(
    recipe: Recipe, records: ShardedRecords, batch: int, sheet: Path, *, corrupt: Sequence[str] = (), most: int = 32
) -> BatchSheet:
    """Draw the first `most` images of a training batch, counted from 0, into the PNG file `sheet`, and write a table
    of all its images beside it, as a .csv file.

    `corrupt`: see `shown_in_batch`. Raises UserError for a shard that cannot be read, OSError for a file that cannot
    be written.
    """
    rows: list[Sequence[object]] = []
    substitutes = 0

    def noted() -> Iterator[ShownImage]:
        nonlocal substitutes
        for shown in shown_in_batch(recipe, records, batch, corrupt):
            rows.append(_row(shown, records))
            substitutes += shown.instead_of is not None
            yield shown

    images = noted()
    picture, drawn = _draw(itertools.islice(images, most), records.classes)
    for _ in images:  # the rest is for the table alone
        pass
    table = sheet.with_suffix(".csv")
    with atomic(sheet) as file:
        picture.save(file, "PNG")
    with atomic(table, "w") as file:
        writer = csv.writer(file)
        writer.writerow(TABLE)
        writer.writerows(rows)
    return BatchSheet(sheet, table, len(rows), drawn, substitutes)


def _row(shown: ShownImage, records: ShardedRecords) -> Sequence[object]:
    """A row of the table. Labels are identifiers of classes; the frame is in pixels of the stored image; epochs count
    from 1, places in the batch and in the epoch from 0. An image has `own_share` of itself, and the rest of the one in
    row `mixed_with`."""
    frame = [f"{value:g}" for value in shown.framing.frame(len(shown.pixels))]
    label = records.classes[shown.label][0]
    flipped, instead = int(shown.framing.is_flipped), _place(records, shown.instead_of)
    shard, offset = _place(records, shown.record).split(":")
    place = [shown.row, shown.filename, label, shard, offset, *frame, flipped, shown.epoch + 1, shown.position]
    partner = "" if shown.partner is None else shown.partner.row
    return [*place, instead, " ".join(shown.changes), shown.mixing, partner, f"{shown.share:.3g}"]


def _place(records: ShardedRecords, record: int | None) -> str:
    """SHARD:BYTE of a record; empty for none."""
    if record is None:
        return ""
    entry = records.index[record]
    return f"{records.shards[entry['shard']].name}:{entry['offset']}"


def _draw(images: Iterable[ShownImage], classes: Sequence[tuple[str, str]]) -> tuple[Image.Image, int]:
    tiles = [_tile(shown, classes) for shown in images]
    width, height = tiles[0].size
    columns = min(COLUMNS, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), PAPER)
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * width, number // columns * height))
    return sheet, len(tiles)


def _tile(shown: ShownImage, classes: Sequence[tuple[str, str]]) -> Image.Image:
    """An image as the network saw it, the whole image with the frame, and what there is to say."""
    tile = Image.new("RGB", (SIDE + WIDE + 3 * GAP, SIDE + LINES * LINE + 2 * GAP), PAPER)
    tile.paste(Image.fromarray(_scaled(shown.pixels, SIDE, SIDE)), (GAP, GAP))
    tile.paste(_whole(shown), (SIDE + 2 * GAP, GAP))
    pencil = ImageDraw.Draw(tile)
    lines = (f"{shown.row}: {_label(shown, classes)}", shown.filename, _remark(shown))
    for number, line in enumerate(lines):
        place = (GAP, SIDE + GAP + 2 + number * LINE)
        pencil.text(place, one_line(line, LETTERS), fill=FRAME if number == 2 else INK, font=_font())
    return tile


def _label(shown: ShownImage, classes: Sequence[tuple[str, str]]) -> str:
    """The name of the class; of an image of two classes both, the greater share first."""
    shares = {shown.label: shown.share}
    if shown.partner:
        shares[shown.partner.label] = shares.get(shown.partner.label, 0) + 1 - shown.share
    both = [(share, classes[label][1]) for label, share in sorted(shares.items(), key=lambda one: -one[1]) if share]
    return both[0][1] if len(both) == 1 else " + ".join(f"{_percent(share)} {name}" for share, name in both)


def _percent(share: float) -> str:
    """Of a share that is neither nothing nor all."""
    whole = round(100 * share)
    return "<1 %" if whole == 0 else ">99 %" if whole == 100 else f"{whole} %"


def _remark(shown: ShownImage) -> str:
    parts = [f"{shown.mixing} with {shown.partner.row}"] if shown.partner else []
    if shown.instead_of is not None:
        parts.append("instead of a corrupt record")
    dx, dy = shown.framing.shift
    if dx or dy:
        parts.append(f"moved {dx:+d}, {dy:+d}")
    if shown.framing.is_flipped:
        parts.append("flipped")
    parts += [change.replace("_", " ") for change in shown.changes]
    return ", ".join(parts)


def _whole(shown: ShownImage) -> Image.Image:
    """The whole image, as large as WIDE and SIDE allow, with the frame of what the network saw."""
    image, (x, y, width, height) = shown.image, shown.framing.frame(len(shown.pixels))
    left, top = min(x, 0), min(y, 0)  # the frame may reach beyond the image
    right, bottom = max(x + width, image.width), max(y + height, image.height)
    scale = min(WIDE / (right - left), SIDE / (bottom - top))
    seen_width, seen_height = max(round(scale * image.width), 1), max(round(scale * image.height), 1)
    try:
        pixels = _scaled(image.region(Box(0, 0, image.width, image.height)), seen_width, seen_height)
    except Unreadable:  # although the crop could be decoded: an empty image beside it says so
        pixels = np.full((seen_height, seen_width, 3), BESIDE, np.uint8)
    whole = Image.new("RGB", (round(scale * (right - left)), round(scale * (bottom - top))), BESIDE)
    whole.paste(Image.fromarray(pixels), (round(-scale * left), round(-scale * top)))
    corners = [scale * (x - left), scale * (y - top), scale * (x + width - left) - 1, scale * (y + height - top) - 1]
    ImageDraw.Draw(whole).rectangle(corners, outline=FRAME, width=2)
    return whole


def _scaled(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Enlarged pixels stay squares, so that small images look as the network sees them."""
    shrinks = width < pixels.shape[1]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)


def _font() -> ImageFont.FreeTypeFont:
    """matplotlib brings a font with most scripts, wherever this runs."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 12)
