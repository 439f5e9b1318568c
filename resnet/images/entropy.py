"""The entropy-coded bits of a sequential JPEG, read and written again at machine speed (ITU-T T.81, annex F).

Nothing is decoded beyond what rewriting needs: each block's DC value, and its AC symbols with the bits that follow
each, which are the coefficients in all but name. Imported by conversion only: numba costs half a second and 100 MB.
"""

from __future__ import annotations

import numpy as np

from resnet.images.huffman import LONGEST_CODE, SHORT
from resnet.images.kernels import inlined, kernel

DC_CATEGORIES = 12  # of 8-bit samples: differences of up to 11 bits
ZERO_RUN, END_OF_BLOCK = 0xF0, 0x00  # the AC symbols that no bits follow
RST0, RST7, EOI = 0xD0, 0xD7, 0xD9

OK, BAD_CODE, OUT_OF_DATA, BAD_RESTART, TOO_LARGE = range(5)


@inlined
def _has_ff(word):
    """Whether a byte of these four is 0xFF: Mycroft's test for a zero byte, of the inverse."""
    inverse = ~word & 0xFFFFFFFF
    return (inverse - 0x01010101) & ~inverse & 0x80808080 != 0


@inlined
def _refill(data, position, held, count, missing):
    """Take in bytes until 32 bits are held at least; `held` ends with the `count` bits that are not yet used.

    At a marker it stays, and goes on with zeros, counted in `missing`.
    """
    if position + 4 < len(data):
        at = np.uint64(position)  # numba would look whether a signed index is negative
        word = (
            np.int64(data[at]) << 24
            | np.int64(data[at + np.uint64(1)]) << 16
            | np.int64(data[at + np.uint64(2)]) << 8
            | np.int64(data[at + np.uint64(3)])
        )
        if not _has_ff(word):
            return position + 4, held << 32 | word, count + 32, missing
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
        held = held << 8 | byte
        count += 8
    return position, held, count, missing


@inlined
def _marker_at(data, position):
    """Where the marker at `position` has its last byte, 0xFF may be repeated before it; beyond the end for none."""
    if position < len(data) and data[position] != 0xFF:
        return len(data)
    while position < len(data) and data[position] == 0xFF:
        position += 1
    return position


@inlined
def _symbol_of(lookup, short, component, held, count):
    """The entry of the code that the next bits begin with; 32 of them are held at least."""
    window = np.uint64(held >> (count - LONGEST_CODE) & 0xFFFF)
    entry = np.int64(short[component, window >> np.uint64(LONGEST_CODE - SHORT)])
    return entry if entry else np.int64(lookup[component, window])


@inlined
def _signed(bits, size):
    """The difference that a DC category's `size` bits mean (T.81, F.2.2.1: EXTEND)."""
    return bits if bits >> (size - 1) else bits - (1 << size) + 1


