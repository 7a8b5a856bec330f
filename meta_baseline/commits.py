"""Stages that are there whole or not at all: a killed run loses at most the stage it was in.

A stage writes its files into a temporary folder beside the final one. When it is done, the files are flushed to disk,
the folder is renamed into place, and last a record ``<stage>.commit.json`` is written with a hash of every file and
the key of the inputs it was made from. A stage counts as committed only while record, key and files agree.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from meta_baseline.errors import EnvironmentProblem, OutputFolderError

_MAX_SINGLE_SYNCS = 64


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_values(*values: object) -> str:
    """SHA-256 of values that JSON can write (others by their repr): the key of a stage's inputs."""
    text = json.dumps(values, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a whole file or leave what was there: temporary file, fsync, rename, fsync of the folder."""
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _sync_folder(path.parent)


@contextmanager
def committing(folder: str | Path, key: str) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it becomes ``folder``, with its record; on failure it is gone."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    temporary.chmod(0o755)
    try:
        yield temporary
        hashes = _hash_tree(temporary, sync=True)
        record_path(folder).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    write_atomic(record_path(folder), json.dumps({"key": key, "files": hashes}, indent=1) + "\n")


def commit_prepared(prepared: Path, target: Path, key: str) -> None:
    """Move a finished folder or single file to ``target``, where there is nothing or an empty folder, with its record.

    The record is written first here: after a kill in between, it stands beside nothing and counts for nothing, and
    what was prepared is still in its place.
    """
    hashes = _hash_tree(prepared, sync=True)
    if prepared.is_file():
        hashes = {target.name: hashes[prepared.name]}
    write_atomic(record_path(target), json.dumps({"key": key, "files": hashes}, indent=1) + "\n")
    prepared.replace(target)
    _sync_folder(target.parent)


def is_committed(folder: str | Path, key: str) -> bool:
    """True when ``folder``, or a single file, was committed from inputs with this key and has its recorded hashes."""
    folder = Path(folder)
    try:
        record: dict[str, Any] = json.loads(record_path(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return record.get("key") == key and folder.exists() and record.get("files") == _hash_tree(folder, sync=False)


def record_path(folder: Path) -> Path:
    """The commit record of a stage, beside its folder or file."""
    return folder.with_name(f"{folder.name}.commit.json")


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold ``folder`` for this process; released when the block or the process ends, however it ends.

    Raises:
        OutputFolderError: when another run holds it.
        EnvironmentProblem: when it cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise EnvironmentProblem(
            f"Cannot write to the output folder {folder}: {error.strerror}. Choose another with --output-dir."
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputFolderError(
                f"Another run is writing to {folder}. Wait for it, or choose another folder with --output-dir."
            ) from error
        yield


def _hash_tree(folder: Path, *, sync: bool) -> dict[str, str]:
    hashes: dict[str, str] = {}
    if folder.is_file():
        folder, paths = folder.parent, [folder]
    else:
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
    if sync and len(paths) > _MAX_SINGLE_SYNCS:
        # One flush of everything: a thousand images take 0.02 s this way and 5 s file by file.
        os.sync()
        sync = False
    for path in paths:
        if sync:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        hashes[path.relative_to(folder).as_posix()] = hash_file(path)
    return hashes


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
