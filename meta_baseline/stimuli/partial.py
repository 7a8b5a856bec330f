"""Output in the making, in chunks that a later run can take up: a kill costs the chunks that were being made.

Beside its future place a set of stimuli has a hidden folder ``.<name>.partial``:

    key             what is being made; of something else, everything is thrown away
    output          the file, or folder of files, that is moved into place when it is whole
    chunks/<n>.npz  what is known of chunk n, written last: a chunk is there when this file is

Every chunk depends on its number alone, so it does not matter which run or which process made it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import zipfile
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from meta_baseline.stimuli.stimulus_set import Columns

_MARGIN_BYTES = 2**19


@dataclass(frozen=True)
class PartialOutput:
    """The hidden folder of one output."""

    folder: Path

    @staticmethod
    def beside(target: Path) -> PartialOutput:
        """The one that belongs to an output at ``target``."""
        return PartialOutput(target.with_name(f".{target.name}.partial"))

    @property
    def output(self) -> Path:
        """What will be moved into place."""
        return self.folder / "output"

    def start(self, key: str) -> None:
        """Make the folder, or go on with it if it is of the same key."""
        record = self.folder / "key"
        if record.is_file() and record.read_text(encoding="utf-8") == key:
            return
        self.discard()
        (self.folder / "chunks").mkdir(parents=True)
        record.write_text(key, encoding="utf-8")

    def discard(self) -> None:
        """Throw everything away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, number: int, columns: Columns) -> None:
        """Note that chunk ``number`` is made; its files, if it has any, are written before."""
        path = self._path(number)
        temporary = path.with_suffix(f".{os.getpid()}")
        with temporary.open("wb") as stream:
            np.savez(stream, **columns)  # pyright: ignore[reportArgumentType]
        temporary.replace(path)

    def read(self, number: int) -> Columns:
        """What was kept of chunk ``number``."""
        with np.load(self._path(number), allow_pickle=False) as arrays:
            return dict(arrays)

    def find(self, number: int) -> Columns | None:
        """What was kept of chunk ``number``, None where it is not there or damaged, as after a power cut."""
        try:
            return self.read(number)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def check_room(self) -> None:
        """Make sure that the chunks fit on the disk once more, as the whole that is made of them.

        HDF5 crashes where it runs out of space half-way, so what it will need is taken for a moment beforehand.

        Raises:
            OSError: where there is no room.
        """
        needed = sum(path.stat().st_size for path in (self.folder / "chunks").iterdir())
        reserved = self.folder / "reserved"
        try:
            with reserved.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, needed + needed // 4 + _MARGIN_BYTES)
        finally:
            reserved.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / "chunks" / f"{number:06d}.npz"


def digest_files(paths: list[Path]) -> str:
    """SHA-256 over the bytes of files in this order; "" when one is missing."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            digest.update(path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()


@cache
def end_with_parent() -> None:
    """Let this worker process end when the process that started it is gone, however that ended.

    Otherwise a worker of a killed run could still be writing while the next run believes it is alone.
    """
    parent = parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()
