"""CRC-32C (Castagnoli), the checksum of TFRecord files, a few thousand bytes per NumPy call.

Reflected polynomial 0x82F63B78, register and result inverted (RFC 3720, section 12.1 and appendix B.4). The register
is linear in the bits of the message: a byte that is followed by n others contributes a value that depends on the byte
and n alone, so the contributions are looked up in a table and XORed. What the register holds before a block acts as
if it were XORed into the first four bytes of the block.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import UInt32
from numpy import ndarray

_POLYNOMIAL = 0x82F63B78
_BLOCK = 4096


def crc32c(data: bytes) -> int:
    """CRC-32C of ``data``; that of b"123456789" is 0xE3069283."""
    table = _contributions()
    register = 0xFFFFFFFF
    # A short block comes first: only the first block may be shorter than the register without losing bits of it.
    first = len(data) % _BLOCK or min(_BLOCK, len(data))
    ends = range(first, len(data) + 1, _BLOCK) if data else ()
    start = 0
    for end in ends:
        block = np.frombuffer(data, np.uint8, end - start, start)
        size = len(block)
        head = min(size, 4)
        mixed = block.copy()
        mixed[:head] ^= np.array(register, "<u4").reshape(1).view(np.uint8)[:head]
        # Of a block shorter than the register, the register's further bytes move down unchanged.
        left_over = register >> (8 * head) if size < 4 else 0
        register = int(np.bitwise_xor.reduce(table[np.arange(size - 1, -1, -1), mixed])) ^ left_over
        start = end
    return register ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The form in which TFRecord files store it: rotated right by 15 bits, plus a constant."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _contributions() -> UInt32[ndarray, "4096 256"]:
    """[n, byte]: what a byte adds to the register when n bytes follow it."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> 1 ^ _POLYNOMIAL, row >> 1).astype(np.uint32)
    table = np.empty((_BLOCK, 256), np.uint32)
    table[0] = row
    for n in range(1, _BLOCK):
        table[n] = table[n - 1] >> 8 ^ row[table[n - 1] & 0xFF]
    return table
