"""Headers of image files: the size, before anything is decoded."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resnet.images.decoding import Unreadable, decode
from resnet.images.headers import read_header
from resnet.images.kinds import SIGNATURES, kind_of
from resnet.images.stored import to_stored

KINDS = "jpg png gif bmp webp tiff jp2 avif ppm pam pfm hdr ras"
SUFFIXES = [f".{kind}" for kind in KINDS.split() if cv2.haveImageWriter(f"image.{kind}")]
REFUSED = r"it has 1,100 x 1,000 pixels, more than records.max_megapixels = 1 allows"


def written(suffix: str, width: int, height: int) -> bytes:
    pixels = np.full((height, width, 3), 100, np.float32 if suffix in (".pfm", ".hdr") else np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(width=st.integers(32, 100), height=st.integers(32, 100))
@hypothesis_settings(max_examples=15)
def test_the_header_of_every_kind_says_the_size(suffix, width, height):
    assert read_header(written(suffix, width, height)).size == (width, height)


def test_the_header_of_every_test_file_says_the_size(image_files):
    for kind, content in image_files.items():
        height, width, _ = decode(content).shape
        assert read_header(content).size == (width, height), kind


@pytest.mark.parametrize("kind", ["BigTIFF", "a TIFF with the high byte first", "a BMP from OS/2", "a BMP upside down"])
def test_a_header_of_another_layout_says_the_size(kind):
    entries = [(256, 4, 1100), (257, 3, 1000)]
    headers = {
        "BigTIFF": b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2)
        + b"".join(struct.pack("<HHQQ", tag, form, 1, value) for tag, form, value in entries) + bytes(8),
        "a TIFF with the high byte first": b"MM\0*" + struct.pack(">IH", 8, 2)
        + b"".join(
            struct.pack(">HHI", tag, form, 1) + struct.pack(">I" if form == 4 else ">Hxx", value)
            for tag, form, value in entries
        ) + bytes(4),
        "a BMP from OS/2": b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 1100, 1000, 1, 24),
        "a BMP upside down": b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 1100, -1000, 1, 24),
    }  # fmt: skip
    assert read_header(headers[kind]).size == (1100, 1000)


@pytest.mark.parametrize("suffix", sorted({".bmp", ".jp2"} & set(SUFFIXES)))
def test_a_file_whose_header_says_a_negative_size_is_unreadable(suffix):
    content = bytearray(written(suffix, 64, 48))
    if suffix == ".bmp":
        struct.pack_into("<i", content, 18, -64)
    else:
        struct.pack_into(">I", content, content.find(b"\xff\x4f\xff\x51") + 16, 1000)  # it begins right of its end
    assert read_header(bytes(content)).size is None
    with pytest.raises(Unreadable):
        to_stored(bytes(content))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_image_of_too_many_pixels_is_unreadable_by_its_header_alone(suffix, monkeypatch):
    content = written(suffix, 1100, 1000)
    with monkeypatch.context() as patched:
        patched.setattr(cv2, "imdecode", None)  # calling it would fail
        with pytest.raises(Unreadable, match=REFUSED):
            to_stored(content, max_megapixels=1)
    assert to_stored(content, max_megapixels=1.1).width == 1100


def test_an_image_whose_header_says_no_size_is_measured_when_it_is_decoded(monkeypatch):
    monkeypatch.setattr("resnet.images.headers.READERS", {})
    with pytest.raises(Unreadable, match=REFUSED):
        to_stored(written(".tiff", 1100, 1000), max_megapixels=1)


@given(data=st.data())
@hypothesis_settings(max_examples=300)
def test_a_header_that_is_truncated_or_changed_raises_nothing(image_files, data):
    content = bytearray(data.draw(st.sampled_from([*image_files.values(), *EXAMPLES])))
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, min(len(content), 300) - 1))] = data.draw(st.sampled_from([0, 1, 127, 255]))
    read_header(bytes(content[: data.draw(st.integers(0, len(content)))]))


EXAMPLES = [written(suffix, 50, 40) for suffix in SUFFIXES]


@given(number=st.integers(0, len(SIGNATURES) - 1), content=st.binary(max_size=300))
def test_any_bytes_after_a_signature_raise_nothing(number, content):
    starts = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"BM",
        b"II*\0",
        b"II+\0\x08\0\0\0",
    ]
    read_header(starts[number % len(starts)] + content)


@pytest.mark.parametrize(
    "content",
    [b"", b"BM is the mark of a bitmap, and this is a text about it.\n", b"P1 and P2\n", b"id,label\n1,cat\n"],
)
def test_a_text_is_no_kind_of_image(content):
    assert kind_of(content) == ""
