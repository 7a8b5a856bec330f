"""One network over its episodes: what adaptation changed, stacked; of sketches inner products and a plane are kept."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import nn

from meta_baseline.activations.recording import as_input
from meta_baseline.adaptation_space.coherence import Coherence, compare_directions, principal_plane
from meta_baseline.adaptation_space.contrasts import EpisodeMean, average
from meta_baseline.adaptation_space.drawing import AdaptationEpisode
from meta_baseline.adaptation_space.episode import EpisodeRecord, measure_episode
from meta_baseline.adaptation_space.folding import fold
from meta_baseline.adaptation_space.resemblance import Seen
from meta_baseline.adaptation_space.settings import AdaptationSettings, Subject, TaskStimuli, is_control
from meta_baseline.cores import map_in_threads
from meta_baseline.layers import list_layers

Progress = Callable[..., Iterable[Any]]
Vectors = Sequence[tuple[Float[ndarray, " M"], ...]]


@dataclass(frozen=True, kw_only=True)
class SubjectRecord:
    """One network in its episodes [E]; L layers from the image to the answer, Z support sizes, K numbers of steps.

    NaN for what is not measured at an episode's depth; of untrained networks other rates, refitted statistics and
    layers alone are never measured.

    Attributes:
        name, note, roles: of the network.
        episodes: their numbers; networks share episodes of one number.
        tasks: the task of each.
        rates_learned: whether it was adapted by rates or statistics of its own.
        accuracy: on each episode's queries.
        same_share: share of "same" among the answers with the largest support.
        other_rates: accuracy after the steps of the layers at each other rate.
        refitted: accuracy without a step, batch norm's statistics refitted on the support's images.
        ladder, alone: accuracy when a layer and all after it, or it alone, adapt.
        centroid_before, centroid_after: accuracy by the nearest class mean in each layer.
        without_head_before, without_head_after: accuracy by cosine similarity of what the head reads.
        weight_change: |theta_k - theta_0| / |theta_0|.
        cka, procrustes: of the queries' activations before and after.
        diverged: whether theta_k is not finite; such episodes are left out of means of weights and activations.
        paths, shuffled_paths: inner products of the episodes' theta_k - theta_0, with true and with shuffled labels;
            by layer, then of the whole network [G = L + 1].
        gradients, shuffled_gradients: the same of gradients at theta_0.
        plane: theta of each episode after 0, 1, ... steps, then with shuffled labels, on two principal axes; the
            origin is the mean.
        plane_shares: of the variance on both axes.
        sharpness_before, sharpness_after: steepest rise of the query loss close by, in nats.
    """

    name: str
    note: str
    roles: tuple[str, ...]
    episodes: Int64[ndarray, " E"]
    tasks: Int64[ndarray, " E"]
    rates_learned: bool
    accuracy: Float[ndarray, "E Z K"]
    same_share: Float[ndarray, "E K"]
    other_rates: Float[ndarray, "E R"]
    refitted: Float[ndarray, " E"]
    ladder: Float[ndarray, "E L"]
    alone: Float[ndarray, "E L"]
    centroid_before: Float[ndarray, "E L"]
    centroid_after: Float[ndarray, "E L"]
    without_head_before: Float[ndarray, " E"]
    without_head_after: Float[ndarray, " E"]
    weight_change: Float[ndarray, "E L"]
    cka: Float[ndarray, "E L"]
    procrustes: Float[ndarray, "E L"]
    diverged: Bool[ndarray, " E"]
    paths: Float[ndarray, "G E E"]
    shuffled_paths: Float[ndarray, "G E E"]
    gradients: Float[ndarray, "G E E"]
    shuffled_gradients: Float[ndarray, "G E E"]
    plane: Float[ndarray, "E T 2"]
    plane_shares: Float[ndarray, " 2"]
    sharpness_before: Float[ndarray, " E"]
    sharpness_after: Float[ndarray, " E"]

    @property
    def is_control(self) -> bool:
        """Whether it is an untrained network."""
        return is_control(self.name)

    @property
    def path_coherence(self) -> tuple[Coherence, ...]:
        """How far episodes agree on the direction, by layer, then of the whole network."""
        return tuple(compare_directions(*pair) for pair in zip(self.paths, self.shuffled_paths))

    @property
    def gradient_coherence(self) -> tuple[Coherence, ...]:
        """The same of gradients at theta_0."""
        return tuple(compare_directions(*pair) for pair in zip(self.gradients, self.shuffled_gradients))

    @property
    def nothing(self) -> Float[ndarray, " E"]:
        """Accuracy before adaptation."""
        return self.accuracy[:, -1, 0]

    @property
    def gain(self) -> Float[ndarray, " E"]:
        """What adapting everything adds to the accuracy."""
        return self.ladder[:, 0] - self.nothing

    @property
    def below_head(self) -> Float[ndarray, " E"]:
        """What all layers below the head add to adapting the head alone."""
        return self.ladder[:, 0] - self.ladder[:, -1]

    @property
    def added(self) -> Float[ndarray, "E L"]:
        """What each layer adds to the accuracy beyond all layers above it; these sum to ``gain``."""
        return self.ladder - np.column_stack([self.ladder[:, 1:], self.nothing])

    def average(self, values: Float[ndarray, " E"], *, level: float = 0.95, most: float = math.inf) -> EpisodeMean:
        """The mean of one number of each of its episodes, and the interval over episodes of the same tasks."""
        return average(values, tasks=self.tasks, level=level, most=most)

    def among(self, episodes: Int64[ndarray, " D"]) -> SubjectRecord:
        """The same network in those of its episodes that are among these numbers."""
        kept = np.flatnonzero(np.isin(self.episodes, episodes))
        chosen: dict[str, ndarray] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and field.name != "plane_shares":
                pairs = value.ndim == 3 and field.name in ("paths", "shuffled_paths", "gradients", "shuffled_gradients")
                chosen[field.name] = value[:, kept][:, :, kept] if pairs else value[kept]
        return dataclasses.replace(self, **chosen)


def measure_subject(
    subject: Subject,
    tasks: Sequence[TaskStimuli],
    episodes: Sequence[AdaptationEpisode],
    settings: AdaptationSettings,
    *,
    workers: int,
    progress: Progress,
) -> tuple[SubjectRecord, Seen]:
    """One network in every episode, ``workers`` of them at a time; and what it makes of the queries."""
    network = arrange(subject, tasks, episodes[0])

    def measure(number: int) -> EpisodeRecord:
        episode = episodes[number]
        return measure_episode(subject, network, tasks[episode.task], episode, settings)

    records: list[EpisodeRecord] = map_in_threads(
        measure, range(len(episodes)), workers=workers, progress=progress, desc=f"adaptation, {subject.name}"
    )
    at_layer_steps = settings.steps.index(settings.layer_steps) - 1
    plane, shares = _find_plane(records)
    record = SubjectRecord(
        name=subject.name,
        note=subject.note,
        roles=tuple(layer.role for layer in list_layers(subject.network)),
        rates_learned=subject.rates is not None or bool(subject.statistics),
        episodes=np.arange(len(episodes)),
        tasks=np.array([episode.task for episode in episodes]),
        paths=_inner_products([record.directions.paths[at_layer_steps] for record in records]),
        shuffled_paths=_inner_products([record.directions.shuffled_path for record in records]),
        gradients=_inner_products([record.directions.gradient for record in records]),
        shuffled_gradients=_inner_products([record.directions.shuffled_gradient for record in records]),
        plane=plane,
        plane_shares=shares,
        accuracy=_stack(records, "accuracy"),
        same_share=_stack(records, "same_share"),
        other_rates=_stack(records, "other_rates"),
        refitted=_stack(records, "refitted"),
        ladder=_stack(records, "ladder"),
        alone=_stack(records, "alone"),
        centroid_before=_stack(records, "centroid_before"),
        centroid_after=_stack(records, "centroid_after"),
        without_head_before=_stack(records, "without_head_before"),
        without_head_after=_stack(records, "without_head_after"),
        weight_change=_stack(records, "weight_change"),
        diverged=_stack(records, "diverged"),
        cka=_stack(records, "cka"),
        procrustes=_stack(records, "procrustes"),
        sharpness_before=_stack(records, "sharpness_before"),
        sharpness_after=_stack(records, "sharpness_after"),
    )
    return record, Seen(name=record.name, roles=record.roles, episodes=tuple(own.geometry for own in records))


def arrange(subject: Subject, tasks: Sequence[TaskStimuli], episode: AdaptationEpisode) -> nn.Module:
    """The network in evaluation mode as it is run, in the order of memory in which convolutions are quickest."""
    network = copy.deepcopy(subject.network).eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = as_input(network, tasks[episode.task].read(episode.support[:4]), next(network.parameters()).device)
    return fold(network, list_layers(network), images)


def _stack(records: Sequence[EpisodeRecord], name: str) -> ndarray:
    return np.array([getattr(record, name) for record in records])


def _inner_products(vectors: Vectors) -> Float[ndarray, "G E E"]:
    """Of all pairs of episodes, layer by layer, then of all layers together."""
    by_layer: list[Float[ndarray, "E E"]] = []
    for number in range(len(vectors[0])):
        stacked = _stack_finite([episode[number] for episode in vectors])
        by_layer.append(stacked @ stacked.T)
    return np.array([*by_layer, np.sum(by_layer, axis=0)])


def _stack_finite(vectors: Sequence[Float[ndarray, " M"]]) -> Float[ndarray, "E M"]:
    """As rows in float64; NaN for whatever diverged."""
    stacked = np.stack(vectors).astype(np.float64)
    stacked[~np.isfinite(stacked).all(axis=1)] = np.nan
    return stacked


def _find_plane(records: Sequence[EpisodeRecord]) -> tuple[Float[ndarray, "E T 2"], Float[ndarray, " 2"]]:
    """Principal axes of all theta_i of all episodes, from their inner products layer by layer."""
    visits = [[*record.directions.paths, record.directions.shuffled_path] for record in records]
    num_points = len(visits[0])
    total = np.zeros((len(records) * num_points,) * 2)
    for number in range(len(visits[0][0])):
        vectors = _stack_finite([point[number] for own in visits for point in own])
        total += vectors @ vectors.T
    # Every path begins at theta_0, the zero vector: its inner products are 0.
    starts = 1 + num_points
    grown = np.zeros((len(records) * starts,) * 2)
    kept = np.flatnonzero(np.arange(len(grown)) % starts)
    grown[np.ix_(kept, kept)] = total
    places, shares = principal_plane(grown)
    return places.reshape(len(records), starts, 2), shares
