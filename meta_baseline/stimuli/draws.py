"""Uniform numbers by key and position: any of them alone, many images at once, without a generator object per image.

``uniforms(keys, attempts, n)`` is what a generator keyed by ``keys[i]`` would give as its numbers ``n * attempts[i]``
onwards. The numbers are those of SplitMix64 (Steele, Lea and Flood 2014, Fast splittable pseudorandom number
generators, doi:10.1145/2660193.2660195) started at the key: its state is a plain counter, so that a position can be
reached without walking there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Uniforms = NDArray[np.float64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def derive_keys(seed: int, stream: tuple[int, ...], numbers: NDArray[np.integer]) -> Keys:
    """One key per number [N]; other seeds, streams and numbers give unrelated keys."""
    base = np.random.SeedSequence(seed, spawn_key=stream).generate_state(1, np.uint64)
    return _mix(_mix(base + _STEP * numbers.astype(np.uint64)) ^ base)


def derive_key(key: Keys, purpose: int) -> Keys:
    """Keys [N] for another purpose, so that numbers drawn for one never meet those drawn for another."""
    return _mix(key ^ _mix(np.full(1, purpose + 1, np.uint64) * _STEP))


def uniforms(keys: Keys, attempts: NDArray[np.integer], count: int) -> Uniforms:
    """Numbers in [0, 1) [N, count]: those of attempt ``attempts[i]`` under ``keys[i]``."""
    positions = attempts.astype(np.uint64)[:, np.newaxis] * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
    return (_mix(keys[:, np.newaxis] + positions * _STEP) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pick(u: Uniforms, count: int | NDArray[np.integer]) -> NDArray[np.int64]:
    """Whole numbers 0 to ``count - 1`` from numbers in [0, 1)."""
    return (u * count).astype(np.int64)


def pick_other(first: NDArray[np.int64], u: Uniforms, count: int) -> NDArray[np.int64]:
    """Whole numbers 0 to ``count - 1`` that differ from ``first``: a step of 1 to ``count - 1`` round a circle."""
    return (first + 1 + pick(u, count - 1)) % count


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MULTIPLIER_1
    state = (state ^ (state >> np.uint64(27))) * _MULTIPLIER_2
    return state ^ (state >> np.uint64(31))
