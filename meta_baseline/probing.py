"""Probes: what can be read out of each layer, linearly and not, judged against everything that could fake it.

A probe is trained on some shape identities and tested on others (5 folds by identity). Linear probes are solved to
optimality, their penalty chosen inside the training part. Beside every number stand the untrained networks of the same
architecture, the raw pixels, the constant predictor, a control task (Hewitt & Liang 2019, arXiv:1909.03368) and
permuted labels. That something can be read out does not say that the network uses it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from threadpoolctl import threadpool_limits
from torch import nn

from meta_baseline.activations import ActivationStore, Stores, collect_activations
from meta_baseline.errors import InputError, UsageError
from meta_baseline.probes.assembly import Readings, assemble_result
from meta_baseline.probes.bootstrap import GroupBootstrap
from meta_baseline.probes.checks import list_checks
from meta_baseline.probes.estimates import list_estimates
from meta_baseline.probes.findings import list_findings
from meta_baseline.probes.folds import deal_groups, deal_within_groups, draw_control_labels, permute_labels
from meta_baseline.probes.layer import LayerReadout, ProbePlan, probe_layer
from meta_baseline.probes.mlp import MlpOptions
from meta_baseline.probes.result import ProbeResult
from meta_baseline.probes.targets import MAX_LATENTS, Target, choose_targets

__all__ = ["ProbeOptions", "ProbeResult", "compare_probes", "probe_layer_representations"]

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


def compare_probes(
    stores: Stores,
    *,
    rng: np.random.Generator,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
    options: ProbeOptions | None = None,
) -> ProbeResult:
    """What each layer of both networks, of their untrained twins and of the image itself gives away.

    The label and the latents are read out of every layer of every network; the control task, the permutation null
    and the non-linear probe are run for meta and baseline, the last one for one untrained network per architecture
    too. The result depends on ``rng``'s state and the stores alone, not on the number of workers.

    Args:
        stores: activations of all networks over the same images.
        rng: deals folds, permutes labels, draws resamples.
        progress: wraps the loop over layers.
        options: see ``ProbeOptions``.

    Raises:
        InputError: when the images are too few, or activations are not finite.
    """
    options = options or ProbeOptions()
    twins = _choose_twins(stores, options)
    networks = (stores.meta, stores.baseline, *(store for kind in twins.values() for store in kind))
    networks = tuple({id(store): store for store in networks}.values())
    place = {id(store): position for position, store in enumerate(networks)}
    study = _Study.plan(stores.meta.labels, stores.meta.groups, stores.meta.latents, rng, options)
    layers = tuple(dict.fromkeys([*stores.meta.layers, *stores.baseline.layers]))
    with_mlp = {place[id(kind[0])] for kind in twins.values() if kind}
    jobs = [
        _Job(
            network=position,
            layer=layers.index(role),
            features=getattr(activations, options.features),
            where=f"{role} of {store.network}",
            plan=study.plan_full if position < 2 else study.plan_control(mlp=position in with_mlp),
        )
        for position, store in enumerate(networks)
        for role, activations in store.layers.items()
        if role in layers
    ]
    jobs.append(
        _Job(network=-1, layer=0, features=stores.pixels, where="the pixels", plan=study.plan_control(mlp=False))
    )
    readouts = study.run(jobs, progress, options)
    readings = Readings(
        networks=tuple(store.network for store in networks),
        layers=layers,
        readouts={(job.network, job.layer): readout for job, readout in zip(jobs, readouts)},
        twins={name: tuple(place[id(store)] for store in kind) for name, kind in twins.items()},
    )
    return _describe(study, readings, num_available=stores.meta.num_images)


def probe_layer_representations(
    model: nn.Module,
    data_loader: Iterable[Any],
    layer_names: Sequence[str],
    labels: Int[ndarray, " N"] | Sequence[int] | torch.Tensor | None = None,
    *,
    groups: Int[ndarray, " N"] | Sequence[int] | None = None,
    latents: pd.DataFrame | None = None,
    device: str | torch.device = "cpu",
    rng: np.random.Generator | None = None,
    options: ProbeOptions | None = None,
) -> ProbeResult:
    """What the named layers of one network give away about the images' labels.

    The same probes as ``compare_probes``, without untrained twin and pixels, which only a study knows; the result's
    checks say so.

    Args:
        model: any network.
        data_loader: gives ``(images, labels)`` or ``(images, labels, index)``; not shuffled when ``labels``,
            ``groups`` or ``latents`` are passed.
        layer_names: names as in ``model.named_modules()``; best those whose output is after the non-linearity.
        labels: of two classes, in the loader's order; None takes those that the loader gives.
        groups: images that belong on one side of a split, e.g. by shape identity; None makes every image its own.
        latents: numeric columns to read out as well.
        device: where the network runs.
        rng: deals folds, permutes labels, draws resamples; None starts from seed 0.
        options: see ``ProbeOptions``.

    Raises:
        UnknownLayerError: when the network has no module of that name.
        UsageError: for labels or groups that do not fit the images.
        InputError: when the images are too few, or activations are not finite.
    """
    options = options or ProbeOptions()
    names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
    loader = _LabelKeeper(data_loader)
    activations = collect_activations(model, loader, names, device, reduce=options.features)
    num_images = len(next(iter(activations.values())))
    binary = _as_binary(loader.labels() if labels is None else np.asarray(labels), num_images)
    own = np.arange(num_images) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    known = pd.DataFrame(index=range(num_images)) if latents is None else latents
    if len(own) != num_images or len(known) != num_images:
        raise UsageError(
            f"The loader gave {num_images} images, but there are {len(own)} groups and {len(known)} rows of latents. "
            "Pass one per image, in the loader's order."
        )
    study = _Study.plan(binary, own, known, rng or np.random.default_rng(0), options)
    jobs = [
        _Job(network=0, layer=layer, features=values.flatten(1).numpy(), where=name, plan=study.plan_full)
        for layer, (name, values) in enumerate(activations.items())
    ]
    readouts = study.run(jobs, lambda iterable, **_: iterable, options)
    readings = Readings(
        networks=("model",),
        layers=tuple(activations),
        readouts={(0, job.layer): readout for job, readout in zip(jobs, readouts)},
        twins={},
    )
    return _describe(study, readings, num_available=num_images)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One layer of one network; network -1 stands for the pixels."""

    network: int
    layer: int
    features: Float[ndarray, "N D"]
    where: str
    plan: ProbePlan


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What all layers share: the images, the targets, the splits and the resamples."""

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
    ) -> _Study:
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
            control_labels=draw_control_labels(groups),
            permuted_labels=permuted if moved > 0.1 else None,
            mlp=options.mlp,
        )
        return _Study(
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
        self, jobs: Sequence[_Job], progress: Callable[..., Iterable[Any]], options: ProbeOptions
    ) -> list[LayerReadout]:
        """Readouts in the order of the jobs, from as many layers at a time as there are workers."""

        def read(job: _Job) -> LayerReadout:
            features = job.features if len(self.rows) == len(job.features) else job.features[self.rows]
            if not np.isfinite(features).all():
                raise InputError(f"Activations at {job.where} are not finite. Check the checkpoint and its scaling.")
            # The same initialisation for one layer of all networks keeps their perceptrons comparable.
            return probe_layer(features, job.plan, seed=self.seed + job.layer)

        workers = options.workers or min(8, _count_cores())
        with (
            _one_thread_per_worker(),
            ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            return list(progress(pool.map(read, jobs), desc="probes", total=len(jobs)))


def _count_cores() -> int:
    """Cores that this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _one_thread_per_worker() -> Iterator[None]:
    """Layers run side by side, so linear algebra must not; and one thread per product gives the same bytes anywhere."""
    before = torch.get_num_threads()
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


