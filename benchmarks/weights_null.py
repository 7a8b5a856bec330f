"""How often two networks of one recipe are called different, over 200 studies with trained networks.

    OMP_NUM_THREADS=1 python benchmarks/weights_null.py             # 200 pairs, 3 yardstick pairs each
    OMP_NUM_THREADS=1 python benchmarks/weights_null.py --studies 50

Each study has a pair under study and three yardstick pairs, eight small networks from eight seeds, trained on the same
task. Nothing differs but the seed, so the pair exceeds its yardstick once in four times if the yardstick is right: four
pairs, each equally often the most different one. The rate is large so that 200 studies can tell it from another one.
The same is counted where the pair shares its step 0, as the networks of one study do, and its yardstick pairs do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from scipy.stats import binom
from torch import nn

from meta_baseline.alignment import apply_permutation
from meta_baseline.models import ConvNet, architecture_of, build_network
from meta_baseline.weight_space.controls import measure_network, values_of
from meta_baseline.weight_space.yardstick import judge_pair, split_pairs

NUM_YARDSTICK = 3
NUM_STEPS = 20

SMALL = replace(
    architecture_of("stack4"),
    name="custom",
    widths=(6, 8, 8),
    kernels=(3,) * 3,
    paddings=(1,) * 3,
    hidden=(12,),
    image_size=16,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="pairs that are judged (default: 200)")
    count = parser.parse_args().studies
    torch.set_num_threads(1)
    images, labels = draw_bars(512)
    started = time.process_time()
    apart = together = 0
    losses: list[float] = []
    for study in range(count):
        networks = list(train_eight(study, images, labels, losses))
        values = [values_of(measure_network(network)) for network in networks]
        twin = train(networks[8], 10**6 + study, images, labels, losses)
        apart += exceeds(values[0], values[1], values[2:8])
        together += exceeds(values[0], values_of(measure_network(twin)), values[2:8])
    chance = 1 / (NUM_YARDSTICK + 1)
    low, high = binom.interval(0.95, count, chance)
    print(f"networks end at a loss of {sum(losses) / len(losses):.2f} nats (guessing: 0.69)")
    print(f"two seeds of one recipe exceed their yardstick in {apart} of {count} studies")
    print(f"expected {count * chance:.0f}; 95 % of such runs have {low:.0f} to {high:.0f}")
    print(f"two seeds with one step 0: {together} of {count}; {time.process_time() - started:.0f} CPU s")


def exceeds(meta: Mapping, baseline: Mapping, others: list) -> bool:
    judged = judge_pair(meta, baseline, split_pairs(others), roles=list(meta), source="pairs of seeds")
    return judged is not None and judged.exceeded


def train_eight(study: int, images: torch.Tensor, labels: torch.Tensor, losses: list[float]) -> Iterator[ConvNet]:
    """Eight trained networks of one study, then the step 0 of the first."""
    starts = [build_network(SMALL, torch.Generator().manual_seed(8 * study + i)) for i in range(8)]
    first = apply_permutation(starts[0], {})
    for i, network in enumerate(starts):
        yield train(network, 8 * study + i, images, labels, losses)
    yield first


def train(network: ConvNet, seed: int, images: torch.Tensor, labels: torch.Tensor, losses: list[float]) -> ConvNet:
    """The network after a few steps of Adam on batches that the seed draws."""
    network.train()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    loss = torch.zeros(())
    for _ in range(NUM_STEPS):
        chosen = torch.randint(0, len(images), (32,), generator=generator)
        loss = nn.functional.binary_cross_entropy_with_logits(network(images[chosen])[:, 0], labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    losses.append(float(loss.detach()))
    return network.eval()


def draw_bars(num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of two bars; label 1 where both stand or both lie."""
    generator = torch.Generator().manual_seed(0)
    upright = torch.rand(num, 2, generator=generator) < 0.5
    images = 0.1 * torch.randn(num, 1, 16, 16, generator=generator)
    for i in range(num):
        for side in range(2):
            row, column = (int(x) for x in torch.randint(0, 3, (2,), generator=generator))
            height, width = (6, 2) if upright[i, side] else (2, 6)
            images[i, 0, 3 + row : 3 + row + height, 8 * side + column : 8 * side + column + width] += 1.0
    return images, (upright[:, 0] == upright[:, 1]).float()


if __name__ == "__main__":
    main()
