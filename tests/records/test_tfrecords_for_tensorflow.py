"""TensorFlow reads our records: the same labels, and the same pixels as our decoder's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.images.decoding import decode
from resnet.records.example import LabelledImage, encode
from resnet.records.shards import SPLITS
from resnet.records.tfrecord import frame

FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/format": tf.io.FixedLenFeature([], tf.string),
    "image/colorspace": tf.io.FixedLenFeature([], tf.string),
    "image/channels": tf.io.FixedLenFeature([], tf.int64),
    "image/height": tf.io.FixedLenFeature([], tf.int64),
    "image/width": tf.io.FixedLenFeature([], tf.int64),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    "image/class/synset": tf.io.FixedLenFeature([], tf.string),
    "image/class/text": tf.io.FixedLenFeature([], tf.string),
    "image/filename": tf.io.FixedLenFeature([], tf.string),
}


def parsed(paths: list[str]) -> list[dict]:
    records = tf.data.TFRecordDataset(paths).map(lambda record: tf.io.parse_single_example(record, FEATURES))
    return list(records.as_numpy_iterator())


@pytest.fixture(scope="module", params=SPLITS)
def both(request, converted, records_of) -> tuple[list[dict], list[LabelledImage]]:
    """A split's records, read by TensorFlow and by us."""
    paths = sorted(str(path) for path in converted.records.glob(f"{request.param}-*"))
    return parsed(paths), records_of(converted.records, request.param)


def test_tensorflow_reads_the_same_records_in_the_same_order(both):
    theirs, ours = both
    assert len(theirs) == len(ours) > 0
    for their, our in zip(theirs, ours, strict=True):
        assert their["image/encoded"] == our.encoded
        assert their["image/format"].decode() == our.format
        assert (their["image/height"], their["image/width"]) == (our.height, our.width)
        assert their["image/class/label"] == our.label
        assert their["image/class/synset"].decode() == our.synset
        assert their["image/class/text"].decode() == our.text
        assert their["image/filename"].decode() == our.filename
        assert (their["image/colorspace"], their["image/channels"]) == (b"RGB", 3)


def test_tensorflow_decodes_the_same_pixels(both):
    theirs, ours = both
    for their, our in zip(theirs, ours, strict=True):
        if our.format == "JPEG":
            pixels = tf.io.decode_jpeg(their["image/encoded"], channels=3, dct_method="INTEGER_ACCURATE")
        else:
            pixels = tf.io.decode_image(their["image/encoded"], channels=3, expand_animations=False)
        np.testing.assert_array_equal(decode(our.encoded), pixels.numpy(), err_msg=our.filename)


def test_tensorflow_writes_the_same_bytes(tmp_path):
    image = LabelledImage(b"\x89PNG" * 99, "PNG", 7, 9, 3, "n01440764", "tench, Tinca tinca", "café.JPEG")
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        writer.write(encode(image))
    assert (tmp_path / "theirs").read_bytes() == frame(encode(image))


def test_our_message_types_and_tensorflows_can_share_a_process():
    image = LabelledImage(b"bytes", "PNG", 7, 9, 3, "n01440764", "tench", "a.JPEG")
    example = tf.train.Example.FromString(encode(image))
    assert example.features.feature["image/class/label"].int64_list.value == [3]
    assert example.features.feature["image/encoded"].bytes_list.value == [b"bytes"]


def test_tensorflow_detects_a_corrupt_record(converted, tmp_path):
    path = next(converted.records.glob("train-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "corrupt").write_bytes(content)
    with pytest.raises(tf.errors.DataLossError):
        parsed([str(tmp_path / "corrupt")])
