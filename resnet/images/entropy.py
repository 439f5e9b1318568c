"""Reads and rewrites the entropy-coded bits of a sequential JPEG, in numba kernels (ITU-T T.81, annex F).

They decode only what rewriting needs: each block's DC value, and its AC symbols with the bits that follow each, which
stand for the coefficients. Only conversion imports this: numba costs half a second and 100 MB.
"""

from __future__ import annotations

import numpy as np

from resnet.images.huffman import LONGEST_CODE, SHORT
from resnet.images.kernels import inlined, kernel

DC_CATEGORIES = 12  # with 8-bit samples, differences have up to 11 bits
ZERO_RUN, END_OF_BLOCK = 0xF0, 0x00  # AC symbols without following bits
RST0, RST7, EOI = 0xD0, 0xD7, 0xD9

OK, BAD_CODE, OUT_OF_DATA, BAD_RESTART, TOO_LARGE = range(5)


@inlined
def _has_ff(word):
    """Whether one of the word's four bytes is 0xFF: Mycroft's test for a zero byte, applied to the inverse."""
    inverse = ~word & 0xFFFFFFFF
    return (inverse - 0x01010101) & ~inverse & 0x80808080 != 0


@inlined
def _refill(data, position, buffer, count, missing):
    """Read bytes until at least 32 bits of `buffer` are unused; its last `count` bits are.

    At a marker it stops and appends zeros instead, whose number it adds to `missing`. Returns the new `position`,
    `buffer`, `count` and `missing`.
    """
    if position + 4 < len(data):
        at = np.uint64(position)  # a signed index costs a test for negative values
        word = (
            np.int64(data[at]) << 24
            | np.int64(data[at + np.uint64(1)]) << 16
            | np.int64(data[at + np.uint64(2)]) << 8
            | np.int64(data[at + np.uint64(3)])
        )
        if not _has_ff(word):
            return position + 4, buffer << 32 | word, count + 32, missing
    while count < 32:
        byte, following = np.int64(0xFF), np.int64(EOI)
        if position + 1 < len(data):
            byte, following = np.int64(data[position]), np.int64(data[position + 1])
        if byte != 0xFF:
            position += 1
        elif following == 0:
            position += 2
        else:
            byte = np.int64(0)
            missing += 8
        buffer = buffer << 8 | byte
        count += 8
    return position, buffer, count, missing


@inlined
def _marker_at(data, position):
    """The offset of the last byte of the marker at `position`, past any fill bytes; len(data) if there is no marker."""
    if position < len(data) and data[position] != 0xFF:
        return len(data)
    while position < len(data) and data[position] == 0xFF:
        position += 1
    return position


@inlined
def _symbol_of(lookup, short, component, buffer, count):
    """The lookup's entry for the next code. At least 16 bits of `buffer` must be unused."""
    window = np.uint64(buffer >> (count - LONGEST_CODE) & 0xFFFF)
    entry = np.int64(short[component, window >> np.uint64(LONGEST_CODE - SHORT)])
    return entry if entry else np.int64(lookup[component, window])


@inlined
def _signed(bits, size):
    """The difference that the `size` bits of a DC category stand for (T.81, F.2.2.1: EXTEND)."""
    return bits if bits >> (size - 1) else bits - (1 << size) + 1


@kernel
def read(data, position, interval, mcus, component_of_block, dc, dc_short, ac, ac_short, values, tokens, ends, found):
    """Read every block's DC value and AC symbols from the scan that starts at `position` of `data` (uint8).

    `component_of_block` (uint64) gives the component of each block of an MCU; `interval` is the MCUs between restarts,
    or 0. `dc`, `ac` and their short forms are lookups by component (see `huffman.make_lookup`). The results go to
    `values` (int32 [blocks]): DC values; `tokens` (uint32, as many as the scan has bits, and 64 more): AC symbol x
    65536 + the bits that follow it; `ends` (int64 [blocks]): where each block ends in `tokens`; `found` (int64
    [components, SYMBOLS]): how often each AC symbol occurs.

    Returns OK or an error code, and the offset of the last byte of the marker after the scan.
    """
    # Long because every part of this loop shares the bit reader's state, which local variables keep in registers.
    predictions = np.zeros(len(dc), np.int64)
    buffer, count, missing = np.int64(0), np.int64(0), np.int64(0)
    block, token, restarts = 0, 0, 0
    for mcu in range(mcus):
        if interval and mcu and mcu % interval == 0:
            position = _marker_at(data, position)
            if count - missing >= 8 or position >= len(data) or data[position] != RST0 + restarts % 8:
                return BAD_RESTART, position
            position += 1
            restarts += 1
            count = missing = np.int64(0)
            predictions[:] = 0
        for component in component_of_block:
            if count < 32:
                position, buffer, count, missing = _refill(data, position, buffer, count, missing)
            entry = _symbol_of(dc, dc_short, component, buffer, count)
            size = entry & 0xFF
            if entry == 0:
                return BAD_CODE, position
            if size >= DC_CATEGORIES:
                return TOO_LARGE, position
            count -= (entry >> 8) + size
            if size:
                predictions[component] += _signed(buffer >> count & ((1 << size) - 1), size)
            values[block] = predictions[component]
            k = 0  # AC coefficients so far
            while k < 63:
                if count < 32:
                    position, buffer, count, missing = _refill(data, position, buffer, count, missing)
                entry = _symbol_of(ac, ac_short, component, buffer, count)
                symbol = entry & 0xFF
                size = symbol & 15
                if entry == 0 or (size == 0 and symbol != ZERO_RUN and symbol != END_OF_BLOCK):
                    return BAD_CODE, position
                count -= (entry >> 8) + size
                tokens[np.uint64(token)] = symbol << 16 | (buffer >> count & ((1 << size) - 1))
                token += 1
                found[component, np.uint64(symbol)] += 1
                if symbol == END_OF_BLOCK:
                    break
                k += (symbol >> 4) + 1
            if k > 63:
                return BAD_CODE, position
            if count < missing:
                return OUT_OF_DATA, position
            ends[block] = token
            block += 1
    position = _marker_at(data, position)
    if count - missing >= 8 or position >= len(data) or RST0 <= data[position] <= RST7:
        return BAD_RESTART, position
    return OK, position