class _LabelKeeper:
    """A loader that remembers the labels of the batches it hands on, so that they fit the images in any order."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self.sampler = getattr(loader, "sampler", None)
        self.dataset = getattr(loader, "dataset", None)
        self._seen: list[torch.Tensor] = []

    def __iter__(self) -> Iterator[Any]:
        self._seen = []
        for batch in self.loader:
            if not isinstance(batch, torch.Tensor) and len(batch) > 1:
                self._seen.append(torch.as_tensor(batch[1]).reshape(-1).cpu())
            yield batch

    def labels(self) -> ndarray:
        if not self._seen:
            raise UsageError("The loader gives no labels. Pass labels=, one per image in the loader's order.")
        return torch.cat(self._seen).numpy()


def _as_binary(labels: ndarray, num_images: int) -> Int[ndarray, " N"]:
    values, binary = np.unique(labels, return_inverse=True)
    if labels.shape != (num_images,) or len(values) != 2:
        raise UsageError(
            f"Labels must be one of two classes for each of the {num_images} images; found shape {labels.shape} with "
            f"{len(values)} distinct values. Pass other values as a column of latents=."
        )
    return binary.astype(np.int64)


def _choose_rows(groups: ndarray, max_images: int, rng: np.random.Generator) -> Int[ndarray, " N"]:
    if len(groups) <= max_images:
        return np.arange(len(groups))
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    kept = order[np.cumsum(sizes[order]) <= max_images]
    return np.flatnonzero(np.isin(index, kept))


def _choose_twins(stores: Stores, options: ProbeOptions) -> dict[str, tuple[ActivationStore, ...]]:
    shared = all(a is b for a, b in zip(stores.untrained_meta, stores.untrained_baseline))
    num = options.num_untrained if shared else min(options.num_untrained, 2)
    return {"meta": stores.untrained_meta[:num], "baseline": stores.untrained_baseline[:num]}


def _columns(targets: Sequence[Target], rows: ndarray, *kinds: str) -> Float[ndarray, "N T"]:
    columns = [target.columns for target in targets if target.kind in kinds]
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(rows), 0))


def _describe(study: _Study, readings: Readings, *, num_available: int) -> ProbeResult:
    result = assemble_result(
        readings,
        plan=study.plan_full,
        targets=study.targets,
        groups=study.groups,
        bootstrap=study.bootstrap,
        left_out=study.left_out,
        num_available=num_available,
    )
    result = replace(result, estimates=list_estimates(result))
    return replace(result, checks=list_checks(result), findings=list_findings(result))
