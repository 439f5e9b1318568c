"""tf.train.Example, encoded and decoded without TensorFlow."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.records.example import LabelledImage, Malformed, decode, encode, encoded_image

filenames = st.one_of(st.text(), st.binary().map(os.fsdecode))  # filenames need not be UTF-8
images = st.builds(
    LabelledImage,
    encoded=st.binary(max_size=3000),
    format=st.sampled_from(["JPEG", "PNG"]),
    height=st.integers(0, 2**31),
    width=st.integers(0, 2**31),
    label=st.integers(-(2**63), 2**63 - 1),
    synset=filenames,
    text=filenames,
    filename=filenames,
)


@given(image=images)
def test_decoding_gives_back_the_encoded_image(image):
    assert decode(encode(image)) == image


@given(image=images)
def test_the_image_file_is_found_without_parsing_the_example(image):
    assert encoded_image(encode(image)) == image.encoded


@given(image=images)
def test_equal_images_are_encoded_to_equal_bytes(image):
    assert encode(image) == encode(LabelledImage(*image))


def test_other_bytes_are_not_decoded():
    with pytest.raises(Malformed):
        encoded_image(b"\xff\xff\xff")


@given(image=images, data=st.data())
def test_a_truncated_example_is_not_decoded(image, data):
    payload = encode(image)
    with pytest.raises(Malformed):
        encoded_image(payload[: data.draw(st.integers(0, len(payload) - 1))])
