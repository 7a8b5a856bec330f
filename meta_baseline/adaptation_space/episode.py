"""Everything that is measured on one network in one episode."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor, nn

from meta_baseline.activations.recording import as_input, recording
from meta_baseline.adaptation_space.change import (
    answer_without_head,
    compare_geometries,
    nearest_centroid,
    relative_change,
)
from meta_baseline.adaptation_space.coherence import sketch
from meta_baseline.adaptation_space.drawing import AdaptationEpisode
from meta_baseline.adaptation_space.freezing import AT_A_TIME, Adapted, adapt_part, ask, buffer_sets, measure_freezing
from meta_baseline.adaptation_space.parts import name_parameters
from meta_baseline.adaptation_space.settings import AdaptationSettings, Subject, TaskStimuli
from meta_baseline.adaptation_space.sharpness import RADIUS, measure_length, steepest_rise
from meta_baseline.inner_loop import Parameters, buffers_at, differentiate, forward
from meta_baseline.layers import Layer, list_layers
from meta_baseline.models import recalibrate_batch_norm


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One episode in numbers; L layers from the image to the answer, Z support sizes, K numbers of steps.

    Attributes:
        accuracy: on the queries.
        same_share: share of "same" among the answers with the largest support.
        other_rates: accuracy after the steps of the layers at each other rate.
        refitted: accuracy without a step, batch norm's statistics refitted on the support's images.
        ladder, alone: accuracy when a layer and all after it, or it alone, adapt.
        centroid_before, centroid_after: accuracy of the nearest class mean in each layer.
        without_head_before, without_head_after: accuracy by cosine similarity of what the head reads.
        weight_change: |theta_k - theta_0| / |theta_0|.
        cka, procrustes: of the queries' activations before and after.
        diverged: whether theta_k is not finite.
        paths: sketches of theta_i - theta_0 for each number of steps after 0.
        gradient, shuffled_path, shuffled_gradient: sketches, the last two with shuffled labels.
        sharpness_before, sharpness_after: steepest rise of the query loss close by, in nats.
    """

    accuracy: Float[ndarray, "Z K"]
    same_share: Float[ndarray, " K"]
    other_rates: Float[ndarray, " R"]
    refitted: float
    ladder: Float[ndarray, " L"]
    alone: Float[ndarray, " L"]
    centroid_before: Float[ndarray, " L"]
    centroid_after: Float[ndarray, " L"]
    without_head_before: float
    without_head_after: float
    weight_change: Float[ndarray, " L"]
    cka: Float[ndarray, " L"]
    procrustes: Float[ndarray, " L"]
    diverged: bool
    paths: tuple[tuple[Float[ndarray, " M"], ...], ...]
    gradient: tuple[Float[ndarray, " M"], ...]
    shuffled_path: tuple[Float[ndarray, " M"], ...]
    shuffled_gradient: tuple[Float[ndarray, " M"], ...]
    sharpness_before: float
    sharpness_after: float


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """One network's private copy, the episode's images as it reads them, and its layers."""

    subject: Subject
    network: nn.Module
    layers: Sequence[Layer]
    parts: Mapping[str, Sequence[str]]
    support: Float[Tensor, "M ..."]
    query: Float[Tensor, "N ..."]
    labels: Int64[Tensor, " M"]
    truth: Bool[ndarray, " N"]
    settings: AdaptationSettings

    @property
    def start(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.network.named_parameters()}

    def adapt(self, labels: Int64[Tensor, " M"], *keep: int, rate_factor: float = 1.0) -> Adapted:
        """The inner loop of all parameters on as many first supports as there are labels."""
        return adapt_part(
            self.subject,
            self.network,
            list(self.start),
            self.support[: len(labels)],
            labels,
            settings=self.settings,
            keep=keep,
            rate_factor=rate_factor,
        )

    def by_layer(self, values: Mapping[str, Tensor]) -> list[Float[ndarray, " P"]]:
        """All numbers of each layer as one vector."""
        return [
            torch.cat([values[name].detach().flatten() for name in names]).cpu().numpy() if names else np.zeros(1)
            for names in self.parts.values()
        ]

    def moved(self, parameters: Parameters) -> tuple[Float[ndarray, " M"], ...]:
        """Sketches of where parameters are from the start."""
        start = self.start
        return self.sketches({name: parameters[name] - value for name, value in start.items()})

    def sketches(self, values: Mapping[str, Tensor]) -> tuple[Float[ndarray, " M"], ...]:
        return tuple(sketch(vector, number) for number, vector in enumerate(self.by_layer(values)))


