"""Decoding where memory is short: that says nothing about the image."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from resnet.images.decoding import Unreadable, decode, decode_strictly

SIDE = 3000
DECODE = """
import resource, sys
from resnet.images.decoding import Unreadable, decode, decode_strictly
which, room = sys.argv[1], int(sys.argv[2])
content = sys.stdin.buffer.read()
(size,) = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")]
resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + (room << 20),) * 2)
try:
    {"decode": decode, "decode_strictly": decode_strictly}[which](content)
except (MemoryError, Unreadable) as error:
    print(type(error).__name__)
"""


def outcome(which: str, room: int, content: bytes) -> str:
    """What a process says that has only `room` MiB left to decode in."""
    arguments = [sys.executable, "-c", DECODE, which, str(room)]
    return subprocess.run(arguments, input=content, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize("room", [5, 60])  # MiB; the pixels take 26
@pytest.mark.parametrize(
    ("which", "suffix", "options"),
    [
        ("decode", ".png", ()),
        ("decode", ".jp2", ()),
        ("decode_strictly", ".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)),
    ],
)
def test_an_image_is_not_unreadable_because_memory_is_short(which, suffix, options, room):
    content = cv2.imencode(suffix, np.zeros((SIDE, SIDE, 3), np.uint8), options)[1].tobytes()
    assert outcome(which, room, content) in ("MemoryError", "")  # some find room enough
    assert outcome(which, 5, content) == "MemoryError"


@pytest.mark.parametrize("which", ["decode", "decode_strictly"])
def test_a_corrupt_file_is_unreadable_where_memory_is_not_short(which):
    content = cv2.imencode(".jpg", np.zeros((100, 100, 3), np.uint8))[1].tobytes()[:300]
    assert outcome(which, 500, content) == "Unreadable"


def test_an_error_of_opencv_about_memory_is_a_memory_error(monkeypatch):
    def fails(*_):
        error = cv2.error("Failed to allocate 1200000000 bytes")
        error.code, error.err = -4, "Failed to allocate 1200000000 bytes"
        raise error

    monkeypatch.setattr(cv2, "imdecode", fails)
    with pytest.raises(MemoryError, match="Failed to allocate"):
        decode(b"an image")


def test_a_memory_error_of_the_strict_decoder_is_passed_on(monkeypatch):
    def fails(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr("simplejpeg.decode_jpeg", fails)
    with pytest.raises(MemoryError):
        decode_strictly(b"an image")


def test_an_error_of_opencv_about_anything_else_says_that_the_image_is_unreadable():
    with pytest.raises(Unreadable):
        decode(b"an image")
