"""Crops of restart-indexed JPEGs are the pixels of a full decode."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_images import jpeg, photographs

from resnet.images import regions, restart_index
from resnet.images.decoding import Unreadable, decode, decode_strictly, png
from resnet.images.jpeg import Malformed
from resnet.images.regions import Box, IndexedJpeg, WholeImage, open_image
from resnet.images.restart_index import HEAD, MAX_INTERVALS, read_index
from resnet.images.restarts import insert_restarts

SAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
sizes = st.one_of(st.integers(1, 70), st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49, 64, 65]))


def picture(width: int, height: int, seed: int, roughness: float) -> np.ndarray:
    """RGB pixels between a smooth gradient (roughness 0) and noise (1)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 4, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, 3)
    noise = random.integers(0, 256, smooth.shape)
    return np.clip((1 - roughness) * smooth + roughness * noise, 0, 255).astype(np.uint8)


INDEXED = insert_restarts(jpeg(picture(60, 50, 1, 0.3)))


@st.composite
def jpegs(draw) -> bytes:
    width, height = draw(sizes), draw(sizes)
    pixels = picture(width, height, draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])))
    options = [cv2.IMWRITE_JPEG_QUALITY, draw(st.sampled_from([5, 50, 90, 100]))]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, draw(st.sampled_from([0, 0, 1, 2, 5]))]
    options += [cv2.IMWRITE_JPEG_OPTIMIZE, int(draw(st.booleans()))]
    sampling = draw(st.sampled_from(["grey", *SAMPLINGS]))
    if sampling == "grey":
        return cv2.imencode(".jpg", pixels[:, :, 0], options)[1].tobytes()
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    return cv2.imencode(".jpg", pixels[:, :, ::-1], options)[1].tobytes()


def box_within(draw, width: int, height: int) -> Box:
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


@settings(max_examples=400)
@given(encoded=jpegs(), data=st.data())
def test_any_rectangle_of_an_indexed_jpeg_has_the_pixels_of_a_full_decode(encoded, data):
    whole = decode(encoded)
    indexed = insert_restarts(encoded)
    np.testing.assert_array_equal(decode(indexed), whole)
    image = open_image(indexed)
    assert isinstance(image, IndexedJpeg)
    assert (image.height, image.width) == whole.shape[:2]
    columns = image.index.frame.mcus[0]
    interval = data.draw(st.sampled_from([k for k in range(1, columns + 1) if columns % k == 0]))
    image = open_image(insert_restarts(encoded, interval))
    for _ in range(4):
        box = box_within(data.draw, image.width, image.height)
        expected = whole[box.y : box.y + box.height, box.x : box.x + box.width]
        np.testing.assert_array_equal(image.region(box), expected)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("width", range(16, 40))
def test_every_column_of_a_narrow_image_has_the_pixels_of_a_full_decode(sampling, width):
    # A narrow piece at the right edge could have its chroma interpolated in another way.
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    encoded = cv2.imencode(".jpg", picture(width, 20, width, 1.0), options)[1].tobytes()
    whole, image = decode(encoded), open_image(insert_restarts(encoded, 1))
    for x in range(width):
        np.testing.assert_array_equal(image.region(Box(x, 3, 1, 9)), whole[3:12, x : x + 1])


def test_any_crop_of_a_photograph_has_the_pixels_of_a_full_decode():
    random = np.random.default_rng(0)
    for encoded, _ in photographs(20):
        whole, image = decode(encoded), open_image(insert_restarts(encoded))
        for _ in range(10):
            x, y = int(random.integers(image.width)), int(random.integers(image.height))
            box = Box(x, y, int(random.integers(1, image.width - x + 1)), int(random.integers(1, image.height - y + 1)))
            np.testing.assert_array_equal(image.region(box), whole[y : y + box.height, x : x + box.width])


