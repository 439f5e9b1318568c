"""Builds JPEGs bit by bit, including ones that no encoder would write."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

Table = tuple[bytes, bytes]  # how many codes each length has, and their symbols
CATEGORIES: Table = (bytes((0, 0, 0, 12, *[0] * 12)), bytes(range(12)))  # 12 codes of 4 bits
ONLY_END: Table = (bytes((1, *[0] * 15)), b"\0")  # a 0 bit ends a block


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def handmade(
    width: int,
    height: int,
    sampling: Sequence[tuple[int, int]] = ((1, 1),) * 3,
    bits: str = "",
    dc: Table = CATEGORIES,
    ac: Table = ONLY_END,
    end: bytes = b"\xff\xd9",
) -> bytes:
    """A JPEG with these sampling factors and scan `bits` (a string of 0 and 1; by default, blocks of random greys)."""
    bits = bits or "".join(_random_blocks(width, height, sampling))
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    components = b"".join(bytes((i + 1, h << 4 | v, 0)) for i, (h, v) in enumerate(sampling))
    tables = b"".join(bytes((i + 1, 0)) for i in range(len(sampling)))
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, bytes([0, *[8] * 64])),
            segment(0xC0, struct.pack(">BHHB", 8, height, width, len(sampling)) + components),
            segment(0xC4, b"\x00" + b"".join(dc)),
            segment(0xC4, b"\x10" + b"".join(ac)),
            segment(0xDA, bytes([len(sampling)]) + tables + bytes((0, 63, 0))),
            scan,
            end,
        )
    )


def _random_blocks(width: int, height: int, sampling: Sequence[tuple[int, int]]) -> list[str]:
    random, blocks = np.random.default_rng(0), []
    most = [max(factors) for factors in zip(*sampling, strict=True)] if len(sampling) > 1 else [1, 1]
    mcus = -(-width // (8 * most[0])) * -(-height // (8 * most[1]))
    in_mcu = [h * v for h, v in sampling] if len(sampling) > 1 else [1]
    before = [0] * len(sampling)
    for _ in range(mcus):
        for component, count in enumerate(in_mcu):
            for value in random.integers(-60, 60, count).tolist():
                difference, before[component] = value - before[component], value
                size = abs(difference).bit_length()
                extra = difference if difference > 0 else difference + (1 << size) - 1
                blocks.append(f"{size:04b}" + (f"{extra:0{size}b}" if size else "") + "0")
    return blocks
