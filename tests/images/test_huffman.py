"""Huffman codes made for one file."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet.images import huffman

counts_of_symbols = st.dictionaries(st.integers(0, 255), st.integers(1, 10**6), min_size=1, max_size=256)


def codes_for(frequencies: dict[int, int]) -> tuple[dict[int, str], list[int], list[int]]:
    """Each symbol's code as a string of 0 and 1, and the table as a DHT segment has it."""
    found = np.zeros(huffman.SYMBOLS, np.int64)
    found[list(frequencies)] = list(frequencies.values())
    counts, symbols = np.zeros(16, np.uint8), np.zeros(huffman.SYMBOLS, np.uint8)
    codes = np.zeros(huffman.SYMBOLS, np.int64)
    taken = huffman.shortest_codes(found, counts, symbols, codes)
    written = {symbol: f"{codes[symbol] >> 8:0{codes[symbol] & 0xFF}b}" for symbol in frequencies}
    return written, counts.tolist(), symbols[:taken].tolist()


def least_bits(frequencies: dict[int, int]) -> int:
    """The bits of all symbols in a Huffman code without a length limit, with one reserved symbol that never occurs."""
    heap, bits = [0, *frequencies.values()], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        bits += both
        heapq.heappush(heap, both)
    return bits


def assert_prefix_code(codes: dict[int, str]) -> None:
    in_order = sorted(codes.values())
    assert not any(after.startswith(before) for before, after in itertools.pairwise(in_order))
    assert all("0" in code and len(code) <= huffman.LONGEST_CODE for code in in_order)  # none is all ones


@settings(max_examples=200)
@given(frequencies=counts_of_symbols)
def test_codes_are_the_shortest_prefix_code_and_match_the_table(frequencies):
    codes, counts, symbols = codes_for(frequencies)
    assert_prefix_code(codes)
    assert sorted(symbols) == sorted(frequencies)
    assert counts == [sum(len(code) == length for code in codes.values()) for length in range(1, 17)]
    assert [codes[symbol] for symbol in symbols] == sorted(codes.values(), key=lambda code: (len(code), code))
    if max(map(len, codes.values())) < huffman.LONGEST_CODE:  # none was shortened
        assert sum(frequencies[symbol] * len(code) for symbol, code in codes.items()) == least_bits(frequencies)


def test_codes_of_more_than_16_bits_are_shortened():
    frequencies, last = {}, (1, 1)
    for symbol in range(60):  # Fibonacci numbers make the deepest trees
        frequencies[symbol] = last[0]
        last = last[1], sum(last)
    codes, _, _ = codes_for(frequencies)
    assert max(map(len, codes.values())) == huffman.LONGEST_CODE
    assert_prefix_code(codes)


def test_the_lookup_of_a_table_finds_every_code():
    codes, counts, symbols = codes_for(
        {5: 1000, 0: 300, 0xF0: 299, 17: 3, 34: 1, 51: 1, **{70 + i: 2 for i in range(40)}}
    )
    lookup, short = np.zeros(65536, np.uint16), np.zeros(1 << huffman.SHORT, np.uint16)
    assert huffman.make_lookup(np.array(counts, np.uint8), np.array(symbols, np.uint8), lookup, short)
    for symbol, code in codes.items():
        first = int(code.ljust(16, "0"), 2)
        entry = len(code) << 8 | symbol
        assert (lookup[first : first + (1 << (16 - len(code)))] == entry).all()
        assert short[first >> (16 - huffman.SHORT)] == (entry if len(code) <= huffman.SHORT else 0)
