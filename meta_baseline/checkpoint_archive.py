"""Is this file a checkpoint that can be read without running anything? Its structure is checked before it is opened.

Three containers are known: the zip archive that ``torch.save`` writes, the plain pickle stream of torch before 1.6, and
safetensors. Pickles are programs; the names they may call are checked here against a short list of tensor
constructors, before ``torch.load(weights_only=True)`` checks them again in its own way.
"""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Literal

from meta_baseline.errors import CheckpointError

Container = Literal["zip", "legacy", "safetensors"]

MAX_FILE_BYTES = 4 << 30
MAX_PICKLE_BYTES = 16 << 20
MAX_HEADER_BYTES = 16 << 20
MAX_ENTRIES = 100_000
MAX_OPCODES = 2_000_000
_SAVE_AGAIN = "Save it again with torch.save(model.state_dict(), path)"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first number in every file of torch.save before 1.6
_LEGACY_PICKLES = 4  # magic number, protocol, system, object
_KINDS = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_CONSTRUCTORS = frozenset(
    [
        "collections.OrderedDict",
        "collections.Counter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.nn.parameter.Parameter",
        "torch.storage.UntypedStorage",
        "torch.Size",
        "torch.device",
        "_codecs.encode",
        *(f"torch.{kind}Storage" for kind in _KINDS),
        *(f"torch.{dtype}" for dtype in _DTYPES),
    ]
)
# Named for what the user sees in the file, rather than for the constructor.
_UNSUPPORTED = {
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors without data (device 'meta')",
    "torch.ComplexFloatStorage": "complex tensors",
    "torch.ComplexDoubleStorage": "complex tensors",
    "torch.complex64": "complex tensors",
    "torch.complex128": "complex tensors",
}


def check_structure(path: Path, *, extra_names: frozenset[str] = frozenset()) -> Container:
    """Which container ``path`` is, after everything about it that can be checked without unpickling.

    Args:
        path: the file.
        extra_names: dotted names that a pickle may use beside tensor constructors, because the reader replaces them.

    Raises:
        CheckpointError: when there is no such file, or it is empty, truncated, compressed, a TorchScript archive, not a
            checkpoint at all, or a pickle that asks for anything but tensors and plain values.
    """
    size = _file_size(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
            if start[:4] == b"PK\x03\x04":
                _check_zip(path, size, extra_names)
                return "zip"
            # A header of 128 bytes more than a multiple of 256 begins with the first byte of a pickle.
            is_header = start[8:] == b"{" and int.from_bytes(start[:8], "little") < size
            if start[:1] == b"\x80" and not is_header:
                stream.seek(0)
                _check_legacy(path, stream, extra_names)
                return "legacy"
            if path.suffix == ".safetensors" or start[8:] == b"{":
                stream.seek(0)
                _check_safetensors(path, stream, size)
                return "safetensors"
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
    found = "a text or data file" if start.isascii() else "no known kind of file"
    raise CheckpointError(f"{path} is no checkpoint: it is {found}. Pass a file written by torch.save or safetensors.")


def printable(value: object) -> str:
    """Text out of an untrusted file as at most 120 characters of one line without control characters."""
    text = " ".join(str(value).split())[:120]
    return "".join(character if character.isprintable() else "?" for character in text)


def _file_size(path: Path) -> int:
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder. Name the checkpoint file inside it.")
        if not path.is_file():
            raise CheckpointError(f"No checkpoint at {path}. Check the path.")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Cannot read {path}: {error}. Check the path and its permissions.") from error
    if size == 0:
        raise CheckpointError(f"{path} is empty. Copy or save the checkpoint again.")
    if size > MAX_FILE_BYTES:
        raise CheckpointError(f"{path} has {size >> 30} GiB, more than any network here. {_SAVE_AGAIN}.")
    return size


def _check_zip(path: Path, size: int, extra_names: frozenset[str]) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, size, entries)
            pickles = [entry for entry in entries if entry.filename.count("/") == 1 and _leaf(entry) == "data.pkl"]
            if len(pickles) != 1:
                raise CheckpointError(f"{path} is a zip file but no checkpoint: it has no data.pkl. {_SAVE_AGAIN}.")
            if pickles[0].file_size > MAX_PICKLE_BYTES:
                raise CheckpointError(f"{path} holds far more than weights. {_SAVE_AGAIN}.")
            _check_names(path, _pickle_names(path, BytesIO(archive.read(pickles[0])), count=1), extra_names)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, struct.error) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({printable(error)}). Copy or save it again.") from error


