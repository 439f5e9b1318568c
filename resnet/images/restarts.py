"""Inserts restart markers into a JPEG without loss, so that any region of it can be decoded without the rest.

A decoder can start only at the beginning of the entropy-coded bits or after a restart marker, where bits begin on a
byte and DC values are absolute. The quantized coefficients do not change, but get Huffman tables of their own for each
file: absolute values need categories that the original tables may lack, and shorter codes make up for the markers'
bytes and decode faster.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache

import numpy as np

from resnet.images import entropy, huffman
from resnet.images.jpeg import (
    APP0,
    APP14,
    DHT,
    DQT,
    DRI,
    EOI,
    FRAMES,
    SEQUENTIAL,
    SOS,
    Frame,
    Malformed,
    read_frame,
    segments,
)
from resnet.images.restart_index import LONGEST, MAX_INTERVALS, with_index

WHY = {
    entropy.BAD_CODE: "invalid scan data",
    entropy.OUT_OF_DATA: "invalid scan data",
    entropy.BAD_RESTART: "unexpected markers",
    entropy.TOO_LARGE: "DC values out of range",
}
DC, AC = 0, 1
CODINGS = {0xC2: "progressive", 0xC9: "arithmetic coding", 0xCA: "arithmetic coding", 0xC3: "lossless"}
HuffmanTable = tuple[bytes, bytes]  # as in a DHT segment: how many codes each length has, and their symbols
# Wide intervals decode many pixels outside a crop; narrow ones need many markers, which cost time and bytes. Between 16
# and 32 pixels the sum is lowest, as benchmarks/restart_interval.py measures.
BEST_WIDTH = 24  # pixels


class Unusual(Exception):
    """A JPEG cannot get restart markers; the message says why, without details, so that conversion can count files."""


def insert_restarts(encoded: bytes, interval: int = 0) -> bytes:
    """Rewrite a JPEG with an index and a restart marker every `interval` MCUs (0: the fastest), its pixels unchanged.

    The result keeps the tables that are used, and the JFIF header (without thumbnail) and Adobe's segment, by which
    decoders recognise the colour space. It drops everything else that pixels do not depend on. Raises Unusual.
    """
    try:
        header = _Header(encoded)
        tables = header.scan_tables()
    except (Malformed, struct.error, IndexError):
        raise Unusual("malformed header") from None
    interval = interval or fastest_interval(header.frame)
    scan = _Scan(encoded, header, tables)
    new_tables, bits, lengths = scan.written(interval)
    if len(lengths) > MAX_INTERVALS or lengths.max() > LONGEST:
        raise Unusual("too large for an index")
    rewritten, frame_start = header.rewritten(new_tables, interval)
    return with_index(rewritten, frame_start, interval, bits, lengths)


def fastest_interval(frame: Frame) -> int:
    """The MCUs between restarts with which crops decode fastest; they divide the MCUs of a row."""
    (columns, rows), width = frame.mcus, frame.mcu[0]
    divisors = [interval for interval in range(1, columns + 1) if columns % interval == 0]
    few = [interval for interval in divisors if columns // interval * rows <= MAX_INTERVALS]
    return min(few or divisors, key=lambda interval: (abs(interval * width - BEST_WIDTH), -interval))


class _Scan:
    """The blocks of a JPEG's only scan: DC values, AC symbols and the bits that follow these. Raises Unusual."""

    def __init__(self, encoded: bytes, header: _Header, tables: list[tuple[int, int]]):
        components, mcus = header.frame.components, math.prod(header.frame.mcus)
        in_mcu = [1] if len(components) == 1 else [c.horizontal * c.vertical for c in components]
        self._component_of_block = np.repeat(np.arange(len(components), dtype=np.uint64), in_mcu)
        blocks = mcus * len(self._component_of_block)
        if blocks > 4 * len(
            encoded
        ):  # a block takes at least two bits, so the header declares more blocks than there can be
            raise Unusual(WHY[entropy.OUT_OF_DATA])
        self._tables = tables
        self._values, self._ends = np.empty(blocks, np.int32), np.empty(blocks, np.int64)
        self._tokens = np.empty(8 * (len(encoded) - header.scan) + 64, np.uint32)
        self._found = np.zeros((len(components), huffman.SYMBOLS), np.int64)
        dc, dc_short, ac, ac_short = _lookups(
            tuple((header.huffman(DC, dc), header.huffman(AC, ac)) for dc, ac in tables)
        )
        result, marker = entropy.read(
            np.frombuffer(encoded, np.uint8),
            header.scan,
            header.interval,
            mcus,
            self._component_of_block,
            dc,
            dc_short,
            ac,
            ac_short,
            self._values,
            self._tokens,
            self._ends,
            self._found,
        )
        _check(result)
        if encoded[marker] != EOI[1]:
            raise Unusual("several scans")

    def written(self, interval: int) -> tuple[dict[tuple[int, int], HuffmanTable], bytes, np.ndarray]:
        """New Huffman tables, the scan with a restart marker every `interval` MCUs, and the intervals' lengths.

        A length (int64) counts bytes, including the marker that ends the interval; that of the last is the end marker.
        """
        dc_differences, dc_found = np.empty(len(self._values), np.int32), np.zeros_like(self._found)
        _check(entropy.differences(self._values, self._component_of_block, interval, dc_differences, dc_found))
        tables: dict[tuple[int, int], HuffmanTable] = {}
        codes = np.zeros((2, *self._found.shape), np.int64)  # [DC or AC, component, symbol]
        for kind, found in ((DC, dc_found), (AC, self._found)):
            numbers = [pair[kind] for pair in self._tables]
            for number in sorted(set(numbers)):
                sharing = [component for component, used in enumerate(numbers) if used == number]
                tables[kind, number], codes[kind, sharing] = _shortest_codes(found[sharing].sum(0))
        mcus = len(self._ends) // len(self._component_of_block)
        lengths = np.empty(-(-mcus // interval), np.int64)
        out = np.empty(8 * (int(self._ends[-1]) + len(self._ends)) + 4 * len(lengths), np.uint8)
        size = entropy.write(
            dc_differences,
            self._tokens,
            self._ends,
            self._component_of_block,
            interval,
            codes[DC],
            codes[AC],
            out,
            lengths,
        )
        return tables, out[:size].tobytes(), lengths


def _check(result: int) -> None:
    if result != entropy.OK:
        raise Unusual(WHY[result])


class _Header:
    """A JPEG's header, up to its first scan. Raises Unusual, Malformed, struct.error or IndexError."""

    def __init__(self, encoded: bytes):
        self.interval = 0
        self._kept: list[bytes] = []
        self._quantization: dict[int, bytes] = {}
        self._huffman: dict[tuple[int, int], HuffmanTable] = {}
        found = None
        for segment in segments(encoded):
            content = encoded[segment.start : segment.end]
            if segment.marker in FRAMES:
                if segment.marker not in SEQUENTIAL:
                    raise Unusual(CODINGS.get(segment.marker, "lossless, hierarchical or arithmetic"))
                found = read_frame(segment.marker, content)
            elif segment.marker == APP0 and content[:5] == b"JFIF\0":
                self._kept.append(_segment(APP0, content[:12] + b"\0\0"))  # no thumbnail
            elif segment.marker == APP14 and content[:5] == b"Adobe":
                self._kept.append(_segment(APP14, content))
            elif segment.marker == DQT:
                self._read_quantization(content)
            elif segment.marker == DHT:
                self._read_huffman(content)
            elif segment.marker == DRI:
                (self.interval,) = struct.unpack(">H", content)
            elif segment.marker == SOS:
                self._scan_header, self.scan = content, segment.end
        if found is None:
            raise Malformed("no frame")
        self.frame = found
        if found.precision != 8:
            raise Unusual("not 8 bits per sample")
        if not found.height or not found.width:
            raise Unusual("height not declared")
        if len(found.components) not in (1, 3):
            raise Unusual("neither 1 nor 3 components")

    def scan_tables(self) -> list[tuple[int, int]]:
        """The numbers of each component's DC and AC table, in the order of the frame."""
        count = self._scan_header[0]
        named = [(self._scan_header[1 + 2 * i], self._scan_header[2 + 2 * i]) for i in range(count)]
        if [name for name, _ in named] != [component.identifier for component in self.frame.components]:
            raise Unusual("several scans")
        return [(tables >> 4, tables & 15) for _, tables in named]

    def huffman(self, kind: int, number: int) -> HuffmanTable:
        """The Huffman table of this kind (DC or AC) and number. Raises Unusual if the file has none."""
        try:
            return self._huffman[kind, number]
        except KeyError:
            raise Unusual("Huffman tables not in the file") from None

    def rewritten(self, tables: dict[tuple[int, int], HuffmanTable], interval: int) -> tuple[bytes, int]:
        """The header of the new file, without SOI, and the offset of the frame header's content in it."""
        written = list(self._kept)
        for number in sorted({component.quantization for component in self.frame.components}):
            if number not in self._quantization:
                raise Unusual("quantization tables not in the file")
            written.append(_segment(DQT, self._quantization[number]))
        frame_start = sum(map(len, written)) + 4
        shape = struct.pack(">BHHB", 8, self.frame.height, self.frame.width, len(self.frame.components))
        components = b"".join(
            bytes((c.identifier, c.horizontal << 4 | c.vertical, c.quantization)) for c in self.frame.components
        )
        written.append(_segment(self.frame.marker, shape + components))
        for (kind, number), (counts, symbols) in tables.items():
            written.append(_segment(DHT, bytes((kind << 4 | number,)) + counts + symbols))
        written.append(_segment(DRI, struct.pack(">H", interval)))
        written.append(_segment(SOS, self._scan_header))
        return b"".join(written), frame_start

    def _read_quantization(self, content: bytes) -> None:
        position = 0
        while position < len(content):
            size = 65 if content[position] < 16 else 129
            self._quantization[content[position] & 15] = content[position : position + size]
            position += size

    def _read_huffman(self, content: bytes) -> None:
        position = 0
        while position < len(content):
            kind, number = content[position] >> 4, content[position] & 15
            counts = content[position + 1 : position + 17]
            end = position + 17 + sum(counts)
            self._huffman[kind, number] = counts, content[position + 17 : end]
            position = end


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


@lru_cache(maxsize=32)  # most files have the same few tables
def _lookups(tables: tuple[tuple[HuffmanTable, HuffmanTable], ...]) -> tuple[np.ndarray, ...]:
    """The lookups of `entropy.read`, by component: DC, DC short, AC, AC short."""
    return *_lookup([dc for dc, _ in tables]), *_lookup([ac for _, ac in tables])


def _lookup(tables: list[HuffmanTable]) -> tuple[np.ndarray, np.ndarray]:
    lookup, short = (np.zeros((len(tables), 1 << bits), np.uint16) for bits in (huffman.LONGEST_CODE, huffman.SHORT))
    for component, table in enumerate(tables):
        counts, symbols = (np.frombuffer(field, np.uint8) for field in table)
        if len(counts) != 16 or not huffman.make_lookup(counts, symbols, lookup[component], short[component]):
            raise Unusual("malformed Huffman table")
    return lookup, short


def _shortest_codes(found: np.ndarray) -> tuple[HuffmanTable, np.ndarray]:
    """The shortest table for symbols that occur `found` times, and their codes (see `huffman.shortest_codes`)."""
    counts, symbols = np.empty(huffman.LONGEST_CODE, np.uint8), np.empty(huffman.SYMBOLS, np.uint8)
    codes = np.zeros(huffman.SYMBOLS, np.int64)
    taken = huffman.shortest_codes(found, counts, symbols, codes)
    return (counts.tobytes(), symbols[:taken].tobytes()), codes