@given(encoded=jpegs(), data=st.data())
@settings(max_examples=300)
def test_any_rectangle_at_half_size_is_that_of_the_whole_image_at_half_size(encoded, data):
    """With its edges rounded outwards to even pixels."""
    image = open_image(insert_restarts(encoded))
    if not isinstance(image, IndexedJpeg):
        return
    width, height = image.width, image.height
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    found = image.region_at_half(box)
    if found is None:
        assert min(box.width, box.height) < 2 * regions.SMALLEST_HALF
        return
    whole = decode_strictly(encoded, (-(-height // 2), -(-width // 2)))
    assert whole.shape[:2] == (-(-height // 2), -(-width // 2))
    right, bottom = -(-(box.x + box.width) // 2), -(-(box.y + box.height) // 2)
    expected = whole[box.y // 2 : bottom, box.x // 2 : right]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def test_a_photograph_at_half_size_is_near_its_average_over_areas():
    for encoded, _ in photographs(4):
        image = open_image(insert_restarts(encoded))
        whole = Box(0, 0, image.width // 2 * 2, image.height // 2 * 2)
        found = image.region_at_half(whole).astype(int)
        averaged = cv2.resize(image.region(whole), found.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(found - averaged).mean() < 2


def test_an_image_that_is_decoded_already_has_nothing_at_half_size():
    assert WholeImage(np.zeros((8, 8, 3), np.uint8)).region_at_half(Box(0, 0, 8, 8)) is None


def test_a_crop_decodes_little_more_than_itself(monkeypatch):
    encoded = insert_restarts(jpeg(picture(480, 480, 0, 0.3)))
    sizes = []

    def counted(piece: bytes) -> np.ndarray:
        sizes.append(len(piece))
        return decode_strictly(piece)

    monkeypatch.setattr(regions, "decode_strictly", counted)
    open_image(encoded).region(Box(200, 200, 100, 100))
    assert len(sizes) == 1
    assert sizes[0] < len(encoded) / 8  # (100 + 2 x 16)^2 of 480^2 pixels is a thirteenth


def test_files_without_an_index_are_decoded_whole():
    for encoded in (jpeg(picture(40, 30, 0, 0.5)), png(picture(40, 30, 0, 0.5))):
        image = open_image(encoded)
        assert isinstance(image, WholeImage)
        np.testing.assert_array_equal(image.region(Box(3, 4, 20, 10)), decode(encoded)[4:14, 3:23])


@settings(max_examples=300)
@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_a_changed_file_gives_pixels_or_is_unreadable_and_never_another_error(position, value, cut):
    changed = bytearray(INDEXED)
    changed[position % len(changed)] = value
    for content in (bytes(changed), bytes(changed[: cut % len(changed)])):
        try:
            image = open_image(content)
            pixels = image.region(Box(image.width // 3, image.height // 3, 5, 4))
        except Unreadable:
            continue
        assert pixels.dtype == np.uint8


def test_an_image_with_as_many_intervals_as_an_index_holds_has_the_pixels_of_a_full_decode():
    grey = picture(160 * 8, MAX_INTERVALS // 160 * 8, 0, 0.1)[:, :, 0]
    encoded = cv2.imencode(".jpg", grey)[1].tobytes()
    image = open_image(insert_restarts(encoded, 1))
    assert image.index.lengths.size == MAX_INTERVALS
    np.testing.assert_array_equal(image.region(Box(0, 0, image.width, image.height)), decode(encoded))


def test_an_index_of_more_intervals_than_there_may_be_is_not_used(monkeypatch):
    monkeypatch.setattr(restart_index, "MAX_INTERVALS", read_index(INDEXED).lengths.size)
    assert isinstance(open_image(INDEXED), IndexedJpeg)
    monkeypatch.setattr(restart_index, "MAX_INTERVALS", read_index(INDEXED).lengths.size - 1)
    with pytest.raises(Malformed, match="does not match the file"):
        read_index(INDEXED)


def test_an_index_whose_interval_does_not_divide_the_row_is_not_used():
    encoded = bytearray(insert_restarts(jpeg(picture(128, 32, 0, 0.3)), 4))  # rows of 8 MCUs: 2 intervals each
    assert encoded[HEAD.size - 1] == 4
    encoded[HEAD.size - 1] = 3
    with pytest.raises(Malformed, match="does not match the file"):
        read_index(encoded)
