"""Restart markers put into a JPEG without loss, so that any part of it can be decoded without the rest.

Entropy-coded bits can be read only from the start, but for restart markers: behind one, bits begin on a byte and DC
values are absolute. The quantised coefficients stay as they are: AC bits are copied, DC differences are coded anew with
Huffman tables made for them (absolute values need categories that a file's own tables may not have).
"""

from __future__ import annotations

import heapq
import math
import struct
from functools import lru_cache

import numpy as np

from resnet.records import entropy
from resnet.records.jpeg import (
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
from resnet.records.restart_index import LONGEST, MOST_INTERVALS, with_index

WHY = {
    entropy.BAD_CODE: "damaged bits",
    entropy.OUT_OF_DATA: "damaged bits",
    entropy.BAD_RESTART: "unexpected markers",
    entropy.TOO_LARGE: "DC values out of range",
}
DC, AC = 0, 1
CODINGS = {0xC2: "progressive", 0xC9: "arithmetic coding", 0xCA: "arithmetic coding", 0xC3: "lossless"}
HuffmanTable = tuple[bytes, bytes]  # as a DHT segment has it: how many codes each length has, and their symbols
# Wide intervals make for much to decode beside a crop, narrow ones for many markers, which cost time and bytes.
# Between 16 and 32 pixels both matter least: measured by benchmarks/restart_interval.py.
BEST_WIDTH = 24


class Unusual(Exception):
    """Why a JPEG is left as it is, in a few words that are the same for all files of its kind: they are counted."""


def insert_restarts(encoded: bytes, interval: int = 0) -> bytes:
    """The same image with a restart marker every `interval` MCUs (0: the fastest), and nothing that pixels do not need.

    Kept are the tables that are used, the JFIF header (without thumbnail) and Adobe's segment: decoders tell the
    colour space by them. Raises Unusual.
    """
    try:
        header = _Header(encoded)
        tables = header.scan_tables()
    except (Malformed, struct.error, IndexError):
        raise Unusual("malformed header") from None
    interval = interval or fastest_interval(header.frame)
    scan = _Scan(encoded, header, tables)
    dc_tables, bits, lengths = scan.written(interval)
    if len(lengths) > MOST_INTERVALS or max(lengths) > LONGEST:
        raise Unusual("too large for an index")
    rewritten, frame_start = header.rewritten(dc_tables, interval)
    return with_index(rewritten, frame_start, interval, bits, lengths)


def fastest_interval(frame: Frame) -> int:
    """MCUs between restarts that let a crop decode fastest: they divide the MCUs of a row."""
    (columns, rows), width = frame.mcus, frame.mcu[0]
    divisors = [interval for interval in range(1, columns + 1) if columns % interval == 0]
    few = [interval for interval in divisors if columns // interval * rows <= MOST_INTERVALS]
    return min(few or divisors, key=lambda interval: (abs(interval * width - BEST_WIDTH), -interval))


class _Scan:
    """The blocks of a JPEG's one scan: where the bits of each lie, and its DC value. Raises Unusual."""

    def __init__(self, encoded: bytes, header: _Header, tables: list[tuple[int, int]]):
        components, mcus = header.frame.components, math.prod(header.frame.mcus)
        if mcus > 4 * len(encoded):  # a block takes two bits at least: the header declares more than there is
            raise Unusual(WHY[entropy.OUT_OF_DATA])
        data = np.frombuffer(encoded, np.uint8)
        self._clean = np.empty(len(data) + entropy.SLACK, np.uint8)
        restarts = np.empty(mcus + 2, np.int64)
        self._size, intervals, end = entropy.unstuff(data, header.scan, self._clean, restarts)
        if end < 0:
            raise Unusual(WHY[entropy.BAD_RESTART])
        if data[end + 1] != EOI[1]:
            raise Unusual("several scans")
        in_mcu = [1] if len(components) == 1 else [c.horizontal * c.vertical for c in components]
        self._component_of_block = np.repeat(np.arange(len(components)), in_mcu)
        self._blocks = np.empty((mcus * len(self._component_of_block), 2), np.int64)
        self._values = np.empty(len(self._blocks), np.int32)
        self._tables = [dc for dc, _ in tables]
        lookups = _lookups(tuple((header.huffman(DC, dc), header.huffman(AC, ac)) for dc, ac in tables))
        _check(
            entropy.walk(
                self._clean,
                restarts,
                intervals,
                header.interval,
                mcus,
                self._component_of_block,
                *lookups,
                self._blocks,
                self._values,
            )
        )

    def written(self, interval: int) -> tuple[dict[int, HuffmanTable], bytes, np.ndarray]:
        """New DC tables, the scan's bits with a restart marker every `interval` MCUs, and the lengths of the intervals.

        An interval's length is in bytes, with the marker that ends it; the last one's is the end marker.
        """
        count = len(self._tables)
        found = np.empty(len(self._values), np.int32)
        frequencies = np.zeros((count, entropy.DC_CATEGORIES), np.int64)
        _check(entropy.differences(self._values, self._component_of_block, count, interval, found, frequencies))
        new = {
            number: _shortest_codes(frequencies[[table == number for table in self._tables]].sum(0).tolist())
            for number in sorted(set(self._tables))
        }
        mcus = len(self._blocks) // len(self._component_of_block)
        lengths = np.empty(-(-mcus // interval), np.int64)
        out = np.empty(2 * self._size + 6 * len(self._blocks) + 4 * len(lengths), np.uint8)
        size = entropy.write(
            self._clean,
            self._blocks,
            found,
            self._component_of_block,
            interval,
            np.array([new[number][1] for number in self._tables]),
            np.array([new[number][2] for number in self._tables]),
            out,
            lengths,
        )
        return {number: table for number, (table, _, _) in new.items()}, out[:size].tobytes(), lengths


def _check(result: int) -> None:
    if result != entropy.OK:
        raise Unusual(WHY[result])


class _Header:
    """What a JPEG's header declares. Raises Unusual, Malformed, struct.error, IndexError."""

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
            raise Unusual(f"{found.precision} bits a sample")
        if not found.height or not found.width:
            raise Unusual("height not declared")
        if len(found.components) not in (1, 3):
            raise Unusual(f"{len(found.components)} components")

    def scan_tables(self) -> list[tuple[int, int]]:
        """The numbers of each component's DC and AC table, in the frame's order."""
        count = self._scan_header[0]
        named = [(self._scan_header[1 + 2 * i], self._scan_header[2 + 2 * i]) for i in range(count)]
        if [name for name, _ in named] != [component.identifier for component in self.frame.components]:
            raise Unusual("several scans")
        return [(tables >> 4, tables & 15) for _, tables in named]

    def huffman(self, kind: int, number: int) -> HuffmanTable:
        """How many codes each length has, and their symbols."""
        try:
            return self._huffman[kind, number]
        except KeyError:
            raise Unusual("Huffman tables not in the file") from None

    def rewritten(self, dc_tables: dict[int, HuffmanTable], interval: int) -> tuple[bytes, int]:
        """The header of the new file, without SOI, and where in it the content of the frame header begins."""
        parts = list(self._kept)
        for number in sorted({component.quantization for component in self.frame.components}):
            if number not in self._quantization:
                raise Unusual("quantization tables not in the file")
            parts.append(_segment(DQT, self._quantization[number]))
        frame_start = sum(map(len, parts)) + 4
        shape = struct.pack(">BHHB", 8, self.frame.height, self.frame.width, len(self.frame.components))
        components = b"".join(
            bytes((c.identifier, c.horizontal << 4 | c.vertical, c.quantization)) for c in self.frame.components
        )
        parts.append(_segment(self.frame.marker, shape + components))
        for number, (counts, symbols) in dc_tables.items():
            parts.append(_segment(DHT, bytes((DC << 4 | number,)) + counts + symbols))
        for number in sorted({table for _, table in self.scan_tables()}):
            parts.append(_segment(DHT, bytes((AC << 4 | number,)) + b"".join(self.huffman(AC, number))))
        parts.append(_segment(DRI, struct.pack(">H", interval)))
        parts.append(_segment(SOS, self._scan_header))
        return b"".join(parts), frame_start

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
def _lookups(tables: tuple[tuple[HuffmanTable, HuffmanTable], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`entropy.walk`'s tables for each component's DC and AC codes."""
    dc, ac = (np.stack([_lookup(pair[kind]) for pair in tables]) for kind in (DC, AC))
    steps = np.empty((len(tables), 1 << entropy.WINDOW), np.int32)
    for lookup, step in zip(ac, steps, strict=True):
        entropy.make_steps(lookup, step)
    return dc, ac, steps


def _lookup(table: HuffmanTable) -> np.ndarray:
    lookup = np.zeros(65536, np.uint16)
    counts, symbols = (np.frombuffer(part, np.uint8) for part in table)
    if len(counts) != 16 or not entropy.make_lookup(counts, symbols, lookup):
        raise Unusual("malformed Huffman table")
    return lookup


def _shortest_codes(frequencies: list[int]) -> tuple[HuffmanTable, list[int], list[int]]:
    """The shortest prefix code for symbols of these frequencies: its table, and each symbol's code and length.

    As in annex K.2 one more symbol takes part, less frequent than any, so that no code consists of ones alone.
    """
    symbols = len(frequencies)
    heap = [(count, symbol, [symbol]) for symbol, count in enumerate(frequencies) if count]
    heap.append((0, symbols, [symbols]))
    heapq.heapify(heap)
    lengths = [0] * (symbols + 1)
    while len(heap) > 1:
        (count, _, members), (more, tie, others) = heapq.heappop(heap), heapq.heappop(heap)
        members += others
        for symbol in members:
            lengths[symbol] += 1
        heapq.heappush(heap, (count + more, tie, members))
    used = sorted((length, symbol) for symbol, length in enumerate(lengths[:symbols]) if length)
    counts, codes, code, before = [0] * 16, [0] * symbols, 0, 0
    for length, symbol in used:
        code <<= length - before
        counts[length - 1], codes[symbol], before = counts[length - 1] + 1, code, length
        code += 1
    return (bytes(counts), bytes(symbol for _, symbol in used)), codes, lengths[:symbols]
