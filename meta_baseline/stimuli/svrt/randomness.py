"""Random numbers inside the kernels: xoshiro256++, one stream for every key.

D. Blackman & S. Vigna 2021, Scrambled linear pseudorandom number generators, ACM TOMS 47(4), arXiv:1805.01407; the
state is filled by SplitMix64 (G. Steele, D. Lea & C. Flood 2014, OOPSLA), as its authors advise.
"""

from __future__ import annotations

import numpy as np

from meta_baseline.stimuli.svrt.kernels import POOL_SIZE, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_B11, _B17, _B19, _B23 = np.uint64(11), np.uint64(17), np.uint64(19), np.uint64(23)
_B27, _B30, _B31, _B32, _B41, _B45 = (np.uint64(bits) for bits in (27, 30, 31, 32, 41, 45))
_UNIT = 2.0**-53
_TWO_UNITS_OF_32 = 2.0**-31


@kernel
def seed_generator(desk, key):
    """Start the stream of a key of 64 bits; nothing of an earlier one is left over."""
    for word in range(4):
        key += _GOLDEN
        desk.random_state[word] = _mix(key)
    desk.pool_next = POOL_SIZE


@kernel
def draw_uniform(desk):
    """A number uniform in [0, 1), 53 bits."""
    state = desk.random_state
    bits, state[0], state[1], state[2], state[3] = _step(state[0], state[1], state[2], state[3])
    return np.int64(bits >> _B11) * _UNIT


@kernel
def fill_pool(desk):
    """Draw points uniform in the unit disc ahead: one 64-bit number gives both coordinates, points outside are lost."""
    state, u_pool, v_pool = desk.random_state, desk.pool_u, desk.pool_v
    a, b, c, d = state[0], state[1], state[2], state[3]
    size = 0
    while size < POOL_SIZE:
        bits, a, b, c, d = _step(a, b, c, d)
        u = np.int64(bits >> _B32) * _TWO_UNITS_OF_32 - 1.0
        v = np.int64(bits & _LOW_HALF) * _TWO_UNITS_OF_32 - 1.0
        u_pool[size], v_pool[size] = u, v
        # Without a branch, which would be mispredicted every fifth time.
        size += 1 if u * u + v * v <= 1.0 else 0
    state[0], state[1], state[2], state[3] = a, b, c, d
    desk.pool_next = 0


@kernel
def _step(a, b, c, d):
    total = a + d
    result = ((total << _B23) | (total >> _B41)) + a
    shifted = b << _B17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << _B45) | (d >> _B19)
    return result, a, b, c, d


@kernel
def _mix(word):
    word = (word ^ (word >> _B30)) * _FIRST_FACTOR
    word = (word ^ (word >> _B27)) * _SECOND_FACTOR
    return word ^ (word >> _B31)
