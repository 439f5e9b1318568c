"""Images without records, as evaluation shows them."""

from __future__ import annotations

import itertools
import os
import struct
import zlib

import numpy as np
import pytest

from resnet.images.decoding import png
from resnet.loader.files import AHEAD, ImageFile, ImageStream, Missing, Pixels, View, look_at
from resnet.loader.transforms import CenterCrop, show
from resnet.recipes import load_recipe

INTERPOLATIONS = ("opencv-linear", "pillow-bilinear", "pillow-bicubic")


def view_with(interpolation: str = "opencv-linear", max_megapixels: float = 1) -> View:
    return View(CenterCrop(36, interpolation), 32, max_megapixels)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_file_shows_the_pixels_that_evaluation_shows_of_its_record(converted, photographs, records_of, interpolation):
    view = view_with(interpolation)
    records = [record for split in ("train", "validation") for record in records_of(converted.records, split)]
    seen = list(look_at([ImageFile(str(photographs / record.filename)) for record in records], view, 2))
    assert len(records) == 39
    for record, one in zip(records, seen, strict=True):
        expected = np.empty((32, 32, 3), np.uint8)
        show(record.encoded, view.crop, (), expected)
        np.testing.assert_array_equal(one.pixels, expected, err_msg=record.filename)
    (warned,) = (one for one in seen if one.warning)
    assert warned.file == str(photographs / "cat" / "repaired.jpg")
    assert "decoded with repairs (libjpeg-turbo cannot decode it: Corrupt JPEG data" in warned.warning


def test_the_view_of_a_recipe_is_that_of_its_evaluation_and_its_records():
    _, recipe = load_recipe(
        "imagefolder",
        ["evaluation.image_size=96", "evaluation.interpolation=pillow-bicubic", "records.max_megapixels=7"],
    )
    assert View.of(recipe) == View(CenterCrop.of(recipe.evaluation), 96, 7)


def test_images_come_in_the_order_of_their_sources_however_long_each_takes(picture):
    sizes = [(900, 700) if i % 7 == 0 else (40, 36) for i in range(AHEAD + 20)]
    sources = [Pixels(picture(i, *size)) for i, size in enumerate(sizes)]
    one_by_one = [view_with()(source).pixels for source in sources]
    for seen, expected in zip(look_at(sources, view_with(), 4), one_by_one, strict=True):
        np.testing.assert_array_equal(seen.pixels, expected)


def test_sources_are_taken_only_a_bounded_number_ahead(picture):
    taken = itertools.count()
    endless = (Pixels(picture(next(taken) % 3)) for _ in itertools.count())
    seen = look_at(endless, view_with(), 2)
    for _ in range(5):
        next(seen)
    seen.close()
    assert next(taken) <= AHEAD + 5


def header_of_png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and then ends."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))


@pytest.fixture
def unreadable(tmp_path, image_files) -> dict[str, str]:
    """Paths of files that cannot be read, and a part of the reason that must be said of each."""
    reasons = {
        "empty.jpg": (b"", "the file is empty"),
        "cut.jpg": (image_files["JPEG"][:400], "it is truncated"),
        "cut.png": (image_files["PNG"][:400], "it is not an image, or it is truncated"),
        "text.jpg": (b"no image", "it is not an image"),
        "large.png": (header_of_png(2000, 1000), "it has 2,000 x 1,000 pixels, more than records.max_megapixels = 1"),
    }
    for name, (content, _) in reasons.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "sparse.jpg").touch()
    os.truncate(tmp_path / "sparse.jpg", 1 << 40)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nowhere")
    found = {str(tmp_path / name): reason for name, (_, reason) in reasons.items()}
    return found | {
        str(tmp_path / "sparse.jpg"): "it has 1,099,512 MB",
        str(tmp_path / "pipe.jpg"): "it is not a regular file",
        str(tmp_path / "link.jpg"): "No such file",
        str(tmp_path): "it is not a regular file",
        str(tmp_path / "missing.jpg"): "No such file",
        str(tmp_path / "long" / ("x" * 300)): "No such file",
        "x" * 300: "File name too long",
        "nul\0.jpg": "no file can have this name",
        "": "its name is empty",
    }


def test_each_file_that_cannot_be_read_is_named_with_the_reason_and_the_others_are_seen(
    unreadable, tmp_path, image_files
):
    (tmp_path / "good.jpg").write_bytes(image_files["JPEG"])
    sources = [ImageFile(name) for bad in unreadable for name in (bad, str(tmp_path / "good.jpg"))]
    seen = list(look_at(sources, view_with(), 2))
    assert [one.file for one in seen] == [source.file for source in sources]
    for one in seen[::2]:
        assert one.pixels is None
        assert unreadable[one.file] in one.error
    assert not any(one.error for one in seen[1::2])


def test_what_could_not_be_listed_keeps_its_place_and_its_reason():
    assert view_with()(Missing("folder", "it is locked away")) == ("folder", None, "it is locked away", "")


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_line_of_pixels_that_pillow_would_scale_to_a_giant_is_refused(interpolation):
    seen = view_with(interpolation)(Pixels(np.zeros((1, 40_000, 3), np.uint8)))
    assert ("scaled for evaluation 1,440,000 x 36" in seen.error) == (interpolation != "opencv-linear")


def test_an_image_for_which_there_is_no_memory_is_named(monkeypatch):
    def without_memory(encoded, max_megapixels):
        raise MemoryError

    monkeypatch.setattr("resnet.loader.files.decode_as_stored", without_memory)
    assert "not enough memory" in view_with()(ImageFile(__file__)).error


def test_an_image_from_a_pipe_is_read_to_its_end_and_no_further_than_it_can_need(image_files, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(image_files["PNG"])
    with open(path, "rb") as stream:
        seen = view_with()(ImageStream("-", stream.read(20), stream))
    np.testing.assert_array_equal(seen.pixels, view_with()(ImageFile(str(path))).pixels)
    with open("/dev/zero", "rb") as endless:
        assert "more than an image" in view_with(max_megapixels=0.01)(ImageStream("-", b"", endless)).error


def test_pixels_show_what_a_file_of_them_shows(picture, tmp_path):
    for name, pixels in (("grey.png", picture()[:, :, 0]), ("rgb.png", picture())):
        (tmp_path / name).write_bytes(png(pixels))
        from_file, from_memory = view_with()(ImageFile(str(tmp_path / name))), view_with()(Pixels(pixels))
        assert (from_file.file, from_memory.file) == (str(tmp_path / name), None)
        np.testing.assert_array_equal(from_file.pixels, from_memory.pixels)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((8, 9, 3), np.float32), r"this one is float32 \[8, 9, 3\]"),
        (np.zeros((8, 9), np.int64), r"this one is int64 \[8, 9\]"),
        (np.zeros((3, 8, 9), np.uint8), r"this one is uint8 \[3, 8, 9\]. Move the channels to the end"),
        (np.zeros((8, 9, 4), np.uint8), r"must be uint8 RGB \[height, width, 3\], or grey"),
        (np.zeros((8, 9, 1), np.uint8), r"this one is uint8 \[8, 9, 1\]"),
        (np.zeros((2, 8, 9, 3), np.uint8), "Give a list of images"),
        (np.zeros((0, 9, 3), np.uint8), r"this one is uint8 \[0, 9, 3\]"),
        (np.zeros(9, np.uint8), r"this one is uint8 \[9\]"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_what_is_expected(array, said):
    with pytest.raises(ValueError, match=said):
        Pixels(array)
