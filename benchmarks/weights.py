"""The weight analysis of a conv6 pair with its controls: time and peak memory; and how fast a planted order is found.

    OMP_NUM_THREADS=1 python benchmarks/weights.py             # everything, by two workers of one thread each
    OMP_NUM_THREADS=1 python benchmarks/weights.py --matching  # the planted permutation alone, CPU seconds of one core

Each analysis runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from meta_baseline.alignment import apply_permutation, derive_permutations, match_weights
from meta_baseline.architectures import Head
from meta_baseline.models import ConvNet, architecture_of, build_network
from meta_baseline.weight_analysis import compare_weight_spaces

CASES = {
    "heads": "meta and baseline head, weights alone",
    "weights": "one head, step 0 and four checkpoints, weights alone",
    "images": "one head, step 0 and four checkpoints, with 96 images",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matching", action="store_true", help="only the planted permutation")
    parser.add_argument("--case", choices=CASES, help="one analysis, in this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.case:
        analyse(options.case)
        return
    for noise in (0.0, 0.5):
        recover(noise)
    for case in () if options.matching else CASES:
        subprocess.run([sys.executable, __file__, "--case", case], check=True)


def make_conv6(seed: int, head: Head = "meta") -> ConvNet:
    network = build_network(architecture_of("conv6", head=head), torch.Generator().manual_seed(seed)).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.ndim == 1 and "num_batches" not in name:
            value.add_(0.2 * torch.rand(value.shape, generator=generator))
    return network


def add_noise(network: ConvNet, size: float, seed: int) -> ConvNet:
    noisy = apply_permutation(network, {})
    generator = torch.Generator().manual_seed(seed)
    for parameter in noisy.parameters():
        if parameter.ndim > 1:
            parameter.data += size * parameter.data.std() * torch.randn(parameter.shape, generator=generator)
    return noisy


def recover(noise: float) -> None:
    """A planted order of all nine permutable layers, with noise of ``noise`` standard deviations of the weights."""
    network, rng = make_conv6(0), np.random.default_rng(1)
    orders = {group.role: rng.permutation(group.num_units) for group in derive_permutations(network).groups}
    shuffled = add_noise(apply_permutation(network, orders), noise, seed=2)
    started = time.process_time()
    found = match_weights(network, shuffled)
    seconds = time.process_time() - started
    right = sum(np.array_equal(found.permutations[role], np.argsort(order)) for role, order in orders.items())
    print(f"planted order of conv6, noise {noise} sd: {right} of {len(orders)} layers exact, {seconds:.1f} CPU s")


def analyse(case: str) -> None:
    """One whole analysis, its wall and CPU seconds and the peak memory of the process."""
    initial = make_conv6(0)
    meta = add_noise(initial, 0.8, seed=1)
    if case == "heads":
        baseline, options = make_conv6(3, head="baseline"), {}
    else:
        baseline = add_noise(initial, 0.8, seed=2)
        way = [(1000 * i, add_noise(initial, 0.2 * i, seed=1)) for i in range(1, 5)]
        options = {"meta_initial": initial, "baseline_initial": initial, "meta_checkpoints": way}
    if case == "images":
        images = torch.randint(0, 256, (96, 128, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
        options["loader"] = [(images, torch.arange(96) % 2)]
    started, cpu = time.perf_counter(), time.process_time()
    compare_weight_spaces(meta, baseline, workers=2, **options)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"weight analysis of a conv6 pair, {CASES[case]}: {wall:.0f} s, {cpu:.0f} CPU s, peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
