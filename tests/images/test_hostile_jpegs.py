"""JPEGs that no encoder would write: the kernels stay inside their arrays, and the error gives the reason."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from handmade_jpegs import CATEGORIES, ONLY_END, handmade

from resnet.images import entropy, restarts
from resnet.images.decoding import Unreadable, decode
from resnet.images.regions import Box, IndexedJpeg, open_image
from resnet.images.restarts import Unusual, insert_restarts
from resnet.images.stored import to_stored

ONE_COMPONENT = ((1, 1),)
NEVER_ENDING = (bytes((1, *[0] * 15)), b"\x01")  # a 0 bit is a coefficient, and no code ends a block
CASES = {
    "more symbols declared than there are": handmade(8, 8, dc=(CATEGORIES[0], CATEGORIES[1][:5])),
    "more codes than fit": handmade(8, 8, ac=(bytes((3, *[0] * 15)), b"\0\1\2")),
    "no bits at all": handmade(8, 8, ONE_COMPONENT, bits="0000")[:-3] + b"\xff\xd9",
    "blocks that never end": handmade(8, 8, ONE_COMPONENT, bits="0000" + "00" * 60, ac=NEVER_ENDING),
    "no bits, and blocks that never end": handmade(64, 64, ONE_COMPONENT, bits="0", ac=NEVER_ENDING),
    "a run beyond the block": handmade(8, 8, ONE_COMPONENT, bits="0000" + "0" * 5, ac=(ONLY_END[0], b"\xf0")),
    "a DC category of 12": handmade(8, 8, ONE_COMPONENT, bits="0" + "1" * 15, dc=(ONLY_END[0], b"\x0c")),
    "DC values that add up": handmade(512, 8, ONE_COMPONENT, bits=("1011" + "1" * 11 + "0") * 64, dc=CATEGORIES),
    "bits left over": handmade(8, 8, ONE_COMPONENT, bits="00000" + "1" * 30),
    "another scan behind": handmade(8, 8, ONE_COMPONENT, end=b"\xff\xda\0\x08\1\1\0\0\x3f\0\0\xff\xd9"),
    "an end without its marker": handmade(8, 8, ONE_COMPONENT, end=b"\xd9"),
    "more blocks than bits": handmade(65_000, 65_000, ONE_COMPONENT, bits="0" * 80),
    "all sampling factors of 4": handmade(640, 640, ((4, 4),) * 3, bits="0" * 4000),
}
FUZZ = """
import sys
import numpy as np
from resnet.images.restarts import Unusual, insert_restarts
files = [open(path, "rb").read() for path in sys.argv[1:]]
random = np.random.default_rng(0)
for file in files + files[-3:] * 150:
    changed = bytearray(file)
    if random.random() < 0.9:
        for position in random.integers(0, len(file), random.integers(0, 5)):
            changed[position] = random.integers(0, 256)
    try:
        insert_restarts(bytes(changed), int(random.integers(0, 3)))
    except Unusual:
        pass
"""


def test_no_file_makes_a_kernel_index_outside_an_array(tmp_path, image_files):
    kinds = ("JPEG", "JPEG with restart markers", "JPEG without subsampling")
    for number, content in enumerate([*CASES.values(), *(image_files[kind] for kind in kinds)]):
        (tmp_path / f"{number:02d}.jpg").write_bytes(content)
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    files = sorted(map(str, tmp_path.glob("*.jpg")))
    done = subprocess.run([sys.executable, "-c", FUZZ, *files], env=checked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("more symbols declared than there are", "malformed Huffman table"),
        ("more codes than fit", "malformed Huffman table"),
        ("no bits at all", "invalid scan data"),
        ("blocks that never end", "invalid scan data"),
        ("no bits, and blocks that never end", "invalid scan data"),
        ("a run beyond the block", "invalid scan data"),
        ("a DC category of 12", "DC values out of range"),
        ("DC values that add up", "DC values out of range"),
        ("bits left over", "unexpected markers"),
        ("another scan behind", "several scans"),
        ("an end without its marker", "unexpected markers"),
        ("more blocks than bits", "invalid scan data"),
    ],
)
def test_the_error_says_why_a_file_gets_no_restart_markers(case, reason):
    with pytest.raises(Unusual, match=f"^{reason}$"):
        insert_restarts(CASES[case])


def test_no_memory_is_allocated_for_blocks_that_a_file_is_too_short_for(monkeypatch):
    monkeypatch.setattr(entropy, "read", lambda *arguments: pytest.fail("the scan was read"))
    with pytest.raises(Unusual, match=r"^invalid scan data$"):
        insert_restarts(CASES["more blocks than bits"])


def without(encoded: bytes, marker: int, content: int) -> bytes:
    """The file without the segment that has this marker and whose content begins with this byte."""
    start = encoded.find(bytes((0xFF, marker)))
    while encoded[start + 4] != content:
        start = encoded.find(bytes((0xFF, marker)), start + 2)
    return encoded[:start] + encoded[start + 2 + (encoded[start + 2] << 8 | encoded[start + 3]) :]


@pytest.mark.parametrize(
    ("marker", "content", "reason"),
    [
        (0xDB, 0x00, "quantization tables not in the file"),
        (0xC4, 0x00, "Huffman tables not in the file"),
        (0xC4, 0x10, "Huffman tables not in the file"),
    ],
)
def test_a_file_without_one_of_its_tables_gets_no_restart_markers(marker, content, reason):
    with pytest.raises(Unusual, match=f"^{reason}$"):
        insert_restarts(without(handmade(16, 16), marker, content))


@pytest.mark.parametrize("limit", ["MAX_INTERVALS", "LONGEST"])
def test_a_file_that_is_too_large_for_an_index_gets_no_restart_markers(limit, monkeypatch):
    monkeypatch.setattr(restarts, limit, 3)
    with pytest.raises(Unusual, match=r"^too large for an index$"):
        insert_restarts(handmade(80, 80), 1)


@pytest.mark.parametrize("sampling", [((4, 2), (1, 1), (1, 1)), ((3, 1), (1, 1), (1, 1)), ((1, 1), (2, 1), (2, 1))])
def test_a_jpeg_with_unusual_subsampling_is_stored_unchanged_with_the_reason(sampling):
    encoded = handmade(60, 40, sampling)
    stored = to_stored(encoded)
    assert (stored.encoded, stored.left_whole) == (encoded, "unusual sampling")
    assert stored[2:4] == (40, 60)
    np.testing.assert_array_equal(open_image(encoded).region(Box(3, 5, 9, 7)), decode(encoded)[5:12, 3:12])


def test_a_handmade_file_gets_an_index():
    encoded = handmade(60, 40, ((2, 2), (1, 1), (1, 1)))
    image = open_image(to_stored(encoded).encoded)
    assert isinstance(image, IndexedJpeg)
    np.testing.assert_array_equal(image.region(Box(3, 5, 40, 30)), decode(encoded)[5:35, 3:43])


def test_a_jpeg_that_declares_too_many_pixels_is_unreadable():
    with pytest.raises(Unreadable, match="it has 65,000 x 65,000 pixels"):
        to_stored(CASES["more blocks than bits"])


def test_a_jpeg_that_does_not_fit_into_memory_raises_memory_error(monkeypatch):
    def decode_jpeg(*arguments: object, **options: object) -> np.ndarray:
        raise MemoryError("3 GB")

    monkeypatch.setattr("simplejpeg.decode_jpeg", decode_jpeg)
    with pytest.raises(MemoryError):
        to_stored(handmade(16, 16))