@inlined
def _category(difference):
    size, magnitude = 0, abs(np.int64(difference))
    while magnitude:
        size += 1
        magnitude >>= 1
    return size


@kernel
def differences(values, component_of_block, interval, dc_differences, found):
    """Compute the DC differences of blocks whose predictions restart every `interval` MCUs.

    `dc_differences` (int32 [blocks]) gets them, `found` (int64 [components, SYMBOLS]) how often each category occurs.
    Returns OK or TOO_LARGE.
    """
    predictions = np.zeros(len(found), np.int64)
    per_mcu = len(component_of_block)
    for mcu in range(len(values) // per_mcu):
        if mcu % interval == 0:
            predictions[:] = 0
        for i in range(per_mcu):
            block, component = mcu * per_mcu + i, component_of_block[i]
            dc_differences[block] = values[block] - predictions[component]
            predictions[component] = values[block]
            size = _category(dc_differences[block])
            if size >= DC_CATEGORIES:
                return TOO_LARGE
            found[component, size] += 1
    return OK


@inlined
def _put(words, at, buffer, count, value, bits):
    """Append up to 31 bits to `words`; the last `count` < 32 bits of `buffer` do not fill a word yet.

    Returns the new `at`, `buffer` and `count`. It writes the word even if it is not full, and then again, because the
    CPU would mispredict a branch here half of the time.
    """
    buffer = buffer << np.uint64(bits) | np.uint64(value)
    count += bits
    words[np.uint64(at)] = buffer << np.uint64(64 - count) >> np.uint64(32)
    full = count >> 5
    return at + full, buffer, count - (full << 5)


@kernel
def _stuff(words, size, out, at):
    """Write the first `size` bytes of `words` to `out` from `at` on; returns the offset after them.

    A zero follows each 0xFF, which would otherwise begin a marker.
    """
    for i in range((size + 3) >> 2):
        word = np.int64(words[np.uint64(i)])
        left = size - 4 * i
        if left >= 4 and not _has_ff(word):
            place = np.uint64(at)
            out[place] = word >> 24
            out[place + np.uint64(1)] = word >> 16 & 0xFF
            out[place + np.uint64(2)] = word >> 8 & 0xFF
            out[place + np.uint64(3)] = word & 0xFF
            at += 4
            continue
        for j in range(min(left, 4)):
            out[at] = word >> (24 - 8 * j) & 0xFF
            at += 1
            if out[at - 1] == 0xFF:
                out[at] = 0
                at += 1
    return at


@kernel
def _most_puts(ends, blocks):
    """The most calls of `_put` that an interval of `blocks` blocks takes: for DC and AC codes, and for the padding."""
    most = 0
    for first in range(0, len(ends), blocks):
        last = min(first + blocks, len(ends))
        most = max(most, ends[last - 1] - (ends[first - 1] if first else 0) + last - first + 1)
    return most


@kernel
def write(dc_differences, tokens, ends, component_of_block, interval, dc_codes, ac_codes, out, lengths):
    """Write a scan with a restart marker every `interval` MCUs to `out` (uint8); returns the number of bytes.

    `dc_codes` and `ac_codes` (int64 [components, SYMBOLS]) are as `huffman.shortest_codes` makes them. `lengths` (int64
    [intervals]) gets the bytes of each interval, with its marker. `out` needs 8 bytes for each token and block, and 4
    for each interval: a code and its bits take up to 31 bits, and every byte may need a stuffed zero.
    """
    # Long for the same reason as `read`: local variables keep the bit writer's state in registers.
    per_mcu = len(component_of_block)
    blocks = interval * per_mcu
    words = np.empty(_most_puts(ends, blocks) + 1, np.uint32)  # one interval's bits, before stuffing
    at, token = 0, np.uint64(0)
    for written in range(len(lengths)):
        word, buffer, count, start = 0, np.uint64(0), np.int64(0), at
        first, last = written * blocks, min((written + 1) * blocks, len(ends))
        for block in range(first, last):
            component = component_of_block[(block - first) % per_mcu]
            difference = np.int64(dc_differences[block])
            size = _category(difference)
            extra = difference if difference >= 0 else difference + (1 << size) - 1
            code = dc_codes[component, np.uint64(size)]
            word, buffer, count = _put(words, word, buffer, count, code >> 8 << size | extra, (code & 0xFF) + size)
            end = np.uint64(ends[block])
            while token < end:
                one = np.int64(tokens[token])
                code = ac_codes[component, np.uint64(one >> 16)]
                size = one >> 16 & 15
                word, buffer, count = _put(
                    words, word, buffer, count, code >> 8 << size | one & 0xFFFF, (code & 0xFF) + size
                )
                token += np.uint64(1)
        padding = -count & 7  # with ones, up to a whole byte
        if padding:
            word, buffer, count = _put(words, word, buffer, count, (1 << padding) - 1, padding)
        if count:  # `_put` writes the bits that begin a new word only at its next call
            words[word] = buffer << np.uint64(64 - count) >> np.uint64(32)
        at = _stuff(words, 4 * word + (count >> 3), out, at)
        out[at] = 0xFF
        out[at + 1] = EOI if last == len(ends) else RST0 + written % 8
        at += 2
        lengths[written] = at - start
    return at
