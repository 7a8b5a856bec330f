"""What a training run is: one frozen recipe, which names everything that fixes its result.

A run is a named function that returns a full recipe; the command line replaces single fields of one. The two arms of
a pair share a recipe up to its ``algorithm``: the same initial weights, images, augmentation, optimiser and schedule.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import torch

from meta_baseline.episodes import EpisodeShape
from meta_baseline.errors import UsageError
from meta_baseline.inner_loop import InnerLoop, Precision
from meta_baseline.models import Architecture, ConvNet, Head, architecture_of, build_network
from meta_baseline.training.optimiser import OptimiserName

Algorithm = Literal["baseline", "fomaml"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
ARMS: dict[str, Algorithm] = {"meta": "fomaml", "baseline": "baseline"}
"""The two arms of a pair and how each is trained."""

TRAINED_TASKS = ("regular", "irregular", "open", "wider_line", "random_color", "scrambled", "lines", "original")
HELD_OUT_TASKS = ("filled", "arrows")
"""Never trained on: ``filled`` is near the trained tasks, ``arrows`` is far from them."""

Stream = Literal["order", "augmentation", "dropout", "evaluation"]
_STREAMS: tuple[Stream, ...] = get_args(Stream)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Attributes:
        algorithm: "baseline" takes a step on a batch of mixed tasks, "fomaml" on episodes through the inner loop.
        architecture, head, image_size: the network, the same for both arms. Whatever the member's published form, it
            reads one grey channel (the tasks have no use for colour) and answers by one logit, which is then trained.
        dropout: probability after each fully connected layer; the published .5 keeps these tasks from being learned.
        tasks: trained on, in equal shares.
        held_out: only evaluated on.
        num_images: budget; rounded up so that both algorithms use the same images, each once (``pool_size``).
        seed: of initial weights, images, order and augmentation.
        batch_size: images per step of the baseline.
        episodes: sizes of a meta-step.
        inner_loop: adaptation inside a meta-step.
        support_loss_weight: of the support loss before adaptation, in the meta-gradient; its gradient is there anyway.
        optimiser: "muon" or "adamw"; see ``optimiser``.
        learning_rate, weight_decay: as AdamW's; the rate rises over ``warmup_steps`` and then falls linearly to zero.
        matrix_rate: learning rate of muon's orthogonalised steps, in units of ``learning_rate``.
        gradient_clip: largest norm of a step's gradient.
        frozen_statistics_fraction: share of the run, at its end, in which batch norm uses its running statistics, as it
            will in evaluation; before, it uses those of the batch or episode.
        augmentation: turn and mirror every image by a random symmetry of the square, the same in both arms.
        precision: of forward passes; see ``inner_loop.Precision``.
        snapshots: numbers of images after which a checkpoint is kept, besides the first and the last.
    """

    algorithm: Algorithm = "baseline"
    architecture: str = "stack5"
    head: Head = "meta"
    image_size: int = 64
    dropout: float = 0.0
    tasks: tuple[str, ...] = TRAINED_TASKS
    held_out: tuple[str, ...] = HELD_OUT_TASKS
    num_images: int = 131_072
    seed: int = 0
    batch_size: int = 32
    episodes: EpisodeShape = field(default_factory=EpisodeShape)
    inner_loop: InnerLoop = field(default_factory=InnerLoop)
    support_loss_weight: float = 1.0
    optimiser: OptimiserName = "muon"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    matrix_rate: float = 14.0
    warmup_steps: int = 100
    gradient_clip: float = 10.0
    frozen_statistics_fraction: float = 0.3
    augmentation: bool = True
    precision: Precision = "fp32"
    snapshots: tuple[int, ...] = (1_000, 3_000, 10_000, 20_000, 40_000, 80_000)

    def __post_init__(self) -> None:
        if self.optimiser not in get_args(OptimiserName):
            raise UsageError(f"No optimiser {self.optimiser!r}. Choose one of: {', '.join(get_args(OptimiserName))}.")
        if self.algorithm not in ALGORITHMS:
            raise UsageError(f"No algorithm {self.algorithm!r}. Choose one of: {', '.join(ALGORITHMS)}.")
        if not self.tasks:
            raise UsageError("No task to train on. Name at least one with --tasks.")
        if both := sorted(set(self.tasks) & set(self.held_out)):
            raise UsageError(f"Task {both[0]!r} cannot be both trained and held out. Change --tasks or --held-out.")
        if self.num_images < 1 or self.batch_size < 1:
            raise UsageError(
                f"Cannot train on {self.num_images} images in batches of {self.batch_size}. "
                "Use 1 or more for --num-images and --batch-size."
            )
        if self.algorithm == "fomaml" and self.inner_loop.num_steps < 1:
            raise UsageError("Meta-learning without an inner step is none. Use --inner-steps 1 or more.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"A learning rate of {self.learning_rate} trains nothing. Use --learning-rate above 0.")

    @property
    def pool_size(self) -> int:
        """Images of the pool: the budget, rounded up to whole rounds of tasks, batches and meta-steps."""
        episode = self.episodes.support + self.episodes.query
        unit = math.lcm(len(self.tasks) * episode, self.episodes.images_per_step, self.batch_size)
        return -(-self.num_images // unit) * unit

    def build_architecture(self) -> Architecture:
        """The architecture of both arms."""
        return architecture_of(
            self.architecture,
            head=self.head,
            image_size=self.image_size,
            in_channels=1,
            num_logits=1,
            fc_dropout=self.dropout,
            spatial_dropout=0.0,
        )

    def build_initial_network(self) -> ConvNet:
        """The network at step 0; the same for every algorithm."""
        return build_network(self.build_architecture(), torch.Generator().manual_seed(self.seed))

    def rng(self, stream: Stream) -> np.random.Generator:
        """An independent random generator for one purpose; the same for every algorithm."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_STREAMS.index(stream),)))


def demo(seed: int = 0) -> Recipe:
    """The demo's pair: 64 px, about three minutes of one core for each arm; accuracies in docs/training.md."""
    return Recipe(seed=seed, precision="bf16")


def demo_32px(seed: int = 0) -> Recipe:
    """The demo's pair for CPUs without bf16 arithmetic: a quarter of the pixels, twice the images."""
    return Recipe(seed=seed, architecture="stack4", image_size=32, precision="fp32", num_images=262_144)


def encode_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as values that JSON can write; ``decode_recipe`` reads them back."""
    return asdict(recipe)


def decode_recipe(values: dict[str, Any]) -> Recipe:
    """The recipe that ``encode_recipe`` wrote."""
    listed = {name: tuple(values[name]) for name in ("tasks", "held_out", "snapshots")}
    nested = {"episodes": EpisodeShape(**values["episodes"]), "inner_loop": InnerLoop(**values["inner_loop"])}
    return replace(Recipe(), **{**values, **listed, **nested})
