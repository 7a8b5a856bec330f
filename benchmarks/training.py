"""One meta-step of conv6 on one thread: this package beside learn2learn, higher and TorchOpt.

    python benchmarks/training.py                              # this package alone, and whatever peers can be imported
    python benchmarks/training.py --sizes 64 --inner-steps 1   # a quick look
    python benchmarks/training.py --learn2learn FOLDER         # FOLDER/learn2learn/{algorithms/maml.py, utils/...}

Four tasks, ten supports, ten queries, the same network, images in memory; the optimiser's step is left out everywhere.
CPU milliseconds of one thread, the lowest of a few repetitions, which are taken in turn. Peers belong into an
environment of their own:
``python -m venv peers``, a ``.pth`` file there that names this environment's site-packages, and
``peers/bin/pip install --no-deps higher torchopt optree``. learn2learn does not build with current tools; two of its
files, copied from its source distribution, are enough. A peer that is not there is skipped with a line.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meta_baseline.episodes import EpisodeShape
from meta_baseline.inner_loop import InnerLoop
from meta_baseline.models import ConvNet
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training.meta import MetaLearner
from meta_baseline.training.objectives import classification_loss
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.recipes import Recipe

NUM_TASKS, NUM_SUPPORT, NUM_QUERY, RATE = 4, 10, 10, 0.05
LOSS = classification_loss("logit")

Sets = list[tuple[Tensor, Tensor, Tensor, Tensor]]
Step = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--inner-steps", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORDS", help="those whose name holds one of these")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--learn2learn", type=Path, metavar="FOLDER", help="folder that holds its two copied files")
    options = parser.parse_args()
    if options.learn2learn:
        sys.path.insert(0, str(options.learn2learn))
    torch.set_num_threads(1)
    peers = {name: find_peer(name) for name in ("higher", "torchopt", "learn2learn.algorithms.maml")}
    for size in options.sizes:
        for steps in options.inner_steps:
            print(f"conv6, {size} px, {steps} inner step{'s' * (steps > 1)}", flush=True)
            chosen = {
                name: step
                for name, step in contenders(size, steps, peers)
                if any(words in name for words in options.only)
            }
            for name, milliseconds in measure(chosen, options.repeats).items():
                print(f"  {name:<36}{milliseconds:9.0f} ms", flush=True)


def contenders(size: int, steps: int, peers: dict[str, Any]) -> list[tuple[str, Step]]:
    """Everything that is measured, by name."""
    found = [
        ("meta_baseline, first order, bf16", own_step(size, steps, algorithm="fomaml", precision="bf16")),
        ("meta_baseline, first order, fp32", own_step(size, steps, algorithm="fomaml", precision="fp32")),
        ("meta_baseline, second order, bf16", own_step(size, steps, algorithm="maml", precision="bf16")),
        ("meta_baseline, second order, fp32", own_step(size, steps, algorithm="maml", precision="fp32")),
    ]
    if maml := peers["learn2learn.algorithms.maml"]:
        found += [
            (f"learn2learn, {order} order", learn2learn_step(maml, size, steps, first_order=order == "first"))
            for order in ("first", "second")
        ]
    if peers["higher"]:
        found.append(("higher, second order", higher_step(peers["higher"], size, steps)))
    if peers["torchopt"]:
        found.append(("TorchOpt, second order", torchopt_step(peers["torchopt"], size, steps)))
    return found


def own_step(size: int, steps: int, *, algorithm: Any, precision: Any) -> Step:
    """A meta-step as training takes it, images read and turned included."""
    recipe = Recipe(
        algorithm=algorithm,
        architecture="conv6",
        image_size=size,
        tasks=tuple("abcd"),
        held_out=(),
        num_images=1,
        episodes=EpisodeShape(tasks_per_step=NUM_TASKS, support_sizes=(NUM_SUPPORT,), query_size=NUM_QUERY),
        inner_loop=InnerLoop(num_steps=steps, learning_rate=RATE),
        support_loss_weight=0.0,
        precision=precision,
    )
    per_task = recipe.pool_size // NUM_TASKS
    pool = TrainingPool(
        images=np.random.default_rng(0).integers(0, 256, (recipe.pool_size, size, size), dtype=np.uint8),
        labels=np.tile(np.arange(per_task) % 2, NUM_TASKS).astype(np.uint8),
        task_ids=np.repeat(np.arange(NUM_TASKS), per_task).astype(np.uint8),
        tasks=recipe.tasks,
    )
    network = recipe.build_initial_network().to(memory_format=recipe.memory_format).train()  # pyright: ignore[reportCallIssue]
    images = PoolImages(pool, network, augmentation=recipe.rng("augmentation"), memory_format=recipe.memory_format)
    learner = MetaLearner(network, images, recipe)
    return lambda: learner.accumulate(0)


def learn2learn_step(maml: Any, size: int, steps: int, *, first_order: bool) -> Step:
    network, sets = network_and_sets(size)
    wrapped = maml.MAML(network, lr=RATE, first_order=first_order)

    def step() -> None:
        for images, labels, queries, answers in sets:
            learner = wrapped.clone()
            for _ in range(steps):
                learner.adapt(LOSS(learner(images), labels))
            (LOSS(learner(queries), answers) / NUM_TASKS).backward()

    return step


def higher_step(higher: Any, size: int, steps: int) -> Step:
    network, sets = network_and_sets(size)
    inner = torch.optim.SGD(network.parameters(), lr=RATE)

    def step() -> None:
        for images, labels, queries, answers in sets:
            with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (adapted, optimiser):
                for _ in range(steps):
                    optimiser.step(LOSS(adapted(images), labels))
                (LOSS(adapted(queries), answers) / NUM_TASKS).backward()

    return step


def torchopt_step(torchopt: Any, size: int, steps: int) -> Step:
    network, sets = network_and_sets(size)
    optimiser = torchopt.MetaSGD(network, lr=RATE)

    def step() -> None:
        start = torchopt.extract_state_dict(network, by="reference")
        start_optimiser = torchopt.extract_state_dict(optimiser, by="reference")
        for images, labels, queries, answers in sets:
            for _ in range(steps):
                optimiser.step(LOSS(network(images), labels))
            (LOSS(network(queries), answers) / NUM_TASKS).backward()
            torchopt.recover_state_dict(network, start)
            torchopt.recover_state_dict(optimiser, start_optimiser)

    return step


def network_and_sets(size: int) -> tuple[ConvNet, Sets]:
    """The same network in PyTorch's usual layout and fp32, as a peer's user has it, and images in memory."""
    network = Recipe(architecture="conv6", image_size=size).build_initial_network().train()
    assert isinstance(network, nn.Module)
    generator = torch.Generator().manual_seed(0)
    labels, answers = torch.arange(NUM_SUPPORT) % 2, torch.arange(NUM_QUERY) % 2
    sets = [
        (
            torch.rand(NUM_SUPPORT, 1, size, size, generator=generator),
            labels,
            torch.rand(NUM_QUERY, 1, size, size, generator=generator),
            answers,
        )
        for _ in range(NUM_TASKS)
    ]
    return network, sets


def find_peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"{name.partition('.')[0]} is skipped: {' '.join(str(error).split())[:90]}")
        return None


def measure(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """CPU milliseconds of the fastest repetition of each; one goes before for what is only done once.

    They take turns, so that what else the machine does slows all of them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            started = time.process_time()
            step()
            times[name].append(time.process_time() - started)
    return {name: 1000 * min(spent[1:] or spent) for name, spent in times.items()}


if __name__ == "__main__":
    main()
