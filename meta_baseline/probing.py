"""Probes: what can be read out of each layer, linearly and not, judged against everything that could fake it.

A probe is trained on some shape identities and tested on others (5 folds by identity). Linear probes are solved to
optimality, their penalty chosen inside the training part. Beside every number stand the untrained networks of the same
architecture, the raw pixels, the constant predictor, a control task (Hewitt & Liang 2019, arXiv:1909.03368) and
permuted labels. That something can be read out does not say that the network uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from meta_baseline.activations import ActivationStore, Stores, collect_activations
from meta_baseline.errors import UsageError
from meta_baseline.probes.assembly import PIXELS, Readings, assemble_result
from meta_baseline.probes.checks import list_checks
from meta_baseline.probes.estimates import list_estimates
from meta_baseline.probes.findings import list_findings
from meta_baseline.probes.result import ProbeResult
from meta_baseline.probes.study import ProbeJob, ProbeOptions, ProbeStudy

__all__ = ["ProbeOptions", "ProbeResult", "compare_probes", "probe_layer_representations"]


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
    study = ProbeStudy.plan(stores.meta.labels, stores.meta.groups, stores.meta.latents, rng, options)
    layers = tuple(dict.fromkeys([*stores.meta.layers, *stores.baseline.layers]))
    with_mlp = {place[id(kind[0])] for kind in twins.values() if kind}
    jobs = [
        ProbeJob(
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
        ProbeJob(
            network=PIXELS, layer=0, features=stores.pixels, where="the pixels", plan=study.plan_control(mlp=False)
        )
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
        UsageError: for labels or groups that do not fit the images, as those of a shuffling loader.
        InputError: when the images are too few, or activations are not finite.
    """
    options = options or ProbeOptions()
    names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
    # Labels of the same pass fit images in any order; what comes from elsewhere does not.
    loader = _LabelKeeper(data_loader, any_order=labels is None and groups is None and latents is None)
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
    study = ProbeStudy.plan(binary, own, known, rng or np.random.default_rng(0), options)
    jobs = [
        ProbeJob(network=0, layer=layer, features=values.flatten(1).numpy(), where=name, plan=study.plan_full)
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


class _LabelKeeper:
    """A loader that remembers the labels of the batches it hands on, so that they fit the images in any order."""

    def __init__(self, loader: Iterable[Any], *, any_order: bool) -> None:
        self.loader = loader
        self.sampler = None if any_order else getattr(loader, "sampler", None)
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


def _choose_twins(stores: Stores, options: ProbeOptions) -> dict[str, tuple[ActivationStore, ...]]:
    shared = all(a is b for a, b in zip(stores.untrained_meta, stores.untrained_baseline))
    num = options.num_untrained if shared else min(options.num_untrained, 2)
    return {"meta": stores.untrained_meta[:num], "baseline": stores.untrained_baseline[:num]}


def _describe(study: ProbeStudy, readings: Readings, *, num_available: int) -> ProbeResult:
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
