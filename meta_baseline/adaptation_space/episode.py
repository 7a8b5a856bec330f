"""Everything that is measured on one network in one episode; folded and cut networks share the tensors of the first."""

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
from meta_baseline.adaptation_space.coherence import blank, sketch
from meta_baseline.adaptation_space.drawing import AdaptationEpisode
from meta_baseline.adaptation_space.freezing import AT_A_TIME, Adapted, adapt_part, ask, buffer_sets, measure_freezing
from meta_baseline.adaptation_space.parts import copy_modules, name_parameters
from meta_baseline.adaptation_space.resemblance import Geometry
from meta_baseline.adaptation_space.settings import AdaptationSettings, Subject, TaskStimuli
from meta_baseline.adaptation_space.sharpness import NUM_PROBED, RADIUS, measure_length, steepest_rise
from meta_baseline.inner_loop import LossGradient, Parameters, buffers_at, differentiate, forward
from meta_baseline.layers import Layer, list_layers
from meta_baseline.models import decide, recalibrate_batch_norm

Sketch = tuple[Float[ndarray, " M"], ...]
"""A vector by layer, as sketches."""


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Where an episode leads.

    Attributes:
        paths: theta_i - theta_0 for each number of steps after 0.
        gradient: at theta_0.
        shuffled_path, shuffled_gradient: after the steps of the layers, and at theta_0, with shuffled labels.
    """

    paths: tuple[Sketch, ...]
    gradient: Sketch
    shuffled_path: Sketch
    shuffled_gradient: Sketch


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One episode in numbers; L layers from the image to the answer, Z support sizes, K numbers of steps.

    NaN for what is not measured at an episode's depth; of untrained networks other rates, refitted statistics and
    layers alone are never measured.

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
        directions: of the path and the gradient.
        geometry: of the queries.
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
    directions: Directions
    geometry: Geometry
    sharpness_before: float
    sharpness_after: float


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """One network's private modules, the episode's images as it reads them, and its layers."""

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

    def adapt(
        self, labels: Int64[Tensor, " M"], *keep: int, rate_factor: float = 1.0, start: LossGradient | None = None
    ) -> Adapted:
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
            start=start,
        )

    def ask(self, parameters: Parameters, num_steps: int) -> Bool[ndarray, " N"]:
        """What the network answers to the queries at parameters so many steps from the start."""
        return ask(self.subject, self.network, parameters, num_steps, self.query)

    def by_layer(self, values: Mapping[str, Tensor]) -> list[Float[ndarray, " P"]]:
        """All numbers of each layer as one vector."""
        return [
            torch.cat([values[name].detach().flatten() for name in names]).cpu().numpy() if names else np.zeros(1)
            for names in self.parts.values()
        ]

    def move(self, parameters: Parameters) -> list[Float[ndarray, " P"]]:
        """From the start to some parameters, layer by layer."""
        return self.by_layer({name: parameters[name] - value for name, value in self.start.items()})

    def share(self, answers: Bool[ndarray, " N"]) -> float:
        """Of right answers."""
        return float((answers == self.truth).mean())


def measure_episode(
    subject: Subject,
    network: nn.Module,
    task: TaskStimuli,
    episode: AdaptationEpisode,
    settings: AdaptationSettings,
) -> EpisodeRecord:
    """What adaptation does to one network in one episode; nothing of the network changes.

    Args:
        subject: loss, rule and rates, and the network as it is.
        network: the same in evaluation mode, as it is to be run (``folding.fold``); no parameter requires a gradient.
        task: of the episode.
        episode: rows of support and queries.
        settings: what is measured.
    """
    scene = _set_scene(subject, network, task, episode, settings)
    brief, thorough = episode.depth == "brief", episode.depth == "thorough"
    beside = thorough and not subject.is_control
    layer_steps = settings.layer_steps
    read, logits, grams_before = _look(scene, scene.start, 0)
    path = scene.adapt(scene.labels, *((layer_steps,) if brief else settings.steps[1:]))
    adapted = path.after[layer_steps]
    _, logits_after, grams_after = _look(scene, adapted, layer_steps)
    accuracy, same_share = _follow(scene, path, {0: logits, layer_steps: logits_after}, brief=brief)
    everything = float(accuracy[-1, settings.steps.index(layer_steps)])
    ladder, alone = (np.full(len(scene.layers), np.nan) for _ in range(2))
    ladder[0] = everything
    if not brief:
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
            everything=everything,
            start=path.start,
            each_alone=beside,
        )
    labels = scene.labels.cpu().numpy()
    queries = slice(len(labels), None)
    geometry = Geometry(
        before=np.array([gram[queries, queries] for gram in grams_before]),
        after=np.array([gram[queries, queries] for gram in grams_after]),
    )
    geometries = np.array([compare_geometries(*pair) for pair in zip(geometry.before, geometry.after)])
    moves = {steps: scene.move(parameters) for steps, parameters in path.after.items()}
    directions = _find_directions(scene, path, moves, episode)
    head = max(len(scene.layers) - 2, 0)
    return EpisodeRecord(
        accuracy=accuracy,
        same_share=same_share,
        other_rates=_try_rates(scene, path) if beside else np.full(len(settings.rate_factors), np.nan),
        refitted=_refit(scene) if beside else np.nan,
        ladder=ladder,
        alone=alone,
        centroid_before=np.array([scene.share(nearest_centroid(gram, labels)) for gram in grams_before]),
        centroid_after=np.array([scene.share(nearest_centroid(gram, labels)) for gram in grams_after]),
        without_head_before=scene.share(answer_without_head(grams_before[head], labels)),
        without_head_after=scene.share(answer_without_head(grams_after[head], labels)),
        weight_change=np.array(
            [relative_change(*pair) for pair in zip(scene.by_layer(scene.start), moves[layer_steps])]
        ),
        cka=geometries[:, 0],
        procrustes=geometries[:, 1],
        diverged=not all(bool(np.isfinite(vector).all()) for vector in moves[layer_steps]),
        directions=directions,
        geometry=geometry,
        sharpness_before=_measure_sharpness(scene, scene.start, 0) if thorough else np.nan,
        sharpness_after=_measure_sharpness(scene, adapted, layer_steps) if thorough else np.nan,
    )


def _find_directions(
    scene: _Scene, path: Adapted, moves: Mapping[int, Sequence[Float[ndarray, " P"]]], episode: AdaptationEpisode
) -> Directions:
    """Where the episode leads, and where it would lead with shuffled labels."""
    settings = scene.settings
    nothing = tuple(blank(vector) for vector in moves[settings.layer_steps])
    shuffled = scene.adapt(torch.from_numpy(episode.shuffled).to(scene.labels.device), settings.layer_steps)
    return Directions(
        paths=tuple(_sketch_all(moves[steps]) if steps in moves else nothing for steps in settings.steps[1:]),
        gradient=_sketch_all(scene.by_layer(path.start.gradient)),
        shuffled_path=_sketch_all(scene.move(shuffled.after[settings.layer_steps])),
        shuffled_gradient=_sketch_all(scene.by_layer(shuffled.start.gradient)),
    )


def _set_scene(
    subject: Subject, network: nn.Module, task: TaskStimuli, episode: AdaptationEpisode, settings: AdaptationSettings
) -> _Scene:
    # Hooks are set on the network while it runs, so episodes that are measured side by side need modules each.
    network = copy_modules(network)
    device = next(network.parameters()).device
    # Of the network as it is: a folded one has its layers' points in another order.
    layers = list_layers(subject.network)
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


def _follow(
    scene: _Scene, path: Adapted, known: Mapping[int, Float[Tensor, "L K"]], *, brief: bool
) -> tuple[Float[ndarray, "Z K"], Float[ndarray, " K"]]:
    """Accuracy by support size and steps, and the share of "same" with the largest support.

    ``known`` holds logits of supports and queries after some numbers of steps on the largest support; ``brief`` leaves
    it at these.
    """
    settings = scene.settings
    accuracy = np.full((len(settings.support_sizes), len(settings.steps)), np.nan)
    same_share = np.full(len(settings.steps), np.nan)
    answered = {
        steps: decide(logits[len(scene.labels) :], scene.subject.rule).cpu().numpy() for steps, logits in known.items()
    }
    for z, size in enumerate(settings.support_sizes):
        largest = size == len(scene.labels)
        if brief and not largest:
            continue
        own = path if largest else scene.adapt(scene.labels[:size], *settings.steps[1:])
        for k, steps in enumerate(settings.steps):
            seen = steps in answered and (largest or steps == 0)
            if brief and not seen:
                continue
            answers = answered[steps] if seen else scene.ask(own.after[steps], steps)
            accuracy[z, k] = scene.share(answers)
            same_share[k] = answers.mean()
    return accuracy, same_share


def _try_rates(scene: _Scene, path: Adapted) -> Float[ndarray, " R"]:
    """Accuracy after the steps of the layers at other rates."""
    steps = scene.settings.layer_steps
    shares: list[float] = []
    for factor in scene.settings.rate_factors:
        adapted = scene.adapt(scene.labels, steps, rate_factor=factor, start=path.start)
        shares.append(scene.share(scene.ask(adapted.after[steps], steps)))
    return np.array(shares)


def _refit(scene: _Scene) -> float:
    """Accuracy of theta_0 with the batch-norm statistics of the support's images, without a look at their labels."""
    twin = copy.deepcopy(scene.subject.network).eval()
    with torch.no_grad():
        recalibrate_batch_norm(twin, [scene.support])
    start = {name: value.detach() for name, value in twin.named_parameters()}
    return scene.share(ask(scene.subject, twin, start, 0, scene.query))


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
    """The steepest rise of the loss of some queries at parameters that are so many steps from the start."""
    chosen = np.sort(np.concatenate([np.flatnonzero(scene.truth == label)[: NUM_PROBED // 2] for label in (0, 1)]))
    query = scene.query[torch.from_numpy(chosen).to(scene.query.device)]
    labels = torch.from_numpy(scene.truth[chosen].astype(np.int64)).to(scene.labels.device)
    buffers = buffers_at(buffer_sets(scene.subject, scene.network), num_steps)
    place = {name: parameters[name].detach().requires_grad_() for name in scene.start}
    here = differentiate(scene.network, place, buffers, query, labels, loss=scene.subject.loss, large=())

    def loss(at: Mapping[str, Tensor]) -> Tensor:
        return scene.subject.loss(forward(scene.network, at, buffers, query)[0], labels)

    radius = RADIUS * measure_length(scene.start)
    return steepest_rise(loss, place, float(here.loss.detach()), here.gradient, radius)


def _sketch_all(vectors: Sequence[Float[ndarray, " P"]]) -> Sketch:
    return tuple(sketch(vector, number) for number, vector in enumerate(vectors))