def measure_episode(
    subject: Subject,
    task: TaskStimuli,
    episode: AdaptationEpisode,
    settings: AdaptationSettings,
) -> EpisodeRecord:
    """What adaptation does to one network in one episode; nothing of the network changes."""
    scene = _set_scene(subject, task, episode, settings)
    read, logits, grams_before = _look(scene, scene.start, 0)
    path = scene.adapt(scene.labels, *settings.steps[1:])
    layer_steps = settings.layer_steps
    adapted = path.after[layer_steps]
    _, _, grams_after = _look(scene, adapted, layer_steps)
    accuracy, same_share = _follow(scene, path)
    ladder, alone = measure_freezing(
        subject,
        scene.network,
        scene.layers,
        scene.parts,
        read=read,
        logits=logits,
        images=(scene.support, scene.query),
        labels=scene.labels,
        truth=scene.truth,
        settings=settings,
        everything=float(accuracy[-1, settings.steps.index(layer_steps)]),
    )
    shuffled = scene.adapt(torch.from_numpy(episode.shuffled).to(scene.labels.device), layer_steps)
    labels = scene.labels.cpu().numpy()
    num = len(labels)
    queries = slice(num, None)
    pairs = zip(grams_before, grams_after)
    geometries = np.array([compare_geometries(a[queries, queries], b[queries, queries]) for a, b in pairs])
    before, after = scene.by_layer(scene.start), scene.by_layer({name: adapted[name] for name in scene.start})
    head = max(len(scene.layers) - 2, 0)
    return EpisodeRecord(
        accuracy=accuracy,
        same_share=same_share,
        other_rates=np.array([_try_rate(scene, factor) for factor in settings.rate_factors]),
        refitted=_refit(scene),
        ladder=ladder,
        alone=alone,
        centroid_before=np.array([_share(nearest_centroid(gram, labels), scene) for gram in grams_before]),
        centroid_after=np.array([_share(nearest_centroid(gram, labels), scene) for gram in grams_after]),
        without_head_before=_share(answer_without_head(grams_before[head], labels), scene),
        without_head_after=_share(answer_without_head(grams_after[head], labels), scene),
        weight_change=np.array([relative_change(*pair) for pair in zip(before, after)]),
        cka=geometries[:, 0],
        procrustes=geometries[:, 1],
        diverged=not all(bool(np.isfinite(vector).all()) for vector in after),
        paths=tuple(scene.moved(path.after[steps]) for steps in settings.steps[1:]),
        gradient=scene.sketches({name: path.gradient[name] for name in scene.start}),
        shuffled_path=scene.moved(shuffled.after[layer_steps]),
        shuffled_gradient=scene.sketches({name: shuffled.gradient[name] for name in scene.start}),
        sharpness_before=_measure_sharpness(scene, scene.start, 0),
        sharpness_after=_measure_sharpness(scene, adapted, layer_steps),
    )


def _set_scene(subject: Subject, task: TaskStimuli, episode: AdaptationEpisode, settings: AdaptationSettings) -> _Scene:
    # Hooks are set on the network while it runs, so episodes that are measured side by side need a copy each.
    network = copy.deepcopy(subject.network).eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    device = next(network.parameters()).device
    layers = list_layers(network)
    support, query = (as_input(network, task.read(rows), device).detach() for rows in (episode.support, episode.query))
    return _Scene(
        subject=subject,
        network=network,
        layers=layers,
        parts=name_parameters(network, layers),
        support=support,
        query=query,
        labels=torch.from_numpy(task.labels[episode.support]).to(device),
        truth=task.labels[episode.query].astype(bool),
        settings=settings,
    )


