"""What all layers of a study share: the images, the targets, the splits and the resamples; and the loop over layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.cores import count_cores, map_in_threads
from meta_baseline.errors import InputError, UsageError
from meta_baseline.probes.bootstrap import GroupBootstrap
from meta_baseline.probes.folds import deal_groups, deal_within_groups, draw_control_labels, permute_labels
from meta_baseline.probes.layer import LayerReadout, ProbePlan, probe_layer
from meta_baseline.probes.mlp import MlpOptions
from meta_baseline.probes.targets import MAX_LATENTS, Target, choose_targets

MIN_CLASS_IMAGES = 10
"""Images of each class below which a probe has nothing to learn from."""


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How probes are made.

    Attributes:
        features: "grid" reads convolutions from their 4 x 4 average grid, "pooled" from their channel means.
        num_folds: outer folds, at least 3; the inner selection uses the ones that are not tested.
        num_permutations: of the label, for the best-of-layers null; p-values cannot go below 1 / (this + 1).
        mlp: the non-linear probe of the label, None to leave it out.
        max_latents: latents probed beside the label.
        max_images: whole identities are left out at random beyond so many images.
        num_untrained: untrained networks per architecture, at most; 2 where meta and baseline have different ones.
        workers: layers probed at the same time, each on one core; None takes every core, at most 8.
    """

    features: Literal["grid", "pooled"] = "grid"
    num_folds: int = 5
    num_permutations: int = 99
    mlp: MlpOptions | None = MlpOptions()  # noqa: RUF009 - frozen
    max_latents: int = MAX_LATENTS
    max_images: int = 1500
    num_untrained: int = 3
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.num_folds < 3:
            raise UsageError(f"Nested selection needs at least 3 folds; found num_folds={self.num_folds}.")
        if self.features not in ("grid", "pooled"):
            raise UsageError(f"No features {self.features!r}. Choose 'grid' or 'pooled'.")


@dataclass(frozen=True, kw_only=True)
class ProbeJob:
    """One layer of one network; network -1 stands for the pixels."""

    network: int
    layer: int
    features: Float[ndarray, "N D"]
    where: str
    plan: ProbePlan


@dataclass(frozen=True, kw_only=True)
class ProbeStudy:
    """What all layers share.

    Attributes:
        rows: the images used, by their place among those given.
        groups: shape identity of each.
        targets, left_out: what is asked, and the latents that are not, with reasons.
        plan_full: of the networks that are asked about.
        bootstrap: one set of resamples for every interval.
        seed: of the perceptrons.
    """

    rows: Int[ndarray, " N"]
    groups: Int[ndarray, " N"]
    targets: tuple[Target, ...]
    left_out: tuple[str, ...]
    plan_full: ProbePlan
    bootstrap: GroupBootstrap
    seed: int

    @staticmethod
    def plan(
        labels: ndarray, groups: ndarray, latents: pd.DataFrame, rng: np.random.Generator, options: ProbeOptions
    ) -> ProbeStudy:
        """Choose images and targets, deal folds, permute labels, draw resamples.

        Raises:
            InputError: when the images are too few.
        """
        rows = _choose_rows(groups, options.max_images, rng)
        labels, groups, latents = labels[rows], groups[rows], latents.iloc[rows]
        names, sizes = np.unique(groups, return_counts=True)
        per_class = np.bincount(labels, minlength=2)
        if per_class.min() < MIN_CLASS_IMAGES or len(names) < 3:
            raise InputError(
                f"Probes need at least {MIN_CLASS_IMAGES} images of each class and 3 shape identities; found "
                f"{per_class[0]} and {per_class[1]} images of {len(names)} identities. Give more stimuli."
            )
        targets, left_out = choose_targets(labels, latents, max_latents=options.max_latents)
        folds = deal_groups(labels, groups, min(options.num_folds, len(names)), rng)
        repeats = sizes[sizes > 1].sum() >= len(rows) / 2
        permuted = permute_labels(labels, groups, folds, options.num_permutations, rng)
        # Groups that all differ in size and hold one label each leave nothing to exchange: there is no null then.
        moved = (permuted != labels[:, None]).mean() if options.num_permutations else 0.0
        plan = ProbePlan(
            folds=folds,
            binary=_columns(targets, rows, "binary"),
            continuous=_columns(targets, rows, "continuous", "circular"),
            control_folds=deal_within_groups(labels, groups, 3, rng) if repeats else folds,
            control_labels=draw_control_labels(groups, None if repeats else folds),
            permuted_labels=permuted if moved > 0.1 else None,
            mlp=options.mlp,
        )
        return ProbeStudy(
            rows=rows,
            groups=groups,
            targets=targets,
            left_out=left_out,
            plan_full=plan,
            bootstrap=GroupBootstrap.over(groups, rng),
            seed=int(rng.integers(2**31)),
        )

    def plan_control(self, *, mlp: bool) -> ProbePlan:
        """For networks that are controls themselves."""
        return replace(
            self.plan_full,
            control_folds=None,
            control_labels=None,
            permuted_labels=None,
            mlp=self.plan_full.mlp if mlp else None,
        )

    def run(
        self, jobs: Sequence[ProbeJob], progress: Callable[..., Iterable[Any]], options: ProbeOptions
    ) -> list[LayerReadout]:
        """Readouts in the order of the jobs, from as many layers at a time as there are workers.

        Raises:
            InputError: when activations are not finite.
        """

        def read(job: ProbeJob) -> LayerReadout:
            features = job.features if len(self.rows) == len(job.features) else job.features[self.rows]
            if not np.isfinite(features).all():
                raise InputError(f"Activations at {job.where} are not finite. Check the checkpoint and its scaling.")
            # The same initialisation for one layer of all networks keeps their perceptrons comparable.
            return probe_layer(features, job.plan, seed=self.seed + job.layer)

        workers = options.workers or min(8, count_cores())
        return map_in_threads(read, jobs, workers=workers, progress=progress, desc="probes")


def _choose_rows(groups: ndarray, max_images: int, rng: np.random.Generator) -> Int[ndarray, " N"]:
    if len(groups) <= max_images:
        return np.arange(len(groups))
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    kept = order[np.cumsum(sizes[order]) <= max_images]
    return np.flatnonzero(np.isin(index, kept))


def _columns(targets: Sequence[Target], rows: ndarray, *kinds: str) -> Float[ndarray, "N T"]:
    columns = [target.columns for target in targets if target.kind in kinds]
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(rows), 0))
