"""Images of the report: their pixels where they are small, and few bytes where they are large."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from made_runs import MadeRun
from PIL import Image

from resnet.report.galleries import MOST_BYTES, Gallery, duplicates_gallery, seen_in_training


def gallery(images: np.ndarray, caption: str = "a name") -> Gallery:
    return Gallery("some", images, [[caption, "second line"]] * len(images), ["what it shows"] * len(images))


def bytes_of(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def noise(size: int, grain: int = 1) -> np.ndarray:
    random = np.random.default_rng(0).integers(0, 256, (size // grain, size // grain, 3), np.uint8)
    return cv2.resize(random, (size, size), interpolation=cv2.INTER_NEAREST)


def test_small_images_keep_their_pixels():
    shown = gallery(noise(32)[None])
    (uri,) = shown.uris
    decoded = cv2.imdecode(np.frombuffer(bytes_of(uri), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decoded, shown.images[0])
    assert not shown.is_lossy
    assert shown.are_small


@pytest.mark.parametrize("size", [224, 299, 1000])
def test_large_images_are_a_few_kilobytes_even_where_they_are_noise(size):
    shown = gallery(noise(size, grain=4)[None])
    (uri,) = shown.uris
    assert len(bytes_of(uri)) <= MOST_BYTES
    assert shown.is_lossy
    assert cv2.imdecode(np.frombuffer(bytes_of(uri), np.uint8), cv2.IMREAD_COLOR).shape[:2] == (224, 224)


def test_a_large_image_that_compresses_well_keeps_its_pixels():
    assert not gallery(np.full((1, 224, 224, 3), 7, np.uint8)).is_lossy


def test_a_sheet_is_a_png_file_whose_captions_end_where_their_images_do(tmp_path):
    white = np.full((3, 8, 8, 3), 255, np.uint8)
    path = gallery(white, caption="W" * 100).write_sheet(tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(path).convert("L"))
    cell = pixels.shape[1] // 8
    for place in range(3):
        assert pixels[:, place * cell + cell // 2 : (place + 1) * cell - 12].min() < 128  # the caption
        assert pixels[:, (place + 1) * cell - 6 : (place + 1) * cell].min() == 255  # the gap after it
    again = gallery(white, caption="W" * 100).write_sheet(tmp_path / "again.png")
    assert again.read_bytes() == path.read_bytes()


def test_training_images_are_few_where_they_are_large(tmp_path, results_of):
    run = results_of(MadeRun(size=16, train_images=8).write(tmp_path)).run
    assert len(seen_in_training(run, ["cat", "dog"]).images) == 48
    large = results_of(MadeRun(size=288, train_images=8, name="large").write(tmp_path / "large")).run
    seen = seen_in_training(large, ["cat", "dog"])
    assert len(seen.images) == 14
    assert seen.captions[0] in (["cat"], ["dog"])


def test_near_duplicates_are_side_by_side(tmp_path):
    run = MadeRun(filenames=["a.jpg", "b.jpg", "c.jpg"]).write(tmp_path).run
    row = {"validation_label": "cat", "training_label": "dog", "validation_file": "c.jpg", "training_file": "5.jpg"}
    pair = duplicates_gallery(run, [row], np.array([[2, 5], [0, 0]]))
    assert pair.are_pairs
    assert pair.images.shape == (1, 16, 32, 3)
    assert set(pair.images[0, :, :16].ravel()) == {2 * 7}  # the grey of `made_runs.square`
    assert set(pair.images[0, :, 16:].ravel()) == {5 * 7}
    assert pair.captions == [["cat | dog", "c.jpg", "5.jpg"]]
    assert pair.alts == ["c.jpg, labelled cat, beside 5.jpg, labelled dog"]
