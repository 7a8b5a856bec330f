"""Stimuli as episodes in HDF5, in the layout of the published research code, with balanced queries and latents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from meta_baseline.errors import UsageError
from meta_baseline.stimuli.folder import slice_range
from meta_baseline.stimuli.png import deflate
from meta_baseline.stimuli.stimulus_set import KEYS, Columns, ImageSet

SUPPORT_SIZES = (4, 6, 8, 10)
QUERY_SIZE = 4
NUM_EPISODES = {"train": 1000, "val": 200, "test": 200}
"""As published; the published queries are two of class 1 and one of class 0, though, which tells the class."""

_EPISODES_PER_CHUNK = 16
_PARTS = ("support", "query")


@dataclass(frozen=True, kw_only=True)
class EpisodesFile:
    """``<task>_support<k>_<split>.h5`` with E episodes of k support and q query images, half of each class.

    support_images, query_images: uint8 [E, k, H, W, 3], white 255, compressed episode by episode.
    support_labels, query_labels: float32 [E, k]; 1 where the rule holds, in an order of each episode's own.
    support_index, query_index: int64 [E, k]; no image occurs twice in a file.
    support_latents, query_latents: float64 [E, k, L], their names in the attribute ``names``, the identity first.

    The attributes task, seed, split and identities (0: every image its own) with the index make an image again.
    """

    stimuli: ImageSet
    num_episodes: int
    support_size: int
    query_size: int = QUERY_SIZE

    @property
    def images_per_item(self) -> int:
        """Images of one episode."""
        return self.support_size + self.query_size

    @property
    def target(self) -> Path:
        """Where it lies in the output folder."""
        return Path(f"{self.stimuli.task}_support{self.support_size}_{self.stimuli.split}.h5")

    @property
    def title(self) -> str:
        """What it is, in words."""
        return (
            f"{self.num_episodes} episodes of {self.stimuli.task} with {self.support_size} support and "
            f"{self.query_size} query images"
        )

    def list_chunks(self) -> list[range]:
        """Episodes in slices."""
        return slice_range(self.num_episodes, _EPISODES_PER_CHUNK)

    def make_chunk(self, chunk: range, output: Path) -> Columns:
        """Compressed images, labels, indices and latents of some episodes."""
        support = self.support_size
        numbers = self.stimuli.shuffling_generator(support).permutation(self.num_episodes)[chunk.start : chunk.stop]
        indices = np.stack([self._order_images(int(number)) for number in numbers])
        images, columns = self.stimuli.draw(indices.ravel().tolist())
        if images.ndim == 3:
            images = np.repeat(images[..., np.newaxis], 3, axis=3)
        images = images.reshape(*indices.shape, *images.shape[1:])
        names = [name for name in columns if name == "identity" or name not in KEYS]
        latents = np.stack([columns[name].astype(np.float64) for name in names], axis=-1)
        arrays: Columns = {"names": np.array(names)}
        parts = (slice(None, support), slice(support, None))
        for part, where in zip(_PARTS, parts):
            packed = [deflate(episode[where]) for episode in images]
            arrays[f"{part}_packed"] = np.frombuffer(b"".join(packed), np.uint8)
            arrays[f"{part}_lengths"] = np.array([len(one) for one in packed])
            arrays[f"{part}_labels"] = (indices[:, where] % 2).astype(np.float32)
            arrays[f"{part}_index"] = indices[:, where]
            arrays[f"{part}_latents"] = latents.reshape(*indices.shape, -1)[:, where]
        return arrays

    def is_whole(self, chunk: range, columns: Columns, output: Path) -> bool:
        """Always: a slice has no files of its own."""
        return True

    def assemble(self, chunks: Iterable[Columns], output: Path) -> None:
        """Write the file; only the images of one slice are in memory at a time."""
        stimuli, task = self.stimuli, self.stimuli.about
        with h5py.File(output, "w") as file:
            file.attrs.update(
                task=stimuli.task, seed=stimuli.seed, split=stimuli.split, identities=stimuli.identities or 0,
                support_size=self.support_size, query_size=self.query_size, image_size=stimuli.image_size,
                rule=task.rule, class_1_means=task.class_1_means,
            )  # fmt: skip
            start = 0
            for chunk in chunks:
                if start == 0:
                    self._create_datasets(file, chunk)
                stop = start + len(chunk["support_labels"])
                for part in _PARTS:
                    for kind in ("labels", "index", "latents"):
                        file[f"{part}_{kind}"][start:stop] = chunk[f"{part}_{kind}"]  # pyright: ignore[reportIndexIssue]
                    ends = np.cumsum(chunk[f"{part}_lengths"]).tolist()
                    packed = chunk[f"{part}_packed"].tobytes()
                    images = file[f"{part}_images"]
                    for number, (first, last) in enumerate(zip([0, *ends], ends), start=start):
                        images.id.write_direct_chunk((number, 0, 0, 0, 0), packed[first:last])  # pyright: ignore
                start = stop

    def _order_images(self, number: int) -> NDArray[np.int64]:
        """Image numbers of an episode, support first, each part shuffled."""
        rng = self.stimuli.shuffling_generator(self.support_size, number)
        first = number * self.images_per_item
        support = first + rng.permutation(self.support_size)
        return np.concatenate([support, first + self.support_size + rng.permutation(self.query_size)])

    def _create_datasets(self, file: h5py.File, chunk: Columns) -> None:
        size = self.stimuli.image_size
        for part, number in zip(_PARTS, (self.support_size, self.query_size)):
            episode = (number, size, size, 3)
            file.create_dataset(
                f"{part}_images", (self.num_episodes, *episode), np.uint8,
                chunks=(1, *episode), compression="gzip", compression_opts=1, track_times=False,
            )  # fmt: skip
            for kind in ("labels", "index", "latents"):
                example = chunk[f"{part}_{kind}"]
                shape = (self.num_episodes, *example.shape[1:])
                file.create_dataset(f"{part}_{kind}", shape, example.dtype, track_times=False)
            file[f"{part}_latents"].attrs["names"] = [str(name) for name in chunk["names"]]


def check_episode_options(*, num_episodes: int, support_sizes: tuple[int, ...], query_size: int) -> None:
    """Refuse numbers that no balanced episodes can be made from.

    Raises:
        UsageError: naming the number and what it may be.
    """
    if num_episodes < 1:
        raise UsageError(f"Cannot generate {num_episodes} episodes. Choose 1 or more with --num-episodes.")
    for option, sizes in (("--support-size", support_sizes), ("--query-size", (query_size,))):
        for size in sizes:
            if size < 2 or size % 2:
                raise UsageError(f"Cannot balance {size} images. Choose an even number with {option}.")
    if len(set(support_sizes)) < len(support_sizes) or not support_sizes:
        listed = ",".join(map(str, support_sizes))
        raise UsageError(f"Cannot make episodes of support sizes {listed or '(none)'}. Name each size once.")
