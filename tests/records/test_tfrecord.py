"""The framing of records, which detects every corrupt byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resnet.records.tfrecord import CorruptRecord, frame, unframe


@given(payload=st.binary(max_size=2000))
@example(payload=b"")
def test_unframing_gives_back_the_framed_payload(payload):
    assert unframe(frame(payload)) == payload


@given(payload=st.binary(max_size=200), data=st.data())
def test_a_record_with_any_one_byte_changed_is_corrupt(payload, data):
    record = bytearray(frame(payload))
    position = data.draw(st.integers(0, len(record) - 1))
    record[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptRecord):
        unframe(bytes(record))


def test_a_record_with_any_one_bit_flipped_is_corrupt():
    record = frame(b"payload")
    for bit in range(8 * len(record)):
        corrupt = bytearray(record)
        corrupt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptRecord):
            unframe(bytes(corrupt))


@given(payload=st.binary(max_size=200), data=st.data())
def test_a_truncated_or_too_long_record_is_corrupt(payload, data):
    record = frame(payload)
    with pytest.raises(CorruptRecord):
        unframe(record[: data.draw(st.integers(0, len(record) - 1))])
    with pytest.raises(CorruptRecord):
        unframe(record + data.draw(st.binary(min_size=1, max_size=20)))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "it is truncated"),
        (bytes(16), "header"),
        (frame(b"payload")[:-1], "header"),
        (frame(b"payload")[:-1] + b"\0", "checksum"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_record(record, reason):
    with pytest.raises(CorruptRecord, match=reason):
        unframe(record)


def test_the_checksums_are_tensorflows_masked_crc_32c():
    # The masking is that of TensorFlow's crc32c.h. The CRC-32C of "123456789" is 0xE3069283 (RFC 3720).
    crc = 0xE3069283
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    record = frame(b"123456789")
    assert record[:8] == struct.pack("<Q", 9)
    assert record[12:21] == b"123456789"
    assert record[21:] == struct.pack("<I", masked)
