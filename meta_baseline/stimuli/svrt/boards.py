"""Boards: sets of pixels of the canvas as bits, 128 rows of two 64-bit words, column 0 the lowest bit of the first.

Growing, filling and counting go a row at a time instead of a pixel at a time.
"""

from __future__ import annotations

import numpy as np

from meta_baseline.stimuli.svrt.kernels import kernel

_ONE, _ZERO = np.uint64(1), np.uint64(0)
_TOP = np.uint64(63)
# Columns 1 to 126: growing stays off the border, as in the published program.
_INNER_LOW, _INNER_HIGH = np.uint64(2**64 - 2), np.uint64(2**63 - 1)
_SHIFTS = tuple(np.uint64(1 << power) for power in range(6))
_PAIRS, _QUADS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _SUM = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)


@kernel
def holds(board, column, row):
    """Whether a pixel is on the board."""
    return (board[row, column >> 6] >> np.uint64(column & 63)) & _ONE != _ZERO


@kernel
def clear(board):
    """Take every pixel off."""
    for row in range(128):
        board[row, 0] = _ZERO
        board[row, 1] = _ZERO


@kernel
def copy(board, other):
    """Make the board that of another."""
    for row in range(128):
        board[row, 0] = other[row, 0]
        board[row, 1] = other[row, 1]


@kernel
def fill_complement(board, other):
    """The board of the pixels that are not on another."""
    for row in range(128):
        board[row, 0] = ~other[row, 0]
        board[row, 1] = ~other[row, 1]


@kernel
def join(board, other):
    """Add the pixels of another board."""
    for row in range(128):
        board[row, 0] |= other[row, 0]
        board[row, 1] |= other[row, 1]


@kernel
def count_common(board, other):
    """Number of pixels that are on both boards."""
    count = 0
    for row in range(128):
        count += _count_bits(board[row, 0] & other[row, 0]) + _count_bits(board[row, 1] & other[row, 1])
    return count


@kernel
def add_outline(board, desk, slot, column, row):
    """Add the pixels of a contour placed inside the canvas."""
    columns, rows = desk.columns[slot], desk.rows[slot]
    for pixel in range(desk.num_pixels[slot]):
        across = columns[pixel] + column
        board[rows[pixel] + row, across >> 6] |= _ONE << np.uint64(across & 63)


@kernel
def meets(board, desk, slot, column, row):
    """Whether any pixel of a contour placed inside the canvas is on the board."""
    columns, rows, num_pixels = desk.columns[slot], desk.rows[slot], desk.num_pixels[slot]
    # Pixels side by side on the contour tend to be both on or both off, so that far ones are looked at first.
    for first in range(8):
        for pixel in range(first, num_pixels, 8):
            across = columns[pixel] + column
            if (board[rows[pixel] + row, across >> 6] >> np.uint64(across & 63)) & _ONE != _ZERO:
                return True
    return False


@kernel
def grow(board, times):
    """Add the four neighbours of every pixel, so many times; pixels of the border are not added."""
    for _ in range(times):
        above_low, above_high = board[0, 0], board[0, 1]
        for row in range(1, 127):
            low, high = board[row, 0], board[row, 1]
            grown_low = (low << _ONE) | (low >> _ONE) | (high << _TOP) | above_low | board[row + 1, 0]
            grown_high = (high << _ONE) | (high >> _ONE) | (low >> _TOP) | above_high | board[row + 1, 1]
            board[row, 0] = low | (grown_low & _INNER_LOW)
            board[row, 1] = high | (grown_high & _INNER_HIGH)
            above_low, above_high = low, high


@kernel
def widen(board):
    """Add the eight neighbours of every pixel: a contour meets the widened board when it touches what was on it."""
    above_low, above_high = _ZERO, _ZERO
    for row in range(128):
        low, high = board[row, 0], board[row, 1]
        wide_low = low | (low << _ONE) | (low >> _ONE) | (high << _TOP)
        wide_high = high | (high << _ONE) | (high >> _ONE) | (low >> _TOP)
        board[row, 0], board[row, 1] = wide_low | above_low, wide_high | above_high
        if row > 0:
            board[row - 1, 0] |= wide_low
            board[row - 1, 1] |= wide_high
        above_low, above_high = wide_low, wide_high


@kernel
def flood(board, ink, column, row, top, bottom):
    """The pixels that can be reached from one by steps to the four neighbours without treading on an outline.

    Args:
        board: receives the pixels.
        ink: the outline.
        column, row: where the flood begins; on ink it fills nothing.
        top, bottom: first and last row of the outline, which keeps off the border of the canvas.

    Returns:
        Whether the flood stays inside the outline. A contour need not go round its centre: where its hole is small, it
        may pass it on one side, and the published program then fills the canvas round it.
    """
    clear(board)
    if holds(ink, column, row):
        return True
    board[row, column >> 6] = _ONE << np.uint64(column & 63)
    _flood_row(board, ink, row, row)
    changed = True
    while changed:
        changed = False
        for below in range(top, bottom + 2):
            changed |= _flood_row(board, ink, below, below - 1)
        for above in range(bottom, top - 2, -1):
            changed |= _flood_row(board, ink, above, above + 1)
    return board[top - 1, 0] == _ZERO


@kernel
def _flood_row(board, ink, row, neighbour):
    """Let a row take up what is in a neighbouring one and spread; whether it changed."""
    free_low, free_high = ~ink[row, 0], ~ink[row, 1]
    low = (board[row, 0] | board[neighbour, 0]) & free_low
    high = (board[row, 1] | board[neighbour, 1]) & free_high
    if row != neighbour and low == board[row, 0] and high == board[row, 1]:
        return False
    # Towards higher columns: adding a seed to the run of free pixels it lies in carries to the end of the run.
    total_low = free_low + low
    carry = _ONE if total_low < low else _ZERO
    total_high = free_high + high + carry
    low |= (total_low ^ free_low) & free_low
    high |= (total_high ^ free_high) & free_high
    # Towards lower columns: in steps of 1, 2, 4, ... pixels, through runs that are free all the way.
    high = _spread_down(high, free_high)
    low = _spread_down(low | ((high & _ONE) << _TOP & free_low), free_low)
    changed = low != board[row, 0] or high != board[row, 1]
    board[row, 0], board[row, 1] = low, high
    return changed


@kernel
def _spread_down(seeds, free):
    for shift in _SHIFTS:
        seeds |= free & (seeds >> shift)
        free &= free >> shift
    return seeds


@kernel
def _count_bits(word):
    word -= (word >> np.uint64(1)) & _PAIRS
    word = (word & _QUADS) + ((word >> np.uint64(2)) & _QUADS)
    word = (word + (word >> np.uint64(4))) & _BYTES
    return np.int64((word * _SUM) >> np.uint64(56))
