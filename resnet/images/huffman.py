"""JPEG's Huffman tables: lookups to decode with, and the shortest codes for a file (ITU-T T.81, annexes C and K).

Like `resnet.images.entropy`, only conversion imports this.
"""

from __future__ import annotations

import numpy as np

from resnet.images.kernels import kernel

SYMBOLS = 256
LONGEST_CODE = 16
SHORT = 10  # bits of the short lookup: 1,024 entries stay in the first-level cache


@kernel
def make_lookup(counts, symbols, lookup, short):
    """Fill `lookup` (uint16 [65536], zeros), indexed by the next 16 bits, with a code's length x 256 + its symbol.

    Entries without a code stay 0. `short` (uint16 [1024]) gets the same, indexed by the next SHORT bits; 0 stands for
    a longer code. `counts` (uint8 [16]) and `symbols` (uint8) are as in a DHT segment. Returns False if they are not a
    prefix code.
    """
    code, taken = 0, 0
    for length in range(1, LONGEST_CODE + 1):
        for _ in range(counts[length - 1]):
            first = code << (LONGEST_CODE - length)
            last = (code + 1) << (LONGEST_CODE - length)
            if last > 65536 or taken >= len(symbols):
                return False
            lookup[first:last] = length << 8 | symbols[taken]
            code += 1
            taken += 1
        code <<= 1
    for window in range(1 << SHORT):
        entry = lookup[window << (LONGEST_CODE - SHORT)]
        short[window] = entry if entry >> 8 <= SHORT else 0
    return True


@kernel
def shortest_codes(found, counts, symbols, codes):
    """Make the shortest prefix code of at most 16 bits for symbols that occur `found` times (int64 [SYMBOLS]).

    Fills `counts` (uint8 [16]) and `symbols` (uint8 [SYMBOLS]) as in a DHT segment, and `codes` (int64 [SYMBOLS]) with
    each symbol's code x 256 + its length. As in annex K.2, a reserved symbol that is rarer than any takes part, so that
    no code is all ones; too long codes are shortened as in K.3. Returns how many symbols occur.
    """
    rising = np.argsort(found, kind="mergesort")
    rising = rising[found[rising] > 0]
    lengths = _lengths(found[rising])
    _shorten(lengths)
    longest = LONGEST_CODE
    while lengths[longest] == 0:
        longest -= 1
    lengths[longest] -= 1  # the reserved symbol's code
    code, taken = 0, 0
    for length in range(1, LONGEST_CODE + 1):
        counts[length - 1] = lengths[length]
        for _ in range(lengths[length]):
            symbol = rising[len(rising) - 1 - taken]
            symbols[taken] = symbol
            codes[symbol] = code << 8 | length
            code += 1
            taken += 1
        code <<= 1
    return taken


@kernel
def _lengths(rising):
    """How many codes of each length a Huffman tree has for these counts (ascending) and the reserved symbol."""
    leaves = len(rising) + 1
    weights, parents = np.zeros(2 * leaves - 1, np.int64), np.zeros(2 * leaves - 1, np.int64)
    weights[1:leaves] = rising  # the first is the reserved symbol
    leaf, node = 0, leaves  # the lightest leaf and inner node without a parent; both kinds are in ascending order
    for parent in range(leaves, 2 * leaves - 1):
        for _ in range(2):
            if leaf < leaves and (node == parent or weights[leaf] <= weights[node]):
                lightest, leaf = leaf, leaf + 1
            else:
                lightest, node = node, node + 1
            parents[lightest] = parent
            weights[parent] += weights[lightest]
    depths, lengths = np.zeros(2 * leaves - 1, np.int64), np.zeros(leaves + LONGEST_CODE + 1, np.int64)
    for node in range(2 * leaves - 3, -1, -1):
        depths[node] = depths[parents[node]] + 1
        if node < leaves:
            lengths[depths[node]] += 1
    return lengths


@kernel
def _shorten(lengths):
    """Shorten codes of more than 16 bits: one of two siblings moves up to their parent, the other to a split leaf."""
    for length in range(len(lengths) - 1, LONGEST_CODE, -1):
        while lengths[length]:
            shorter = length - 2
            while lengths[shorter] == 0:
                shorter -= 1
            lengths[length] -= 2
            lengths[length - 1] += 1
            lengths[shorter + 1] += 2
            lengths[shorter] -= 1
