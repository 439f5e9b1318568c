"""tf.train.Example: what goes in comes out."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resnet.records.example import LabelledImage, Malformed, decode, encode, encoded_image

unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

filenames = st.one_of(st.text(), st.binary().map(os.fsdecode))  # names on a disk need not be UTF-8
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
@unhurried
def test_an_image_is_decoded_as_it_was_encoded(image):
    assert decode(encode(image)) == image


@given(image=images)
@unhurried
def test_the_image_file_alone_is_the_same(image):
    assert encoded_image(encode(image)) == image.encoded


@given(image=images)
@unhurried
def test_the_same_image_is_encoded_to_the_same_bytes(image):
    assert encode(image) == encode(LabelledImage(*image))


def test_what_is_no_example_is_not_decoded():
    with pytest.raises(Malformed):
        encoded_image(b"\xff\xff\xff")


@given(image=images, data=st.data())
@unhurried
def test_what_is_cut_short_is_not_decoded(image, data):
    payload = encode(image)
    with pytest.raises(Malformed):
        encoded_image(payload[: data.draw(st.integers(0, len(payload) - 1))])
