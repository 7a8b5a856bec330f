"""What a training run is: one frozen recipe, which names everything that fixes its result.

The arms of a comparison share a recipe up to its ``algorithm``: the same initial weights, images, augmentation,
optimiser and schedule.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from meta_baseline.episodes import EpisodeShape
from meta_baseline.errors import UsageError
from meta_baseline.inner_loop import InnerLoop, Precision
from meta_baseline.models import Architecture, ConvNet, DecisionRule, Head, architecture_of, build_network
from meta_baseline.training.optimiser import OptimiserName

Algorithm = Literal["baseline", "matched", "maml", "fomaml", "anil", "reptile", "protonet"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
ADAPTING: tuple[Algorithm, ...] = ("maml", "fomaml", "anil", "reptile")
"""Those with an inner loop, each of which can have a matched control."""
ARMS: dict[str, Algorithm] = {"meta": "fomaml", "baseline": "baseline"}
"""The two arms of the demo's pair and how each is trained."""

NormMode = Literal["batch", "frozen", "per-step", "group"]
NORM_MODES: tuple[NormMode, ...] = get_args(NormMode)

Fault = Literal["merged-episodes", "uneven-queries", "one-logit-loss", "fan-out-initialisation", "unmatched-arms"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Of the published pair, to be reproduced one by one: the episodes of a step adapted to as one; two "same" queries for
each "different" one; loss on logit 1 alone where both logits decide; an initialisation that starts at logits of large
sd; a baseline with another head and dropout than the meta-learned network."""

TRAINED_TASKS = ("regular", "irregular", "open", "wider_line", "random_color", "scrambled", "lines", "original")
HELD_OUT_TASKS = ("filled", "arrows")
"""Never trained on: ``filled`` is near the trained tasks, ``arrows`` is far from them."""

SNAPSHOTS = (1_000, 3_000, 10_000, *(20_000 * 2**i for i in range(12)))
"""Images seen, on a logarithmic grid; those beyond a run's budget are not reached."""

Stream = Literal["order", "augmentation", "dropout", "evaluation"]
_STREAMS: tuple[Stream, ...] = get_args(Stream)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    Attributes:
        algorithm: "baseline" takes a step on a batch of mixed tasks. All others take it on episodes of one task each:
            "maml", "fomaml" and "anil" through the inner loop, "reptile" along it, "protonet" through class means;
            "matched" is ``twin`` with an inner learning rate of 0, and otherwise the same computation.
        twin: what "matched" is the control of.
        architecture, head, image_size: the network, the same for all arms. Whatever the member's published form, it
            reads one grey channel: the tasks have no use for colour.
        num_logits: 1, which is then the one that is trained and decides, or 2 as published.
        norm: "batch" normalises by the batch or set (and see ``frozen_statistics_fraction``); "frozen" by running
            statistics that are taken from the untrained network and never move; "per-step" is "batch" with running
            statistics of their own for each number of inner steps (MAML++: Antoniou et al. 2019, arXiv:1810.09502,
            section 4); "group" is group norm, which knows no statistics.
        dropout: probability after each fully connected layer; the published .5 keeps these tasks from being learned.
        tasks: trained on, in equal shares.
        held_out: only evaluated on.
        data_dir: folder that images are read from; None draws fresh ones.
        num_images: budget; rounded up so that all algorithms use the same images, each once (``pool_size``).
        seed: of initial weights, images, order and augmentation.
        batch_size: images per step of the baseline.
        episodes: sizes of a meta-step.
        inner_loop: adaptation inside a meta-step; the algorithm settles its order and what it adapts.
        support_loss_weight: of the support loss before adaptation, in the meta-gradient; its gradient is there anyway.
        learn_inner_rates: learn an inner rate for every layer and step (MAML++), from ``inner_loop.learning_rate`` on.
        multi_step_fraction: share of the run, at its start, in which queries are asked after every inner step and their
            losses weighted; the weight moves to the last step meanwhile (multi-step loss, MAML++). 0 is off.
        first_order_fraction: share of the run, at its start, in which "maml" and "anil" are first-order
            (derivative-order annealing, MAML++). 0 is off.
        optimiser: "muon" or "adamw"; see ``optimiser``.
        learning_rate, weight_decay: as AdamW's; the rate rises over ``warmup_steps`` and then falls linearly to zero.
        matrix_rate: learning rate of muon's orthogonalised steps, in units of ``learning_rate``.
        gradient_clip: largest norm of a step's gradient.
        frozen_statistics_fraction: share of the run, at its end, in which batch norm uses its running statistics, as it
            will in evaluation; before, it uses those of the batch or episode.
        augmentation: turn and mirror every image by a random symmetry of the square, the same in all arms.
        precision: of forward passes; see ``inner_loop.Precision``.
        snapshots: numbers of images after which a checkpoint is kept, besides the first and the last.
        faults: of the published pair, on purpose; see ``FAULTS``.
    """

    algorithm: Algorithm = "baseline"
    twin: Algorithm = "fomaml"
    architecture: str = "stack5"
    head: Head = "meta"
    image_size: int = 64
    num_logits: int = 1
    norm: NormMode = "batch"
    dropout: float = 0.0
    tasks: tuple[str, ...] = TRAINED_TASKS
    held_out: tuple[str, ...] = HELD_OUT_TASKS
    data_dir: str | None = None
    num_images: int = 131_072
    seed: int = 0
    batch_size: int = 32
    episodes: EpisodeShape = field(default_factory=EpisodeShape)
    inner_loop: InnerLoop = field(default_factory=InnerLoop)
    support_loss_weight: float = 1.0
    learn_inner_rates: bool = False
    multi_step_fraction: float = 0.0
    first_order_fraction: float = 0.0
    optimiser: OptimiserName = "muon"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    matrix_rate: float = 14.0
    warmup_steps: int = 100
    gradient_clip: float = 10.0
    frozen_statistics_fraction: float = 0.3
    augmentation: bool = True
    precision: Precision = "fp32"
    snapshots: tuple[int, ...] = SNAPSHOTS
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("optimiser", self.optimiser, get_args(OptimiserName)),
            ("algorithm", self.algorithm, ALGORITHMS),
            ("twin", self.twin, ADAPTING),
            ("norm", self.norm, NORM_MODES),
        ):
            if value not in choices:
                raise UsageError(f"No {what} {value!r}. Choose one of: {', '.join(choices)}.")
        if unknown := [fault for fault in self.faults if fault not in FAULTS]:
            raise UsageError(f"No fault {unknown[0]!r}. Choose from: {', '.join(FAULTS)}.")
        if self.num_logits not in (1, 2) or ("one-logit-loss" in self.faults and self.num_logits != 2):
            raise UsageError(f"Cannot train {self.num_logits} logits. Use 1, or 2 as published.")
        if self.episodes.uneven_queries != ("uneven-queries" in self.faults):
            raise UsageError("Queries are uneven exactly where the faults say so. Name 'uneven-queries' there.")
        if not self.tasks:
            raise UsageError("No task to train on. Name at least one with --tasks.")
        if both := sorted(set(self.tasks) & set(self.held_out)):
            raise UsageError(f"Task {both[0]!r} cannot be both trained and held out. Change --tasks or --held-out.")
        if self.num_images < 1 or self.batch_size < 1:
            raise UsageError(
                f"Cannot train on {self.num_images} images in batches of {self.batch_size}. "
                "Use 1 or more for --num-images and --batch-size."
            )
        least = {"reptile": 2}.get(self.acting, 1 if self.acting in ADAPTING else 0)
        if self.inner_loop.num_steps < least:
            why = "Reptile learns from the difference between steps" if least == 2 else "Meta-learning without is none"
            raise UsageError(f"{self.inner_loop.num_steps} inner steps. {why}: use --inner-steps {least} or more.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"A learning rate of {self.learning_rate} trains nothing. Use --outer-lr above 0.")
        for name in ("multi_step_fraction", "first_order_fraction", "frozen_statistics_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} is a share of the run; found {getattr(self, name)}. Use 0 to 1.")

    @property
    def acting(self) -> Algorithm:
        """The algorithm whose computation is done: the twin's for a matched control."""
        return self.twin if self.algorithm == "matched" else self.algorithm

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and weights: channels last, in which convolutions on a CPU are fastest, but for true MAML.

        Differentiating their backward pass is not: a meta-step of conv6 at 128 px took 3.6 s in the usual layout and
        3.9 to 4.0 s channels last (one thread, ``benchmarks/training.py``).
        """
        return torch.contiguous_format if self.acting == "maml" else torch.channels_last

    @property
    def pool_size(self) -> int:
        """Images of the pool: the budget, rounded up to whole rounds of tasks, batches and meta-steps."""
        unit = math.lcm(self.episodes.images_per_round(len(self.tasks)), self.batch_size)
        return -(-self.num_images // unit) * unit

    def images_of_steps(self, num_steps: int) -> int:
        """Images that so many steps of the optimiser use: batches, or meta-steps of all their episodes."""
        if self.algorithm == "baseline":
            return num_steps * self.batch_size
        per_cycle = self.episodes.tasks_per_step * self.episodes.images_per_cycle
        return -(-num_steps * per_cycle // len(self.episodes.support_sizes))

    def inner_loop_at(self, progress: float) -> InnerLoop:
        """The inner loop as the algorithm has it, at a share of the run in [0, 1)."""
        second = self.acting in ("maml", "anil") and progress >= self.first_order_fraction
        return replace(
            self.inner_loop,
            first_order=not second,
            adapted="head" if self.acting == "anil" else self.inner_loop.adapted,
            learning_rate=0.0 if self.algorithm == "matched" else self.inner_loop.learning_rate,
        )

    def as_arm(self, algorithm: Algorithm, *, twin: Algorithm | None = None) -> Recipe:
        """The same run by another algorithm; inner steps are raised to the two that Reptile needs."""
        acting = (twin or self.twin) if algorithm == "matched" else algorithm
        steps = max(self.inner_loop.num_steps, 2 if acting == "reptile" else 0)
        arm = replace(
            self, algorithm=algorithm, twin=twin or self.twin, inner_loop=replace(self.inner_loop, num_steps=steps)
        )
        if algorithm == "baseline" and "unmatched-arms" in self.faults:
            arm = replace(arm, head="baseline", dropout=0.3)
        return arm

    def build_architecture(self) -> Architecture:
        """The architecture of all arms."""
        return architecture_of(
            self.architecture,
            head=self.head,
            image_size=self.image_size,
            in_channels=1,
            num_logits=self.num_logits,
            norm="group" if self.norm == "group" else "batch",
            fc_dropout=self.dropout,
            spatial_dropout=0.1 if self.algorithm == "baseline" and "unmatched-arms" in self.faults else 0.0,
        )

    def build_initial_network(self) -> ConvNet:
        """The network at step 0; the same for every algorithm."""
        generator = torch.Generator().manual_seed(self.seed)
        rule: DecisionRule | None = "argmax" if "one-logit-loss" in self.faults else None
        network = build_network(self.build_architecture(), generator, decision_rule=rule)
        if "fan-out-initialisation" in self.faults:
            for module in network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        return network

    def trained_rule(self, network: ConvNet) -> DecisionRule:
        """The decision whose cross-entropy is the loss: that by which the network is judged, but for one fault."""
        return "logit" if "one-logit-loss" in self.faults else network.decision_rule

    def rng(self, stream: Stream) -> np.random.Generator:
        """An independent random generator for one purpose; the same for every algorithm."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_STREAMS.index(stream),)))


def encode_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as values that JSON can write; ``decode_recipe`` reads them back."""
    return asdict(recipe)


def decode_recipe(values: dict[str, Any]) -> Recipe:
    """The recipe that ``encode_recipe`` wrote."""
    listed = {name: tuple(values[name]) for name in ("tasks", "held_out", "snapshots", "faults")}
    episodes = {**values["episodes"], "support_sizes": tuple(values["episodes"]["support_sizes"])}
    nested = {"episodes": EpisodeShape(**episodes), "inner_loop": InnerLoop(**values["inner_loop"])}
    return replace(Recipe(), **{**values, **listed, **nested})
