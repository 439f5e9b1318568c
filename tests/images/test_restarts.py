"""JPEGs that get restart markers, and those that cannot get any."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_images import jpeg, photographs

from resnet.images import restart_index
from resnet.images.decoding import decode
from resnet.images.jpeg import APP0, APP14, DRI, FRAMES, Frame, read_frame, segments
from resnet.images.restarts import BEST_WIDTH, Unusual, fastest_interval, insert_restarts

PHOTO = photographs(1)[0][0]


def pillow(**options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(decode(PHOTO)).save(file, "JPEG", **options)
    return file.getvalue()


def frame_of(encoded: bytes) -> Frame:
    return next(read_frame(s.marker, encoded[s.start : s.end]) for s in segments(encoded) if s.marker in FRAMES)


def contents(encoded: bytes) -> dict[int, bytes]:
    return {segment.marker: encoded[segment.start : segment.end] for segment in segments(encoded)}


def test_other_decoders_read_the_same_pixels_from_the_indexed_file():
    with Image.open(io.BytesIO(PHOTO)) as original, Image.open(io.BytesIO(insert_restarts(PHOTO))) as indexed:
        np.testing.assert_array_equal(np.asarray(indexed), np.asarray(original))


@pytest.mark.parametrize("interval", [1, 2, 1000])
def test_the_index_has_the_offset_of_each_interval(interval):
    encoded = insert_restarts(jpeg(np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)), interval)
    markers = [
        i for i in range(encoded.rfind(b"\xff\xda"), len(encoded)) if encoded[i] == 0xFF and encoded[i + 1 : i + 2]
    ]
    markers = [i for i in markers if 0xD0 <= encoded[i + 1] <= 0xD9]
    assert contents(encoded)[DRI] == struct.pack(">H", interval)
    if interval == 1000:  # more than the image has: its only interval does not divide a row
        with pytest.raises(restart_index.Malformed):
            restart_index.read_index(encoded)
        return
    index = restart_index.read_index(encoded)
    assert index.lengths.shape == (3, 4 // interval)
    assert [int(start) - 2 for start in index.starts[1:]] == markers
    assert [encoded[i + 1] for i in markers] == [0xD0 + i % 8 for i in range(len(markers) - 1)] + [0xD9]


def test_metadata_is_dropped():
    exif = Image.Exif()
    exif[0x010E] = "a description " * 100
    heavy = pillow(exif=exif, icc_profile=b"profile" * 500, comment=b"a comment")
    encoded = insert_restarts(heavy)
    assert not {0xE1, 0xE2, 0xFE} & set(contents(encoded))
    assert len(encoded) < len(heavy) - 4000
    np.testing.assert_array_equal(decode(encoded), decode(heavy))


def test_the_segments_that_declare_the_colour_space_are_kept():
    rgb = pillow(keep_rgb=True)  # not YCbCr, which Adobe's segment declares
    kept = contents(insert_restarts(rgb))
    assert kept[APP14] == contents(rgb)[APP14]
    np.testing.assert_array_equal(decode(insert_restarts(rgb)), decode(rgb))
    assert contents(insert_restarts(PHOTO))[APP0][:5] == b"JFIF\0"


def test_a_thumbnail_in_the_jfif_header_is_dropped():
    header = b"JFIF\0\1\1\0\0\1\0\1\2\2" + bytes(range(12))
    segment = b"\xff\xe0" + struct.pack(">H", 2 + len(header)) + header
    encoded = PHOTO[:2] + segment + PHOTO[PHOTO.find(b"\xff\xdb") :]
    assert contents(insert_restarts(encoded))[APP0] == header[:12] + b"\0\0"


def test_a_file_whose_tables_lack_codes_for_absolute_values_is_indexed():
    # Blocks that differ by one grey value need only two DC categories; absolute values need many.
    stripes = np.repeat(np.arange(100, 116, dtype=np.uint8), 8)[None, :, None]
    encoded = io.BytesIO()
    Image.fromarray(np.broadcast_to(stripes, (64, 128, 3)).copy()).save(encoded, "JPEG", optimize=True, quality=95)
    indexed = insert_restarts(encoded.getvalue(), 1)
    np.testing.assert_array_equal(decode(indexed), decode(encoded.getvalue()))


def with_frame_marker(marker: int) -> bytes:
    changed = bytearray(PHOTO)
    changed[changed.find(b"\xff\xc0") + 1] = marker
    return bytes(changed)


def with_precision(bits: int) -> bytes:
    changed = bytearray(PHOTO)
    changed[changed.find(b"\xff\xc0") + 4] = bits
    return bytes(changed)


def with_size(height: int, width: int) -> bytes:
    changed = bytearray(PHOTO)
    struct.pack_into(">HH", changed, changed.find(b"\xff\xc0") + 5, height, width)
    return bytes(changed)


def first_component_only() -> bytes:
    changed = bytearray(PHOTO)
    start = changed.find(b"\xff\xda")
    return bytes(changed[:start] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + changed[start + 14 :])


def with_a_marker_out_of_sequence() -> bytes:
    return pillow(restart_marker_blocks=5).replace(b"\xff\xd1", b"\xff\xd2", 1)


def with_a_byte_before_a_marker() -> bytes:
    return pillow(restart_marker_blocks=5).replace(b"\xff\xd0", b"\x55\xff\xd0", 1)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (pillow(progressive=True), "progressive"),
        (with_frame_marker(0xC9), "arithmetic coding"),
        (with_frame_marker(0xC3), "lossless"),
        (with_frame_marker(0xCB), "lossless, hierarchical or arithmetic"),
        (with_precision(12), "not 8 bits per sample"),
        (with_size(0, 50), "height not declared"),
        (with_size(65000, 65000), "invalid scan data"),
        (with_size(400, 400), "invalid scan data"),
        (first_component_only(), "several scans"),
        (PHOTO[:-2] + b"".join(bytes((0xFF, 0xD0 + i % 8)) for i in range(1000)) + b"\xff\xd9", "unexpected markers"),
        (with_a_marker_out_of_sequence(), "unexpected markers"),
        (with_a_byte_before_a_marker(), "unexpected markers"),
        (PHOTO[:40], "malformed header"),
        (PHOTO[:-2], "invalid scan data"),
        (b"", "malformed header"),
    ],
)
def test_the_error_says_why_a_jpeg_gets_no_restart_markers(encoded, reason):
    with pytest.raises(Unusual, match=f"^{reason}"):
        insert_restarts(encoded)


@settings(max_examples=500)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_changed_jpeg_is_indexed_or_unusual_and_never_another_error(changes):
    changed = bytearray(PHOTO)
    for position, value in changes:
        changed[position % len(changed)] = value
    try:
        insert_restarts(bytes(changed))
    except Unusual:
        pass


def test_the_fastest_interval_divides_a_row_and_is_nearest_to_the_best_width():
    for width in range(1, 700):
        frame = Frame(0xC0, 8, 300, width, frame_of(PHOTO).components)
        interval = fastest_interval(frame)
        assert frame.mcus[0] % interval == 0
        others = [k for k in range(1, frame.mcus[0] + 1) if frame.mcus[0] % k == 0]
        assert abs(interval * 16 - BEST_WIDTH) == min(abs(k * 16 - BEST_WIDTH) for k in others)


def test_a_huge_image_gets_longer_intervals_so_that_its_index_fits():
    frame = Frame(0xC0, 8, 8000, 12000, frame_of(PHOTO).components)
    assert frame.mcus[0] // fastest_interval(frame) * frame.mcus[1] <= restart_index.MAX_INTERVALS
