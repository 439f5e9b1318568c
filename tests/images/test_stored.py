"""Image files as records store them, and files that are unreadable."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from handmade_jpegs import handmade
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from resnet.images import restarts
from resnet.images.decoding import Unreadable, decode, png
from resnet.images.regions import IndexedJpeg, open_image
from resnet.images.stored import decode_as_stored, to_stored

KEPT = {
    "JPEG": "JPEG",
    "grey JPEG": "JPEG",
    "progressive JPEG": "JPEG",
    "JPEG without subsampling": "JPEG",
    "JPEG of odd size": "JPEG",
    "JPEG with restart markers": "JPEG",
    "PNG": "PNG",
    "grey PNG": "PNG",
}
CHANGED = {
    "CMYK JPEG": "JPEG of 4 components",
    "YCCK JPEG": "JPEG of 4 components",
    "palette PNG": "palette PNG",
    "two-colour PNG": "1-bit PNG",
    "16-bit PNG": "16-bit PNG",
    "RGBA PNG": "PNG with an alpha channel",
    "grey PNG with alpha": "PNG with an alpha channel",
    "PNG with a transparent colour": "PNG with an alpha channel",
    "WebP": "WebP",
    "lossless WebP": "WebP",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "packed TIFF": "TIFF",
    "GIF": "GIF",
}


def as_opencv_sees(content: bytes) -> np.ndarray:
    """RGB pixels, decoded by OpenCV with another flag than the package uses."""
    blue_first = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return blue_first[:, :, ::-1]


def test_every_kind_of_test_file_is_covered(image_files):
    assert set(image_files) == set(KEPT) | set(CHANGED)


@pytest.mark.parametrize("kind", ["progressive JPEG", "PNG", "grey PNG"])
def test_a_plain_png_and_an_unusual_jpeg_are_stored_byte_for_byte(image_files, kind):
    stored = to_stored(image_files[kind])
    assert stored.encoded == image_files[kind]
    assert (stored.format, stored.converted_from) == (KEPT[kind], "")


@pytest.mark.parametrize("kind", [kind for kind in KEPT if "JPEG" in kind and kind != "progressive JPEG"])
def test_a_sequential_jpeg_is_stored_with_a_restart_index(image_files, kind):
    stored = to_stored(image_files[kind])
    assert isinstance(open_image(stored.encoded), IndexedJpeg)
    assert (stored.format, stored.converted_from, stored.left_whole) == ("JPEG", "", "")


def test_a_progressive_jpeg_is_left_whole_with_the_reason(image_files):
    assert to_stored(image_files["progressive JPEG"]).left_whole == "progressive"


def test_a_jpeg_whose_pixels_would_change_is_stored_unchanged(image_files, monkeypatch):
    def with_another_quantization(encoded: bytes) -> bytes:
        changed = bytearray(encoded)
        changed[encoded.find(b"\xff\xdb") + 6] ^= 7
        return bytes(changed)

    monkeypatch.setattr(restarts, "insert_restarts", with_another_quantization)
    stored = to_stored(image_files["JPEG"])
    assert (stored.encoded, stored.left_whole) == (image_files["JPEG"], "pixels would change")


@pytest.mark.parametrize("kind", CHANGED)
def test_any_other_file_becomes_a_png_of_the_pixels_that_opencv_decodes(image_files, kind):
    stored = to_stored(image_files[kind])
    assert stored.format == "PNG"
    assert stored.converted_from == CHANGED[kind]
    with Image.open(io.BytesIO(stored.encoded)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), as_opencv_sees(image_files[kind]))


@pytest.mark.parametrize("kind", [*KEPT, *CHANGED])
def test_the_stored_file_decodes_to_the_original_pixels_in_the_stated_size(image_files, kind):
    stored = to_stored(image_files[kind])
    pixels = decode(stored.encoded)
    np.testing.assert_array_equal(pixels, as_opencv_sees(image_files[kind]))
    assert pixels.shape == (stored.height, stored.width, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("kind", [*KEPT, *CHANGED])
def test_storing_a_stored_file_changes_nothing(image_files, kind):
    stored = to_stored(image_files[kind])
    assert to_stored(stored.encoded) == stored._replace(converted_from="", reduced=())


def test_red_is_the_first_channel(encoded):
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 255
    assert decode(encoded(red, "PNG"))[3, 3].tolist() == [255, 0, 0]


def test_a_lossless_file_keeps_its_exact_pixels(picture, image_files):
    for kind in ("PNG", "BMP", "TIFF", "packed TIFF", "lossless WebP"):
        np.testing.assert_array_equal(decode(to_stored(image_files[kind]).encoded), picture())


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_ignored(picture, encoded, kind, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    plain, tagged = encoded(picture(), kind), encoded(picture(), kind, exif=exif)
    assert plain != tagged
    np.testing.assert_array_equal(decode(to_stored(tagged).encoded), decode(to_stored(plain).encoded))


def test_a_jpeg_with_a_thumbnail_is_recognised_by_its_own_header(picture, encoded):
    # The thumbnail is grey and complete, so its components and its end marker must not count as the image's.
    thumbnail = encoded(picture(1, 16, 16), "JPEG", "L")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    cmyk = encoded(picture(), "JPEG", "CMYK")
    assert to_stored(cmyk[:2] + segment + cmyk[2:]).converted_from == CHANGED["CMYK JPEG"]
    rgb = encoded(picture(), "JPEG")
    whole = rgb[:2] + segment + rgb[2:]
    np.testing.assert_array_equal(decode(to_stored(whole).encoded), as_opencv_sees(rgb))
    with pytest.raises(Unreadable):
        to_stored(whole[:-2])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc0", b"\xff\xda"])
def test_fill_bytes_before_a_marker_are_allowed(image_files, marker, count):
    content = image_files["JPEG"]
    place = content.find(marker)
    filled = content[:place] + b"\xff" * count + content[place:]
    assert to_stored(filled) == to_stored(content)


def test_bytes_after_the_end_of_a_jpeg_are_allowed(image_files):
    content = image_files["JPEG"]
    assert to_stored(content + b"written by a camera") == to_stored(content)


@pytest.mark.parametrize("kind", [*KEPT, *CHANGED])
@given(data=st.data())
@hypothesis_settings(max_examples=25)
def test_a_file_truncated_anywhere_is_unreadable(image_files, kind, data):
    content = image_files[kind]
    with pytest.raises(Unreadable):
        to_stored(content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG", "grey JPEG"])
def test_a_jpeg_truncated_by_a_few_bytes_is_unreadable(image_files, kind):
    for missing in range(1, 40):
        with pytest.raises(Unreadable):
            to_stored(image_files[kind][:-missing])


@pytest.mark.parametrize("kind", ["JPEG", "grey JPEG"])
def test_a_jpeg_with_other_bytes_in_place_of_its_end_marker_is_unreadable(image_files, kind):
    with pytest.raises(Unreadable, match="truncated"):
        to_stored(image_files[kind][:-2] + b"another file's bytes")


@pytest.mark.parametrize("kind", ["JPEG", "grey JPEG"])
@pytest.mark.parametrize("filling", [b"\0", b"\x55"])
def test_a_jpeg_whose_end_was_never_written_is_unreadable(image_files, kind, filling):
    content = image_files[kind]
    half = content[: len(content) // 2]
    with pytest.raises(Unreadable):
        to_stored(half + filling * (len(content) - len(half)))


def test_the_error_says_that_a_file_is_truncated(image_files):
    with pytest.raises(Unreadable, match="truncated"):
        to_stored(image_files["JPEG"][:-10])
    with pytest.raises(Unreadable, match="truncated"):
        to_stored(image_files["PNG"][:-10])


def test_the_error_says_that_a_file_is_empty():
    with pytest.raises(Unreadable, match="empty"):
        to_stored(b"")


@pytest.mark.parametrize(
    "content",
    [
        b"Not an image, but a note about one.\n",
        b"<html><body>404 Not Found</body></html>",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"BM",
        b"GIF89a",
        b"II*\0",
        bytes(1000),
    ],
)
def test_a_file_without_an_image_is_unreadable(content):
    with pytest.raises(Unreadable):
        to_stored(content)


@given(start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]), content=st.binary())
def test_random_bytes_are_unreadable(start, content):
    with pytest.raises(Unreadable):
        to_stored(start + content)


@pytest.mark.parametrize("kind", [*KEPT, *CHANGED])
@given(data=st.data())
@hypothesis_settings(max_examples=15)
def test_a_changed_file_is_unreadable_or_stored_with_the_pixels_that_opencv_decodes(image_files, kind, data):
    content = bytearray(image_files[kind])
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        stored = to_stored(bytes(content))
    except Unreadable:
        return
    np.testing.assert_array_equal(decode(stored.encoded), as_opencv_sees(bytes(content)))


def test_a_png_that_declares_too_many_pixels_is_unreadable(image_files):
    content = bytearray(image_files["PNG"])
    content[16:24] = struct.pack(">II", 900_000, 900_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(Unreadable):
        to_stored(bytes(content))


@given(height=st.integers(1, 20), width=st.integers(1, 20), grey=st.booleans(), seed=st.integers(0, 1000))
def test_pixels_encoded_as_png_are_decoded_unchanged(height, width, grey, seed):
    shape = (height, width) if grey else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    expected = np.repeat(pixels[:, :, None], 3, axis=2) if grey else pixels
    np.testing.assert_array_equal(decode(png(pixels)), expected)


def test_decoding_warns_of_a_jpeg_that_is_not_in_order_and_not_of_unusual_sampling(image_files, repaired_jpeg):
    assert "Corrupt JPEG data" in decode_as_stored(repaired_jpeg).warning
    for encoded in (handmade(40, 40, ((3, 1), (1, 1), (1, 1))), *image_files.values()):
        assert decode_as_stored(encoded).warning == ""
