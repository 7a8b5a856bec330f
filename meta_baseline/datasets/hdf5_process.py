"""The other end of ``hdf5_child``: starts the process that parses one HDF5 file, asks it, and ends it.

Whatever the file does to that process - exhaust it, hang it, crash it - comes out here as ``BrokenContainer`` with one
sentence. Nothing that comes back is more than was expected.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, UInt8
from numpy import ndarray

from meta_baseline.datasets import hdf5_child

MAX_SECONDS = 60.0
"""For one answer; a read answers for some dozen images."""

_MAX_HEADER_BYTES = 2**20


class BrokenContainer(ValueError):
    """A file of images that cannot be used; the message is the reason, without the file's name."""


class Hdf5Description:
    """What a file holds: per image, its size and label; latents and their names where it has them."""

    def __init__(self, header: dict[str, Any], sizes: ndarray, labels: ndarray, latents: ndarray) -> None:
        self.layout = str(header["layout"])
        self.counts = [tuple(map(int, counts)) for counts in header["counts"]]
        self.latent_names = [str(name) for name in header["latents"]]
        self.sizes: Int32[ndarray, "N 3"] = sizes
        self.labels: Float64[ndarray, " N"] = labels
        self.latents: Float64[ndarray, "N L"] = latents


class Hdf5Process:
    """One process that has one file open; safe to share between threads, and gone with this object."""

    def __init__(self, path: Path) -> None:
        environment = dict(os.environ, HDF5_PLUGIN_PRELOAD="::", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        # -P: the folder of the script is no place to import from.
        command = [sys.executable, "-P", hdf5_child.__file__, str(path.resolve())]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._requests, self._answers = process.stdin, process.stdout.fileno()
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, _end, process)

    def describe(self) -> Hdf5Description:
        """What the file holds.

        Raises:
            BrokenContainer: when it is refused or cannot be read.
        """
        with self._lock:
            deadline = time.monotonic() + MAX_SECONDS
            header = self._ask({"describe": True}, deadline)
            num_images, num_latents = int(header["count"]), len(header["latents"])
            if not 0 <= num_images <= hdf5_child.MAX_IMAGES or num_images * num_latents > hdf5_child.MAX_LATENT_VALUES:
                raise BrokenContainer("its description makes no sense")
            sizes = np.frombuffer(self._receive(12 * num_images, deadline), "<i4").reshape(num_images, 3)
            labels = np.frombuffer(self._receive(8 * num_images, deadline), "<f8")
            latents = np.frombuffer(self._receive(8 * num_images * num_latents, deadline), "<f8")
            return Hdf5Description(header, sizes, labels, latents.reshape(num_images, num_latents))

    def read(self, positions: Sequence[int], sizes: Int32[ndarray, "n 3"]) -> list[UInt8[ndarray, "H W C"] | None]:
        """Images of these sizes; None where the file is damaged.

        Raises:
            BrokenContainer: when the process ends or gives images of another size.
        """
        with self._lock:
            deadline = time.monotonic() + MAX_SECONDS
            header = self._ask({"read": [int(position) for position in positions]}, deadline)
            expected = [int(height) * int(width) * int(channels) for height, width, channels in sizes]
            lengths = header.get("lengths")
            if not isinstance(lengths, list) or len(lengths) != len(expected):
                raise BrokenContainer("it changed while it was read")
            images: list[UInt8[ndarray, "H W C"] | None] = []
            for length, bytes_expected, size in zip(lengths, expected, sizes):
                if length not in (-1, bytes_expected):
                    raise BrokenContainer("it changed while it was read")
                data = None if length == -1 else self._receive(bytes_expected, deadline)
                images.append(None if data is None else np.frombuffer(data, np.uint8).reshape(size))
            return images

    def _ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        with suppress(BrokenPipeError):  # a process that ended may have said why
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        while b"\n" not in self._buffer:
            if len(self._buffer) > _MAX_HEADER_BYTES:
                raise BrokenContainer("its description is too long")
            self._fill(2**16, deadline)
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        header = json.loads(bytes(line))
        if "refused" in header:
            raise BrokenContainer(str(header["refused"]))
        return header

    def _receive(self, num_bytes: int, deadline: float) -> bytearray:
        received = self._buffer[:num_bytes]
        del self._buffer[:num_bytes]
        self._buffer, rest = received, self._buffer
        while len(self._buffer) < num_bytes:
            self._fill(num_bytes - len(self._buffer), deadline)
        self._buffer, received = rest, self._buffer
        return received

    def _fill(self, most: int, deadline: float) -> None:
        ready, _, _ = select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            self.close()
            raise BrokenContainer(f"reading it took longer than {MAX_SECONDS:.0f} s")
        piece = os.read(self._answers, min(most, 2**20))
        if not piece:
            code = self._process.wait()
            self.close()
            raise BrokenContainer(f"it ends the process that parses it (code {code})")
        self._buffer += piece


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
