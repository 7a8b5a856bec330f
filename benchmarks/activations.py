"""Activations of conv6 at 128 px on one thread: collecting them, all CKA of two networks, PCA of the first layer.

    OMP_NUM_THREADS=1 python benchmarks/activations.py                        # everything
    OMP_NUM_THREADS=1 python benchmarks/activations.py collection             # images per CPU second, memory
    OMP_NUM_THREADS=1 python benchmarks/activations.py cka --num-images 1000  # beside two Gram matrices for every pair
    OMP_NUM_THREADS=1 python benchmarks/activations.py pca                    # beside scikit-learn's randomised solver

Each measurement runs in a process of its own, so that its peak memory is its own. Times are of the processor; images
are 64 stimuli over and over. "Beyond the base" is what the peak adds to the process as it stands with the network and
the images loaded.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA

from meta_baseline import similarity
from meta_baseline.activations import collect_grams, collect_store, recording
from meta_baseline.datasets import Stimuli
from meta_baseline.layers import list_layers
from meta_baseline.models import ConvNet, architecture_of, build_network
from meta_baseline.stimuli import generate_dataset

SIZES = (500, 1000, 2000)
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("collection", "cka", "pca"), help="one of them (default: all)")
    parser.add_argument("--num-images", type=int, default=1000, help="for cka and pca (default: 1000)")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "N"), help="one measurement, in this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        CASES[options.one[0]](int(options.one[1]))
        return
    for name in ("collection", "cka", "pca") if options.what is None else (options.what,):
        sizes = SIZES if name == "collection" else (options.num_images,)
        for case in (case for case in CASES if case.startswith(name)):
            for size in sizes:
                subprocess.run([sys.executable, __file__, "--one", case, str(size)], check=True)


def collect_in_memory(num_images: int) -> None:
    run_collection("reduced in the hook, in memory", num_images)


def collect_on_disk(num_images: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_collection("reduced in the hook, on disk", num_images, folder=Path(folder))


def collect_on_disk_with_grams(num_images: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_collection(
            "the same with Gram matrices of 500 whole maps, spilled",
            num_images,
            folder=Path(folder),
            gram_images=500,
            max_memory=0,
        )


def run_collection(title: str, num_images: int, **options) -> None:
    network, images = make_network(0), make_images()
    layers = [layer for layer in list_layers(network) if layer.role != "classifier"]
    base, started = peak(), time.process_time()
    store = collect_store(
        network,
        batches(images, num_images),
        layers,
        network="meta",
        stimuli=make_stimuli(num_images),
        rng=np.random.default_rng(0),
        **options,
    )
    seconds = time.process_time() - started
    print(
        f"{title}, {len(store.layers)} layers, {num_images} images: {num_images / seconds:.0f} images/s, "
        f"{peak() - base:.0f} MB beyond the base ({base:.0f} MB); the store holds {store.num_bytes / 1e6:.0f} MB",
        flush=True,
    )


def keep_everything(num_images: int) -> None:
    """The plain way: hooks that keep whole maps before and after the pool to the end."""
    if num_images > 1000:
        return
    network, images = make_network(0), make_images()
    layers = [layer for layer in list_layers(network) if layer.role != "classifier"]
    names = [name for layer in layers for name in dict.fromkeys((layer.activation, layer.pooled))]
    base, started = peak(), time.process_time()
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    with torch.inference_mode(), recording(network, names) as outputs:
        for batch, *_ in batches(images, num_images):
            network(network.preprocessing(batch))
            for name, values in outputs.items():
                kept[name].append(values)
    seconds = time.process_time() - started
    print(
        f"keeping whole maps before and after the pool, {num_images} images: {num_images / seconds:.0f} images/s, "
        f"{peak() - base:.0f} MB beyond the base",
        flush=True,
    )


def compare_from_grams(num_images: int) -> None:
    """One Gram matrix per network and layer; the tables of all layers with all."""
    images, networks = make_images(), [make_network(seed) for seed in (0, 1)]
    names = hidden(networks[0])
    started = time.process_time()
    for network in networks:
        with torch.inference_mode():
            for batch, *_ in batches(images, num_images):
                network(network.preprocessing(batch).contiguous(memory_format=torch.channels_last))
    forward = time.process_time() - started
    base, started = peak(), time.process_time()
    grams = [collect_grams(network, list(batches(images, num_images)), names) for network in networks]
    collected = time.process_time()
    units = [np.stack([similarity.unit_geometry(gram) for gram in own.values()]) for own in grams]
    tables = [similarity.align(units[i], units[j]) for i, j in ((0, 0), (1, 1), (0, 1))]
    seconds = time.process_time() - started
    print(
        f"{sum(table.size for table in tables)} CKA from {2 * len(names)} Gram matrices, {num_images} images: "
        f"{seconds - forward:.1f} s beyond the forward passes ({forward:.1f} s; tables alone "
        f"{time.process_time() - collected:.2f} s), {peak() - base:.0f} MB beyond the base, peak {peak():.0f} MB",
        flush=True,
    )


def compare_pair_by_pair(num_images: int) -> None:
    """The plain way: both Gram matrices of every pair are made anew from activations that were kept."""
    images, networks = make_images(), [make_network(seed) for seed in (0, 1)]
    names = hidden(networks[0])
    base = peak()
    kept = []
    for network in networks:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        with torch.inference_mode(), recording(network, names) as outputs:
            for batch, *_ in batches(images, num_images):
                network(network.preprocessing(batch).contiguous(memory_format=torch.channels_last))
                for name in names:
                    parts[name].append(outputs[name].flatten(1).numpy())
        kept.append([np.concatenate(values) for values in parts.values()])
    started = time.process_time()
    count = 0
    for first, second in ((0, 0), (1, 1), (0, 1)):
        for i in range(len(names)):
            for j in range(i + 1, len(names)):
                x, y = (similarity.gram_matrix(layer) for layer in (kept[first][i], kept[second][j]))
                similarity.debiased_cka(x, y)
                count += 1
    print(
        f"{count} CKA with two Gram matrices each, {num_images} images: {time.process_time() - started:.1f} s beyond "
        f"the forward passes, {peak() - base:.0f} MB beyond the base, peak {peak():.0f} MB",
        flush=True,
    )


def decompose_first_layer(num_images: int) -> None:
    """Ten principal components of conv1, flattened."""
    network, images = make_network(0), make_images()
    name = hidden(network)[0]
    parts = []
    with torch.inference_mode(), recording(network, [name]) as outputs:
        for batch, *_ in batches(images, num_images):
            noisy = network.preprocessing(batch)
            network(noisy + 0.3 * torch.randn(noisy.shape))  # or there would be 64 images in all
            parts.append(outputs[name].flatten(1).numpy())
    features = np.concatenate(parts)
    for num_components in (10, 50):
        started = time.process_time()
        gram = similarity.gram_matrix(features)
        made = time.process_time()
        scores, shares = similarity.principal_components(gram, num_components)
        whole, alone = time.process_time() - started, time.process_time() - made
        variances = shares * np.trace(gram)
        residual = np.linalg.norm(gram @ scores - scores * variances, axis=0) / (
            variances * np.linalg.norm(scores, axis=0)
        )
        started = time.process_time()
        pca = PCA(num_components, svd_solver="randomized", random_state=0).fit(features)
        randomised = time.process_time() - started
        error = abs(pca.explained_variance_ratio_[-1] / shares[-1] - 1)
        print(
            f"{num_components} components of conv1 [{num_images}, {features.shape[1]}]: {whole:.2f} s with the Gram "
            f"matrix, {alone:.2f} s where it is there (residual {residual.max():.0e}); scikit-learn's randomised "
            f"solver {randomised:.2f} s, {randomised / whole:.1f} and {randomised / alone:.0f} times as long, and "
            f"its last share of variance is off by {error:.0e}",
            flush=True,
        )


def make_network(seed: int) -> ConvNet:
    return build_network(architecture_of("conv6", head="meta"), torch.Generator().manual_seed(seed)).eval()


def hidden(network: ConvNet) -> list[str]:
    return [layer.pooled for layer in list_layers(network) if layer.role != "classifier"]


def make_images() -> torch.Tensor:
    images, *_ = generate_dataset("irregular", num_images=64, seed=0)
    return torch.from_numpy(images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3))


def make_stimuli(num_images: int) -> Stimuli:
    return Stimuli(
        paths=(Path("none.png"),) * num_images,
        labels=np.arange(num_images) % 2,
        latents=pd.DataFrame(index=range(num_images)),
        groups=np.arange(num_images),
        name="irregular",
        image_shape=(128, 128),
        checks=(),
    )


def batches(images: torch.Tensor, num_images: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    for start in range(0, num_images, BATCH):
        index = torch.arange(start, min(start + BATCH, num_images))
        yield images[index % len(images)], index % 2, index


def peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


CASES = {
    "collection": collect_in_memory,
    "collection on disk": collect_on_disk,
    "collection with grams": collect_on_disk_with_grams,
    "collection kept": keep_everything,
    "cka": compare_from_grams,
    "cka pair by pair": compare_pair_by_pair,
    "pca": decompose_first_layer,
}


if __name__ == "__main__":
    main()
