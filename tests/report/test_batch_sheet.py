"""The sheet and the table of a training batch."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sample_images import photographs, write_records

from resnet.images.decoding import Unreadable
from resnet.images.regions import Box
from resnet.loader.replay import shown_in_batch
from resnet.recipes import load_recipe
from resnet.records.shards import Shard, ShardedRecords, shard_name, write_classes
from resnet.report import batch_sheet
from resnet.report.batch_sheet import TABLE, draw_batch
from resnet.settings import Recipe

SIZE = 32


def recipe_with(*overrides: str) -> Recipe:
    few = ["training.batch_size=10", "training.replica_batch_size=10", "augmentation.scale_min=40"]
    size = [f"model.image_size={SIZE}", "evaluation.shorter_side=40"]
    return load_recipe("imagefolder", [*few, *size, *overrides])[1]


@pytest.fixture
def records(tmp_path) -> ShardedRecords:
    write_records(tmp_path / "records", "train", photographs(20), shards=2)
    return ShardedRecords(tmp_path / "records", "train")


def table_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("crop", ["scale", "area", "pad"])
def test_the_sheet_has_the_pixels_that_the_network_saw(records, tmp_path, crop):
    recipe = recipe_with(f"augmentation.crop={crop}")
    drawn = draw_batch(recipe, records, 1, tmp_path / "sheet.png", most=6)
    assert (drawn.images, drawn.drawn, drawn.substitutes) == (10, 6, 0)
    sheet = np.asarray(Image.open(drawn.sheet))
    factor, gap, width = batch_sheet.SIDE // SIZE, batch_sheet.GAP, sheet.shape[1] // batch_sheet.COLUMNS
    height = sheet.shape[0] // 2
    for shown in list(shown_in_batch(recipe, records, 1))[:6]:
        y, x = shown.row // batch_sheet.COLUMNS * height + gap, shown.row % batch_sheet.COLUMNS * width + gap
        seen = sheet[y : y + batch_sheet.SIDE, x : x + batch_sheet.SIDE][::factor, ::factor]
        np.testing.assert_array_equal(seen, shown.pixels)


def test_the_table_says_of_every_image_which_it_is_and_what_of_it_was_shown(records, tmp_path):
    recipe = recipe_with("augmentation.crop=area", "augmentation.color=false")
    drawn = draw_batch(recipe, records, 1, tmp_path / "sheet.png", most=1)
    rows = table_of(drawn.table)
    assert tuple(rows[0]) == TABLE
    for row, shown in zip(rows, shown_in_batch(recipe, records, 1), strict=True):
        entry = records.index[shown.record]
        assert (row["row"], row["file"], row["label"]) == (str(shown.row), shown.filename, f"class{entry['label']}")
        assert (row["shard"], row["offset"]) == (records.shards[entry["shard"]].name, str(entry["offset"]))
        assert [int(row[name]) for name in ("x", "y", "width", "height")] == list(shown.framing.box)
        assert (row["flipped"], row["epoch"], row["instead_of"]) == (str(int(shown.framing.is_flipped)), "1", "")
        assert row["position"] == str(10 + shown.row)


def test_a_shifted_image_has_a_frame_that_reaches_beyond_it(records, tmp_path):
    recipe = recipe_with("augmentation.crop=pad", "augmentation.color=false", "augmentation.flip=false")
    for row, shown in zip(
        table_of(draw_batch(recipe, records, 0, tmp_path / "s.png").table),
        shown_in_batch(recipe, records, 0),
        strict=True,
    ):
        scale = shown.framing.box.width / SIZE
        dx, dy = shown.framing.shift
        assert float(row["x"]) == pytest.approx(shown.framing.box.x - dx * scale, rel=1e-4, abs=1e-4)
        assert float(row["y"]) == pytest.approx(shown.framing.box.y - dy * scale, rel=1e-4, abs=1e-4)
        assert not shown.pixels[:, : max(dx, 0)].any()


def test_names_with_anything_in_them_are_drawn_and_written_as_they_are(records, tmp_path, records_of):
    folder = records.folder
    names = ["new\nline.jpg", "bad\udcff.jpg", "$formula$,.jpg", "\u202egpj.jpg", "x" * 300, "写真.jpg"]
    images = [one._replace(filename=name) for one, name in zip(records_of(folder, "train"), names, strict=False)]
    for number in range(2):
        Shard(folder, shard_name("train", number, 2)).write(images[number::2])
    write_classes(folder, [("class0", "a\x1bclass"), ("class1", "y" * 300)])
    drawn = draw_batch(recipe_with(), ShardedRecords(folder, "train"), 0, tmp_path / "sheet.png")
    assert {row["file"] for row in table_of(drawn.table)} == set(names)


def test_a_sheet_that_cannot_be_written_leaves_no_file(records, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "sheet.png").mkdir()
    with pytest.raises(OSError, match=r"sheet\.png"):
        draw_batch(recipe_with(), records, 0, tmp_path / "there" / "sheet.png")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["sheet.png"]


def test_an_image_of_which_only_the_crop_can_be_decoded_is_drawn_empty_beside_it(records, tmp_path, monkeypatch):
    class CropOnly:
        height, width = 60, 80

        def region(self, box: Box) -> np.ndarray:
            raise Unreadable("its bits end early")

    recipe = recipe_with()
    first = next(iter(shown_in_batch(recipe, records, 1)))._replace(image=CropOnly())
    monkeypatch.setattr(batch_sheet, "shown_in_batch", lambda *_: iter([first]))
    drawn = draw_batch(recipe, records, 1, tmp_path / "sheet.png")
    beside = np.asarray(Image.open(drawn.sheet))[:, batch_sheet.SIDE + 2 * batch_sheet.GAP :]
    assert (beside == batch_sheet.BESIDE).all(2).any()


@pytest.mark.parametrize(
    ("share", "other", "label"),
    [
        (1.0, None, "cat"),
        (0.996, 1, ">99 % cat + <1 % dog"),
        (0.74, 1, "74 % cat + 26 % dog"),
        (0.5, 1, "50 % cat + 50 % dog"),
        (0.004, 1, ">99 % dog + <1 % cat"),
        (0.0, 1, "dog"),
        (0.6, 0, "cat"),
    ],
)
def test_an_image_of_two_classes_is_named_by_both_and_the_greater_share_comes_first(share, other, label):
    partner = None if other is None else SimpleNamespace(label=other)
    shown = SimpleNamespace(label=0, share=share, partner=partner)
    assert batch_sheet._label(shown, [("n1", "cat"), ("n2", "dog")]) == label


def test_the_table_says_how_each_image_was_changed_and_with_which_it_was_mixed(records, tmp_path):
    settings = ["augmentation.mixup=0.4", "augmentation.policy=trivialaugment", "augmentation.erasing=0.5"]
    recipe = recipe_with(*settings)
    rows = table_of(draw_batch(recipe, records, 1, tmp_path / "sheet.png", most=1).table)
    shown = list(shown_in_batch(recipe, records, 1))
    assert [row["mixing"] for row in rows] == ["mixup"] * 10
    assert [int(row["mixed_with"]) for row in rows] == [9, *range(9)]
    assert [float(row["own_share"]) for row in rows] == pytest.approx([one.share for one in shown], abs=1e-3)
    assert [row["changes"].split(" ") for row in rows] == [list(one.changes) for one in shown]
    assert any("erased" in row["changes"] for row in rows)
