"""What conversion sends to its workers arrives as it was sent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.conversion.messages import LOOK, WRITE, Setup, ShardJob, describe
from resnet.datasets.source import FileImage, PixelImage
from resnet.datasets.tfrecords import RecordImage

names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)  # any bytes
paths = names.map(lambda name: Path("/data", name.strip("/")))
offsets = st.integers(0, 2**60)
images = st.one_of(
    st.builds(FileImage, names, paths, offsets, st.integers(-1, 2**60)),
    st.builds(RecordImage, paths, offsets, offsets),
    st.builds(
        lambda name, pixels, width: PixelImage(name, np.frombuffer(pixels * width, np.uint8).reshape(-1, width)),
        names,
        st.binary(min_size=1, max_size=20),
        st.integers(1, 5),
    ),
)


def same(one: object, other: object) -> bool:
    if isinstance(one, PixelImage) and isinstance(other, PixelImage):
        return one.filename == other.filename and np.array_equal(one.pixels, other.pixels)
    return one == other


@given(listed=st.lists(st.tuples(images, st.integers(0, 2**31 - 1)), max_size=8), name=names, digest=st.text())
def test_a_shard_arrives_as_it_was_sent_whatever_bytes_are_in_file_names(listed, name, digest):
    job = ShardJob.unpack(ShardJob(name, listed, digest).pack())
    assert (job.name, job.digest) == (name, digest)
    assert [label for _, label in job.images] == [label for _, label in listed]
    assert all(same(one, other) for (one, _), (other, _) in zip(job.images, listed, strict=True))


@given(folder=paths, classes=st.lists(st.tuples(names, names)), megapixels=st.floats(0.1, 1000))
def test_a_setup_arrives_as_it_was_sent(folder, classes, megapixels):
    setup = Setup(folder, classes, megapixels)
    assert Setup.unpack(setup.pack()) == setup


def test_pixels_that_are_not_contiguous_arrive_as_they_are():
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10)[::2, ::3]
    ((image, _),) = ShardJob.unpack(ShardJob("shard", [(PixelImage("a.png", pixels), 0)], "").pack()).images
    assert image.read() == PixelImage("a.png", pixels).read()


def test_a_kind_of_image_that_cannot_be_sent_is_named():
    with pytest.raises(TypeError, match="cannot pack a str"):
        ShardJob("shard", [("image", 0)], "").pack()  # type: ignore[list-item]


def test_a_job_is_described_by_its_shard():
    job = ShardJob("train-00007-of-01024", [], "")
    assert {describe([kind, *job.pack()]) for kind in (WRITE, LOOK)} == {"the shard train-00007-of-01024"}