@kernel
def read(data, position, interval, mcus, component_of_block, dc, dc_short, ac, ac_short, values, tokens, ends, found):
    """Read a scan from `position` on: every block's DC value and AC symbols.

    `component_of_block` (uint64) is the order of blocks within an MCU; `interval` is the MCUs between restarts, 0 for
    none. `dc`, `ac` and their short forms are the components' lookups. `values` (int32 [blocks]) gets the DC values,
    `tokens` (uint32, a place for each bit and 64 more) AC symbols x 65536 + the bits that follow each, `ends` (int64
    [blocks]) where in `tokens` each block's end, `found` (int64 [components, SYMBOLS]) how often each symbol comes.

    Returns OK or what is wrong, and where the marker behind the scan has its last byte.
    """
    predictions = np.zeros(len(dc), np.int64)
    held, count, missing = np.int64(0), np.int64(0), np.int64(0)
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
                position, held, count, missing = _refill(data, position, held, count, missing)
            entry = _symbol_of(dc, dc_short, component, held, count)
            size = entry & 0xFF
            if entry == 0:
                return BAD_CODE, position
            if size >= DC_CATEGORIES:
                return TOO_LARGE, position
            count -= (entry >> 8) + size
            if size:
                predictions[component] += _signed(held >> count & ((1 << size) - 1), size)
            values[block] = predictions[component]
            k = 0  # coefficients so far
            while k < 63:
                if count < 32:
                    position, held, count, missing = _refill(data, position, held, count, missing)
                entry = _symbol_of(ac, ac_short, component, held, count)
                symbol = entry & 0xFF
                size = symbol & 15
                if entry == 0 or (size == 0 and symbol != ZERO_RUN and symbol != END_OF_BLOCK):
                    return BAD_CODE, position
                count -= (entry >> 8) + size
                tokens[np.uint64(token)] = symbol << 16 | (held >> count & ((1 << size) - 1))
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
def differences(values, component_of_block, interval, differing, found):
    """The DC differences (`differing`, int32 [blocks]) when predictions start anew every `interval` MCUs, and how often
    each category comes (`found`, int64 [components, SYMBOLS])."""
    predictions = np.zeros(len(found), np.int64)
    per_mcu = len(component_of_block)
    for mcu in range(len(values) // per_mcu):
        if mcu % interval == 0:
            predictions[:] = 0
        for i in range(per_mcu):
            block, component = mcu * per_mcu + i, component_of_block[i]
            differing[block] = values[block] - predictions[component]
            predictions[component] = values[block]
            size = _category(differing[block])
            if size >= DC_CATEGORIES:
                return TOO_LARGE
            found[component, size] += 1
    return OK


@inlined
def _put(words, at, held, count, value, bits):
    """Append up to 31 bits. `held` ends with the `count` < 32 bits that do not fill a word yet; returns all three anew.

    The word is written in any case, and again until it is full: a branch would be guessed wrong every other time.
    """
    held = held << np.uint64(bits) | np.uint64(value)
    count += bits
    words[np.uint64(at)] = held << np.uint64(64 - count) >> np.uint64(32)
    full = count >> 5
    return at + full, held, count - (full << 5)


@kernel
def _stuff(words, size, out, at):
    """Write the first `size` bytes of `words`, a zero behind each 0xFF, which would be a marker else."""
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
    """How many codes an interval of so many blocks has at most: DC and AC, and the padding."""
    most = 0
    for first in range(0, len(ends), blocks):
        last = min(first + blocks, len(ends))
        most = max(most, ends[last - 1] - (ends[first - 1] if first else 0) + last - first + 1)
    return most


@kernel
def write(differing, tokens, ends, component_of_block, interval, dc_codes, ac_codes, out, lengths):
    """Write a scan with a restart marker every `interval` MCUs; returns the bytes written to `out`.

    `dc_codes` and `ac_codes` (int64 [components, SYMBOLS]) are as `huffman.shortest_codes` makes them. `lengths` (int64
    [intervals]) gets the bytes of each interval, with its marker. `out` must hold 8 bytes a token and a block, and 4 an
    interval: codes with what follows them have up to 31 bits, and each byte may be stuffed.
    """
    per_mcu = len(component_of_block)
    blocks = interval * per_mcu
    words = np.empty(_most_puts(ends, blocks) + 1, np.uint32)  # an interval's bits, without stuffing
    at, token = 0, np.uint64(0)
    for written in range(len(lengths)):
        word, held, count, start = 0, np.uint64(0), np.int64(0), at
        first, last = written * blocks, min((written + 1) * blocks, len(ends))
        for block in range(first, last):
            component = component_of_block[(block - first) % per_mcu]
            difference = np.int64(differing[block])
            size = _category(difference)
            extra = difference if difference >= 0 else difference + (1 << size) - 1
            code = dc_codes[component, np.uint64(size)]
            word, held, count = _put(words, word, held, count, code >> 8 << size | extra, (code & 0xFF) + size)
            end = np.uint64(ends[block])
            while token < end:
                one = np.int64(tokens[token])
                code = ac_codes[component, np.uint64(one >> 16)]
                size = one >> 16 & 15
                word, held, count = _put(
                    words, word, held, count, code >> 8 << size | one & 0xFFFF, (code & 0xFF) + size
                )
                token += np.uint64(1)
        padding = -count & 7  # ones, to a whole byte
        if padding:
            word, held, count = _put(words, word, held, count, (1 << padding) - 1, padding)
        if count:  # of the last word, which is not full
            words[word] = held << np.uint64(64 - count) >> np.uint64(32)
        at = _stuff(words, 4 * word + (count >> 3), out, at)
        out[at] = 0xFF
        out[at + 1] = EOI if last == len(ends) else RST0 + written % 8
        at += 2
        lengths[written] = at - start
    return at
