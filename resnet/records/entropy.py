"""The entropy-coded bits of a sequential JPEG, walked and written again at machine speed (ITU-T T.81, annex F).

Nothing is decoded beyond what rewriting needs: where each block's bits lie, and its DC value. Imported by conversion
only: numba costs half a second and 100 MB.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WINDOW = 12  # bits that one look at `steps` sees: a table of 4,096 entries stays in the first-level cache
END_OF_BLOCK = 1 << 16  # flags of an entry of `steps`; below it, coefficients (8 bits) and bits (8 bits) to go on by
DC_CATEGORIES = 12  # of 8-bit samples: differences of up to 11 bits
SLACK = 272  # bytes beyond the end: a damaged block may run on for 64 codes of 31 bits before it is noticed

OK, BAD_CODE, OUT_OF_DATA, BAD_RESTART, TOO_LARGE = range(5)


@njit(cache=True, nogil=True)
def unstuff(data, start, clean, restarts):
    """Copy entropy-coded bytes from `start` up to the marker that ends the scan, without stuffing and restart markers.

    Writes to `clean` (uint8, as long as `data` and SLACK more) and to `restarts` where each interval begins in it.
    Returns the bytes written, the number of intervals, and the position of the marker in `data`; -1 for a marker that
    is missing, or restart markers out of order.
    """
    position, written, intervals, size = start, 0, 1, len(data)
    restarts[0] = 0
    while position + 1 < size:
        byte = data[position]
        if byte != 0xFF:
            clean[written] = byte
            written += 1
            position += 1
            continue
        marker = data[position + 1]
        if marker == 0:
            clean[written] = 0xFF
            written += 1
            position += 2
        elif marker == 0xFF:
            position += 1
        elif 0xD0 <= marker <= 0xD7:
            if marker - 0xD0 != (intervals - 1) % 8 or intervals + 1 >= len(restarts):  # the end needs a place too
                return written, intervals, -1
            restarts[intervals] = written
            intervals += 1
            position += 2
        else:
            restarts[intervals] = written
            clean[written : written + SLACK] = 0
            return written, intervals, position
    return written, intervals, -1


@njit(cache=True, nogil=True)
def make_lookup(counts, symbols, lookup):
    """Fill `lookup` (uint16 [65536], zeros) by the next 16 bits: length of the code x 256 + its symbol; 0 for no code.

    `counts` are the codes of 1 to 16 bits, `symbols` theirs in order, as a DHT segment has them. False for no table.
    """
    code, taken = 0, 0
    for length in range(1, 17):
        for _ in range(counts[length - 1]):
            first = code << (16 - length)
            last = (code + 1) << (16 - length)
            if last > 65536 or taken >= len(symbols):
                return False
            lookup[first:last] = length << 8 | symbols[taken]
            code += 1
            taken += 1
        code <<= 1
    return True


@njit(cache=True, nogil=True)
def make_steps(lookup, steps):
    """Fill `steps` (int32 [2**WINDOW]) by the next bits: over how many bits and coefficients to go on at a time.

    An entry takes together all AC symbols whose codes the window shows whole; 0 where it shows none. An end of block
    counts as a coefficient, so that whoever would step beyond the block's last one goes symbol by symbol instead.
    """
    for window in range(1 << WINDOW):
        bits, coefficients, flags = 0, 0, 0
        while bits < WINDOW:
            entry = lookup[(window << (16 - WINDOW) << bits) & 0xFFFF]
            length, symbol = entry >> 8, entry & 0xFF
            if entry == 0 or bits + length > WINDOW:
                break
            run, size = symbol >> 4, symbol & 15
            if size == 0 and 0 < run < 15:
                break
            bits += length + size
            coefficients += 16 if symbol == 0xF0 else run + 1
            if symbol == 0:
                flags = END_OF_BLOCK
                break
        steps[window] = flags | coefficients << 8 | bits if 0 < coefficients < 64 else 0


@njit(cache=True, nogil=True, inline="always")
def _bits(clean, bit, count):
    """Up to 24 bits from `bit` on, unsigned: numba would look whether a signed index is negative."""
    byte = np.uint64(bit >> 3)
    four = (
        np.uint32(clean[byte]) << np.uint32(24)
        | np.uint32(clean[byte + np.uint64(1)]) << np.uint32(16)
        | np.uint32(clean[byte + np.uint64(2)]) << np.uint32(8)
        | np.uint32(clean[byte + np.uint64(3)])
    )
    return np.uint32(four << np.uint32(bit & 7)) >> np.uint32(32 - count)


@njit(cache=True, nogil=True)
def walk(clean, restarts, intervals, interval, mcus, component_of_block, dc_lookups, ac_lookups, steps, blocks, values):
    """Find every block's bits and DC value.

    `component_of_block` is the order of blocks within an MCU; `interval` is the MCUs between restarts, 0 for none.
    `blocks` (int64 [mcus x blocks, 2]) gets the bit after each DC code and the bit after each block, `values`
    (int32 [mcus x blocks]) the DC values.
    """
    components = len(dc_lookups)
    predictions = np.zeros(components, np.int64)
    bit, end, block, next_interval = 0, 8 * restarts[1], 0, 1
    for mcu in range(mcus):
        if interval and mcu and mcu % interval == 0:
            if next_interval >= intervals or end - bit >= 8:
                return BAD_RESTART
            bit, end = 8 * restarts[next_interval], 8 * restarts[next_interval + 1]
            next_interval += 1
            predictions[:] = 0
        for component in component_of_block:
            dc, ac, step = dc_lookups[component], ac_lookups[component], steps[component]
            entry = np.int64(dc[_bits(clean, bit, 16)])
            size = entry & 0xFF
            if entry == 0:
                return BAD_CODE
            if size >= DC_CATEGORIES:
                return TOO_LARGE
            bit += entry >> 8
            if size:
                difference = np.int64(_bits(clean, bit, size))
                bit += size
                if difference < 1 << (size - 1):
                    difference -= (1 << size) - 1
                predictions[component] += difference
            values[block] = predictions[component]
            blocks[block, 0] = bit
            k = 0
            while k < 63:
                entry = np.int64(step[_bits(clean, bit, WINDOW)])
                coefficients = entry >> 8 & 0xFF
                if entry and k + coefficients <= 63:
                    bit += entry & 0xFF
                    if entry & END_OF_BLOCK:
                        break
                    k += coefficients
                    continue
                entry = np.int64(ac[_bits(clean, bit, 16)])
                run, size = entry >> 4 & 15, entry & 15
                if entry == 0 or (size == 0 and 0 < run < 15):
                    return BAD_CODE
                bit += (entry >> 8) + size
                if size == 0 and run == 0:
                    break
                k += run + 1
            if k > 63:
                return BAD_CODE
            if bit > end:
                return OUT_OF_DATA
            blocks[block, 1] = bit
            block += 1
    if next_interval != intervals or end - bit >= 8:
        return BAD_RESTART
    return OK


@njit(cache=True, nogil=True, inline="always")
def _category(difference):
    size, magnitude = 0, abs(difference)
    while magnitude:
        size += 1
        magnitude >>= 1
    return size


@njit(cache=True, nogil=True)
def differences(values, component_of_block, components, interval, found, frequencies):
    """The DC differences (`found`, int32) when predictions start anew every `interval` MCUs, and how many there are of
    each category (`frequencies`, int64 [components, DC_CATEGORIES])."""
    predictions = np.zeros(components, np.int64)
    per_mcu = len(component_of_block)
    for mcu in range(len(values) // per_mcu):
        if mcu % interval == 0:
            predictions[:] = 0
        for i in range(per_mcu):
            block, component = mcu * per_mcu + i, component_of_block[i]
            found[block] = values[block] - predictions[component]
            predictions[component] = values[block]
            size = _category(found[block])
            if size >= DC_CATEGORIES:
                return TOO_LARGE
            frequencies[component, size] += 1
    return OK


@njit(cache=True, nogil=True, inline="always")
def _put_byte(out, at, byte):
    """Write a byte, and a zero behind 0xFF, which would be a marker else; returns the place behind."""
    out[at] = byte
    if byte == 0xFF:
        out[at + 1] = 0
        return at + 2
    return at + 1


@njit(cache=True, nogil=True, inline="always")
def _put(out, at, held, count, value, bits):
    """Append up to 31 bits. `held` are the `count` < 32 bits that are not yet written; returns at, held and count."""
    held = held << bits | value
    count += bits
    if count >= 32:
        count -= 32
        word = held >> count & 0xFFFFFFFF
        held &= (1 << count) - 1
        inverse = ~word & 0xFFFFFFFF
        if (inverse - 0x01010101) & ~inverse & 0x80808080:  # a byte of it is 0xFF: Mycroft's test for a zero byte
            for shift in (24, 16, 8, 0):
                at = _put_byte(out, at, word >> shift & 0xFF)
        else:
            out[at] = word >> 24
            out[at + 1] = word >> 16 & 0xFF
            out[at + 2] = word >> 8 & 0xFF
            out[at + 3] = word & 0xFF
            at += 4
    return at, held, count


@njit(cache=True, nogil=True)
def write(clean, blocks, found, component_of_block, interval, codes, code_lengths, out, lengths):
    """Write the scan anew with a restart marker every `interval` MCUs; returns the bytes written to `out`.

    `codes` and `code_lengths` (int64 [components, DC_CATEGORIES]) are the new DC codes; the AC bits are copied.
    `lengths` (int64 [intervals]) gets the bytes of each interval, with its marker.
    `out` must hold twice the old bytes, 6 bytes a block and 4 an interval: all bits, new DC codes of up to 23 bits and
    padding, each byte of them stuffed.
    """
    per_mcu = len(component_of_block)
    mcus = len(blocks) // per_mcu
    at, held, count, written, start = 0, np.int64(0), 0, 0, 0
    for mcu in range(mcus):
        for i in range(per_mcu):
            block, component = mcu * per_mcu + i, component_of_block[i]
            difference = np.int64(found[block])
            size = _category(difference)
            extra = difference if difference >= 0 else difference + (1 << size) - 1
            at, held, count = _put(
                out, at, held, count, codes[component, size] << size | extra, code_lengths[component, size] + size
            )
            bit, end = blocks[block, 0], blocks[block, 1]
            while bit < end:
                some = min(end - bit, 24)
                at, held, count = _put(out, at, held, count, np.int64(_bits(clean, bit, some)), some)
                bit += some
        if (mcu + 1) % interval == 0 or mcu + 1 == mcus:
            padding = -count & 7
            held = held << padding | ((1 << padding) - 1)
            count += padding
            while count:
                count -= 8
                at = _put_byte(out, at, held >> count & 0xFF)
            held = np.int64(0)
            out[at] = 0xFF
            out[at + 1] = 0xD9 if mcu + 1 == mcus else 0xD0 + written % 8
            at += 2
            lengths[written] = at - start
            start = at
            written += 1
    return at
