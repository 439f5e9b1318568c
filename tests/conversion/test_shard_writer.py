"""Writing one shard: what is counted, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from resnet.conversion.messages import ShardJob
from resnet.conversion.shard_writer import write_shard
from resnet.errors import UserError
from resnet.images.perceptual_hash import KIND, perceptual_hash

CLASSES = [("cat", "cat")]


@dataclass
class Bytes:
    """An image of these bytes; without any, memory runs out as it is read."""

    filename: str
    content: bytes

    def read(self) -> bytes:
        if not self.content:
            raise MemoryError
        return self.content

    def name(self) -> str:
        return self.filename

    def stamp(self) -> str:
        return self.filename

    def length(self) -> int:
        return len(self.content)


def write(folder: Path, *contents: bytes) -> dict:
    (folder / "index").mkdir()
    images = [(Bytes(f"{i}.png", content), 0) for i, content in enumerate(contents)]
    job = ShardJob("train-00000-of-00001", images, "digest")
    return write_shard(folder, job, CLASSES, 1, Nobody())


class Nobody:
    """An owner that does not listen."""

    def at(self, what: str) -> None:
        pass

    def warn(self, words: str) -> None:
        pass


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_memory_that_runs_out_rejects_no_image_and_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"memory ran out while converting 1.png.*fewer workers in luigi.cfg"):
        write(tmp_path, png(np.zeros((9, 9), np.uint8)), b"")
    assert not list((tmp_path / "index").iterdir())


def test_memory_that_runs_out_in_the_decoder_rejects_no_image(tmp_path, monkeypatch):
    def fails(*_):
        error = cv2.error("Insufficient memory")
        error.code, error.err = -4, "Insufficient memory"
        raise error

    content = png(np.zeros((9, 9), np.uint8))
    monkeypatch.setattr(cv2, "imdecode", fails)
    with pytest.raises(UserError, match=r"memory ran out while converting 0.png"):
        write(tmp_path, content)


def test_reduced_images_are_counted_by_reason_and_not_as_unchanged(tmp_path):
    twelve_bits = png(np.full((9, 9), 4000, np.uint16))
    transparent = png(np.zeros((9, 9, 4), np.uint8))
    opaque = png(np.full((9, 9, 4), 255, np.uint8))
    summary = write(tmp_path, twelve_bits, twelve_bits, transparent, opaque)
    assert summary["reduced"] == {
        "16 bits to 8: at most 16 of 256 levels remain": 2,
        "transparency dropped": 1,
    }
    assert summary["converted"] == {"PNG with an alpha channel": 1}


def test_a_warning_about_an_image_that_is_decoded_twice_is_listed_once(tmp_path):
    transparent = bytearray(png(np.zeros((9, 9, 4), np.uint8)))
    end = transparent.find(b"IEND") - 4
    transparent[end:end] = b"\0\0\0\4tIMEabcd\0\0\0\0"  # with a wrong checksum
    ((file, warning),) = write(tmp_path, bytes(transparent))["decode_warnings"]
    assert file == "0.png"
    assert warning.count("CRC error") == 1


def test_an_image_of_too_many_megapixels_is_rejected(tmp_path):
    summary = write(tmp_path, png(np.zeros((1000, 1001), np.uint8)), png(np.zeros((1000, 1000), np.uint8)))
    ((file, reason),) = summary["rejected"]
    assert file == "0.png"
    assert reason == "it has 1,001 x 1,000 pixels, more than records.max_megapixels = 1 allows"


def test_the_summary_has_the_hash_of_each_record_in_their_order(tmp_path):
    pixels = [np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8) for i in range(3)]
    encoded = [png(one[:, :, ::-1]) for one in pixels]
    summary = write(tmp_path, encoded[0], b"unreadable", *encoded[1:])
    assert summary["perceptual_hashes"] == {KIND: "".join(map(perceptual_hash, pixels))}
    assert (summary["records"], len(summary["rejected"])) == (3, 1)
