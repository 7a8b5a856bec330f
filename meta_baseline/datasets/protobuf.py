"""Just enough of protocol buffers to read ``tf.train.Example``: features by name, as bytes and whole numbers.

    Example      1: Features
    Features     1: map entry, repeated            key 1: string, value 2: Feature
    Feature      1: BytesList   2: FloatList   3: Int64List
    ...List      1: value, repeated                numbers packed or one by one

Wire format: https://protobuf.dev/programming-guides/encoding/ and TensorFlow's example.proto and feature.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

_MAX_FEATURES = 1000
_FIXED_BYTES = {1: 8, 5: 4}


class BrokenMessage(ValueError):
    """Bytes that are no such message."""


def read_example(data: bytes) -> dict[str, list[bytes] | list[int]]:
    """The bytes and int64 features of an Example; features of floats are passed over.

    Raises:
        BrokenMessage: when the bytes are no Example.
    """
    features: dict[str, list[bytes] | list[int]] = {}
    for block in _submessages(data, 1):
        for entry in _submessages(block, 1):
            if len(features) >= _MAX_FEATURES:
                raise BrokenMessage("too many features")
            keys, values = list(_submessages(entry, 1)), list(_submessages(entry, 2))
            if len(keys) == len(values) == 1:
                features[keys[0].decode("utf-8", "replace")] = _read_feature(values[0])
    return features


def _read_feature(data: bytes) -> list[bytes] | list[int]:
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            return list(_submessages(value, 1))
        if number == 3 and isinstance(value, bytes):
            return [_as_signed(item) for item in _read_numbers(value)]
    return []


def _read_numbers(data: bytes) -> Iterator[int]:
    for number, value in _fields(data):
        if number != 1:
            continue
        if isinstance(value, int):
            yield value
            continue
        start = 0
        while start < len(value):
            item, start = _read_varint(value, start)
            yield item


def _submessages(data: bytes, wanted: int) -> Iterator[bytes]:
    for number, value in _fields(data):
        if number == wanted and isinstance(value, bytes):
            yield value


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    start = 0
    while start < len(data):
        key, start = _read_varint(data, start)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, start = _read_varint(data, start)
            yield number, value
            continue
        if kind == 2:
            size, start = _read_varint(data, start)
        elif kind in _FIXED_BYTES:
            size = _FIXED_BYTES[kind]
        else:
            raise BrokenMessage(f"unknown kind of field {kind}")
        if size > len(data) - start:
            raise BrokenMessage("a field is longer than the message")
        yield number, data[start : start + size]
        start += size


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if start + place >= len(data):
            raise BrokenMessage("a number is cut off")
        byte = data[start + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise BrokenMessage("a number is too long")


def _as_signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