def _check_entries(path: Path, size: int, entries: list[zipfile.ZipInfo]) -> None:
    if any(_leaf(entry) == "constants.pkl" or "/code/" in entry.filename for entry in entries):
        raise CheckpointError(f"{path} is a TorchScript archive, which holds code. {_SAVE_AGAIN}.")
    # torch.save stores entries as they are; only a bomb declares more bytes than the file has.
    compressed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
    if compressed or sum(entry.file_size for entry in entries) > size:
        total = sum(entry.file_size for entry in entries)
        raise CheckpointError(
            f"{path} is compressed ({size} bytes that declare {total}), which torch.save never does. {_SAVE_AGAIN}."
        )
    if len(entries) > MAX_ENTRIES or len({entry.filename for entry in entries}) != len(entries):
        raise CheckpointError(f"{path} has too many or repeated entries for a checkpoint. {_SAVE_AGAIN}.")


def _check_legacy(path: Path, stream: BufferedReader | BytesIO, extra_names: frozenset[str]) -> None:
    first = next((value for _, value in _opcodes(path, stream) if isinstance(value, int) and value > 255), None)
    stream.seek(0)
    if first != _LEGACY_MAGIC:
        _check_names(path, _pickle_names(path, stream, count=1), extra_names)
        raise CheckpointError(f"{path} is a pickle, but not one of torch.save. {_SAVE_AGAIN}.")
    _check_names(path, _pickle_names(path, stream, count=_LEGACY_PICKLES), extra_names)


def _check_names(path: Path, names: Iterator[str], extra_names: frozenset[str]) -> None:
    for name in names:
        if name in _UNSUPPORTED:
            raise CheckpointError(f"{path} holds {_UNSUPPORTED[name]}; weights must be dense numbers. {_SAVE_AGAIN}.")
        if name not in _CONSTRUCTORS and name not in extra_names:
            raise CheckpointError(
                f"{path} asks for {name[:80]!r}, which is no weight and could run code; nothing was run. {_SAVE_AGAIN}."
            )


def _pickle_names(path: Path, stream: BufferedReader | BytesIO, count: int) -> Iterator[str]:
    """Dotted names of everything that the next ``count`` pickles of a stream would import."""
    for _ in range(count):
        strings: list[str] = ["", ""]
        for opcode, value in _opcodes(path, stream):
            if opcode in ("GLOBAL", "INST"):
                yield str(value).replace(" ", ".")
            elif opcode == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif opcode.startswith("EXT"):
                yield f"copyreg extension {value}"
            elif isinstance(value, str):
                strings = [strings[-1], value]


def _opcodes(path: Path, stream: BufferedReader | BytesIO) -> Iterator[tuple[str, object]]:
    try:
        for count, (opcode, value, _) in enumerate(pickletools.genops(stream)):
            if count == MAX_OPCODES:
                raise CheckpointError(f"{path} holds far more than weights. {_SAVE_AGAIN}.")
            yield opcode.name, value
    except (ValueError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({printable(error)}). Copy or save it again.") from error


def _check_safetensors(path: Path, stream: BufferedReader | BytesIO, size: int) -> None:
    start = stream.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise CheckpointError(
            f"{path} is damaged: its header claims {length} bytes of a file of {size}. Copy or save it again."
        )
    try:
        header = json.loads(stream.read(length))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is not JSON. Copy or save it again.") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is damaged: its header lists no tensors. Copy or save it again.")


def _leaf(entry: zipfile.ZipInfo) -> str:
    return entry.filename.rpartition("/")[2]