def _follow(scene: _Scene, path: Adapted) -> tuple[Float[ndarray, "Z K"], Float[ndarray, " K"]]:
    """Accuracy by support size and steps, and the share of "same" with the largest support."""
    settings = scene.settings
    accuracy = np.empty((len(settings.support_sizes), len(settings.steps)))
    same_share = np.empty(len(settings.steps))
    unadapted = ask(scene.subject, scene.network, scene.start, 0, scene.query)
    for z, size in enumerate(settings.support_sizes):
        own = path if size == len(scene.labels) else scene.adapt(scene.labels[:size], *settings.steps[1:])
        for k, steps in enumerate(settings.steps):
            answers = unadapted
            if steps:
                answers = ask(scene.subject, scene.network, own.after[steps], steps, scene.query)
            accuracy[z, k] = _share(answers, scene)
            same_share[k] = answers.mean()
    return accuracy, same_share


def _try_rate(scene: _Scene, factor: float) -> float:
    steps = scene.settings.layer_steps
    adapted = scene.adapt(scene.labels, steps, rate_factor=factor).after[steps]
    return _share(ask(scene.subject, scene.network, adapted, steps, scene.query), scene)


def _refit(scene: _Scene) -> float:
    """Accuracy of theta_0 with the batch-norm statistics of the support's images, without a look at their labels."""
    twin = copy.deepcopy(scene.network)
    with torch.no_grad():
        recalibrate_batch_norm(twin, [scene.support])
    return _share(ask(scene.subject, twin, scene.start, 0, scene.query), scene)


def _look(
    scene: _Scene, parameters: Parameters, num_steps: int
) -> tuple[list[Tensor], Float[Tensor, "L K"], list[Float[ndarray, "L L"]]]:
    """What each layer gives to the next, of supports and then queries; logits; each layer's inner products of pairs."""
    images = torch.cat([scene.support, scene.query])
    buffers = buffers_at(buffer_sets(scene.subject, scene.network), num_steps)
    points = [layer.pooled for layer in scene.layers]
    read: list[list[Tensor]] = [[] for _ in points]
    logits: list[Tensor] = []
    with torch.no_grad(), recording(scene.network, points) as outputs:
        for part in images.split(AT_A_TIME):
            logits.append(forward(scene.network, parameters, buffers, part)[0])
            for own, point in zip(read, points):
                own.append(outputs[point])
    joined = [torch.cat(own) for own in read]
    flat = (values.flatten(1).double() for values in joined)
    return joined, torch.cat(logits), [(values @ values.T).cpu().numpy() for values in flat]


def _measure_sharpness(scene: _Scene, parameters: Parameters, num_steps: int) -> float:
    """The steepest rise of the query loss at parameters that are so many steps from the start."""
    labels = torch.from_numpy(scene.truth.astype(np.int64)).to(scene.labels.device)
    buffers = buffers_at(buffer_sets(scene.subject, scene.network), num_steps)
    place = {name: parameters[name].detach().requires_grad_() for name in scene.start}
    parts = [(images, own, len(own) / len(labels)) for images, own in zip(*_split(scene.query, labels))]
    gradient = {name: torch.zeros_like(value) for name, value in scene.start.items()}
    here = 0.0
    for images, own, share in parts:
        there = differentiate(scene.network, place, buffers, images, own, loss=scene.subject.loss, large=())
        here += share * float(there.loss.detach())
        for name, value in gradient.items():
            value.add_(there.gradient[name].detach(), alpha=share)

    def loss(at: Mapping[str, Tensor]) -> Tensor:
        values = [share * scene.subject.loss(forward(scene.network, at, buffers, x)[0], y) for x, y, share in parts]
        return torch.stack(values).sum()

    return steepest_rise(loss, place, here, gradient, RADIUS * measure_length(scene.start))


def _split(*tensors: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    return tuple(tensor.split(AT_A_TIME) for tensor in tensors)


def _share(answers: Bool[ndarray, " N"], scene: _Scene) -> float:
    return float((answers == scene.truth).mean())
