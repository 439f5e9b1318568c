"""The TFRecord framing: length (8 bytes), checksum of the length (4), payload, checksum of the payload (4).

Layout and checksum masking are TensorFlow's (tensorflow/core/lib/io/record_writer.h, core/lib/hash/crc32c.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

HEADER = 12
FOOTER = 4


class CorruptRecord(Exception):
    """The bytes of a record do not match its length or checksums."""


def frame(payload: bytes) -> bytes:
    """Put the payload into the framing of a TFRecord."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _masked_crc(length), payload, _masked_crc(payload)))


def records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Offset and payload of each record of a whole file. Raises CorruptRecord, which names the offset."""
    offset = 0
    while header := file.read(HEADER):
        try:
            if len(header) < HEADER or header[8:] != _masked_crc(header[:8]):
                raise CorruptRecord("its header is corrupt, or this is not a TFRecord file")
            payload = file.read(struct.unpack_from("<Q", header)[0])
            check(header, payload, file.read(FOOTER))
        except CorruptRecord as error:
            raise CorruptRecord(f"the record at byte {offset} is corrupt: {error}") from None
        yield offset, payload
        offset += HEADER + len(payload) + FOOTER


def unframe(record: bytes) -> bytes:
    """The payload of one record. Raises CorruptRecord if its length or a checksum does not match."""
    payload = record[HEADER:-FOOTER]
    check(record[:HEADER], payload, record[-FOOTER:])
    return payload


def check(header: bytes, payload: bytes, footer: bytes) -> None:
    """Raise CorruptRecord if a record's length or a checksum does not match."""
    if len(header) < HEADER or len(footer) < FOOTER:
        raise CorruptRecord("it is truncated")
    if struct.unpack_from("<Q", header)[0] != len(payload) or header[8:] != _masked_crc(header[:8]):
        raise CorruptRecord("its header is corrupt")
    if footer != _masked_crc(payload):
        raise CorruptRecord("its checksum does not match")


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
