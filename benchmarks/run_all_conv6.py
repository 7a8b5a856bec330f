"""``--run-all`` on a conv6 pair in the published format: whole-process time and peak memory, beside the plain recipe.

    python benchmarks/run_all_conv6.py            # the tool: 1000 images at 128 px, all analyses
    python benchmarks/run_all_conv6.py --plain    # and one layer of the plain recipe, for the ratio

The plain recipe keeps every activation and trains one L1 autoencoder per flattened layer; here that is done for the
first layer alone, with 300 images and 20 epochs, which is enough to see what all of it would cost.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from meta_baseline.checkpoints import load_network
from meta_baseline.datasets import build_loader, read_stimuli
from meta_baseline.models import architecture_of, build_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=1000)
    parser.add_argument("--plain", action="store_true", help="also the first layer of the plain recipe")
    parser.add_argument("--keep", type=Path, help="write everything into this folder and keep it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_pair(folder)
        run("generate", "--problem-number", "1", "--num-images", str(options.num_images), "--output-dir", str(folder))
        seconds = run(
            "analyze", "--meta-model", str(folder / "meta.pt"), "--baseline-model", str(folder / "baseline.pt"),
            "--data-dir", str(folder), "--problem-number", "1", "--run-all", "--output-dir", str(folder / "results"),
        )  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"run-all, conv6 pair, {options.num_images} images: {seconds:.0f} s, peak {peak:.2f} GiB")
        if options.plain:
            plain = time_plain_first_layer(folder)
            print(f"plain recipe, first layer alone, 300 images, 20 epochs: {plain:.0f} s ({plain / seconds:.0%})")


def write_pair(folder: Path) -> None:
    """A meta and a baseline conv6 as the research code saves them: fresh weights, which cost the same to analyse."""
    for arm, head, seed in (("meta", "meta", 0), ("baseline", "baseline", 1)):
        network = build_network(architecture_of("conv6", head=head), torch.Generator().manual_seed(seed))
        torch.save({"epoch": 1, "model_state_dict": network.state_dict()}, folder / f"{arm}.pt")


def run(*arguments: str) -> float:
    """Seconds of one command of the tool, as a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "meta_baseline", *arguments], check=True)
    return time.perf_counter() - started


def time_plain_first_layer(folder: Path, num_images: int = 300, epochs: int = 20) -> float:
    """Seconds of the plain recipe on conv1: keep the whole map, flatten it, one L1 autoencoder with Adam."""
    network = load_network(folder / "meta.pt")
    loader = build_loader(read_stimuli(folder, 1, max_images=num_images), batch_size=32, num_workers=0)
    kept: list[torch.Tensor] = []
    network.get_submodule("pool1").register_forward_hook(lambda module, inputs, output: kept.append(output.detach()))
    started = time.perf_counter()
    with torch.no_grad():
        for images, *_ in loader:
            network(network.preprocessing(images))
    activations = torch.cat(kept).flatten(1)
    width = activations.shape[1]
    encoder, decoder = nn.Linear(width, 256), nn.Linear(256, width)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for _ in range(epochs):
        for batch in activations.split(32):
            codes = torch.relu(encoder(batch))
            loss = nn.functional.mse_loss(decoder(codes), batch) + 1e-3 * codes.abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
