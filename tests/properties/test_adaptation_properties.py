"""Adaptation: what must hold for any network, images and settings."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from activation_world import make_images, make_network
from adaptation_worlds import QUICK, ROLES, make_subject, make_task, mean_loss
from torch import nn

from meta_baseline.adaptation import AdaptationSettings, Subject, TaskStimuli, compare_adaptation
from meta_baseline.adaptation_space.drawing import draw_episodes
from meta_baseline.adaptation_space.episode import measure_episode
from meta_baseline.adaptation_space.parts import cut_below, name_parameters
from meta_baseline.adaptation_space.subject import arrange
from meta_baseline.errors import UsageError
from meta_baseline.figures.adaptation import FIGURES
from meta_baseline.inner_loop import inner_steps, parameters_and_buffers
from meta_baseline.layers import list_layers
from meta_baseline.results import load_result, save_result
from meta_baseline.tables.adaptation import tabulate_adaptation

_SMALL = AdaptationSettings(
    steps=(0, 1, 3), support_sizes=(2, 4), layer_steps=3, num_queries=10, max_episodes=4, thorough_every=1
)


def _convolutional() -> tuple[Subject, TaskStimuli]:
    network, images = make_network(), make_images(60)
    labels = np.arange(60) % 2

    def read(rows: np.ndarray) -> torch.Tensor:
        return images[torch.from_numpy(rows)]

    task = TaskStimuli(name="squares", labels=labels.astype(np.int64), groups=np.arange(60), read=read)
    return Subject(name="meta", network=network, loss=mean_loss, rule="logit"), task


def test_every_rung_of_the_ladder_is_the_inner_loop_with_rate_0_for_what_is_frozen():
    subject, task = _convolutional()
    episode = draw_episodes([task], _SMALL, np.random.default_rng(0))[0]
    record = measure_episode(subject, arrange(subject, [task], episode), task, episode, _SMALL)
    network = copy.deepcopy(subject.network).eval()
    layers = list_layers(network)
    parts = name_parameters(network, layers)
    support, query = (task.read(rows).permute(0, 3, 1, 2) / 127.5 - 1 for rows in (episode.support, episode.query))
    parameters, buffers = parameters_and_buffers(network)
    for first in range(len(layers)):
        free = {name for layer in layers[first:] for name in parts[layer.role]}
        rates = {name.rpartition(".")[0]: torch.tensor([0.05 * (name in free)]) for name in parameters}
        *_, last = inner_steps(
            network, parameters, buffers, support, torch.from_numpy(task.labels[episode.support]),
            inner_loop=_SMALL.inner_loop(3), loss=mean_loss, rates=rates,
        )  # fmt: skip
        logits = torch.func.functional_call(network, {**last.parameters, **buffers}, (query,))
        right = ((logits[:, -1] > 0).numpy() == task.labels[episode.query]).mean()
        assert record.ladder[first] == pytest.approx(right)
        if 0 < first < len(layers) - 1:
            assert np.isfinite(record.alone[first])


def test_a_brief_episode_gives_the_numbers_of_a_thorough_one_where_it_gives_any():
    subject, task = _convolutional()
    episode = draw_episodes([task], _SMALL, np.random.default_rng(0))[0]
    network = arrange(subject, [task], episode)
    full, brief = (
        measure_episode(subject, network, task, dataclasses.replace(episode, depth=depth), _SMALL)
        for depth in ("thorough", "brief")
    )
    for name in ("cka", "procrustes", "weight_change", "centroid_before", "centroid_after", "without_head_after"):
        np.testing.assert_array_equal(getattr(full, name), getattr(brief, name))
    assert full.ladder[0] == brief.ladder[0]
    np.testing.assert_array_equal(full.accuracy[-1, [0, 2]], brief.accuracy[-1, [0, 2]])
    np.testing.assert_array_equal(full.directions.shuffled_path[0], brief.directions.shuffled_path[0])
    assert np.isnan(brief.accuracy[0]).all()
    assert np.isnan(brief.ladder[1:]).all()


def test_adaptation_changes_neither_the_network_nor_its_statistics_nor_its_mode():
    subject, task = _convolutional()
    before = copy.deepcopy(subject.network.state_dict())
    compare_adaptation([subject], [task], rng=np.random.default_rng(0), settings=_SMALL)
    assert all(torch.equal(before[name], value) for name, value in subject.network.state_dict().items())
    assert subject.network.training


def test_two_episodes_at_a_time_give_the_same_numbers_as_one():
    subject, task = _convolutional()
    one, two = (
        compare_adaptation([subject], [task], rng=np.random.default_rng(0), settings=_SMALL, workers=workers)
        for workers in (1, 2)
    )
    assert one.estimates == two.estimates


def test_a_result_survives_the_disk(tmp_path):
    subject, task = _convolutional()
    result = compare_adaptation([subject], [task], rng=np.random.default_rng(0), settings=_SMALL)
    save_result(result, tmp_path)
    again = load_result(tmp_path)
    assert again.findings == result.findings
    np.testing.assert_array_equal(again.facts.subjects[0].ladder, result.facts.subjects[0].ladder)


def test_what_layers_add_sums_to_the_gain_of_adapting_everything():
    result = compare_adaptation(
        [make_subject("head")], [make_task("head")], rng=np.random.default_rng(0), settings=QUICK
    )
    record = result.facts.subjects[0]
    np.testing.assert_allclose(record.added.sum(axis=1), record.gain, atol=1e-12)
    np.testing.assert_array_equal(record.ladder[:, 0], record.accuracy[:, -1, -1])


def test_equal_networks_are_measured_equal_and_nothing_differs_by_adaptation():
    subjects = [make_subject("head", name) for name in ("meta", "baseline", "untrained")]
    result = compare_adaptation(subjects, [make_task("head")], rng=np.random.default_rng(0), settings=QUICK)
    values = {estimate.name: estimate.value for estimate in result.estimates}
    assert values["difference.by_adaptation"] == 0.0
    assert values["gain.all.meta"] == values["gain.all.baseline"] == values["gain.all.untrained"]
    assert any("do the two networks come apart" in finding.sentence for finding in result.findings)


class _Skipping(nn.Module):
    """A network that is no chain: the image is added again before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.relu1, self.classifier = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return self.classifier(self.relu1(self.fc1(flat)) + flat)


def test_a_network_that_is_no_chain_is_computed_whole():
    torch.manual_seed(0)
    network, images = _Skipping().eval(), torch.randn(6, 1, 2, 2)
    layers = list_layers(network)
    hidden = network.relu1(network.fc1(images.flatten(1)))
    tail = cut_below(network, layers, 1, [hidden, hidden], (images[:2], images[2:]), network(images))
    assert tail.network is network
    assert torch.equal(tail.query, images[2:])


def test_no_image_comes_twice_and_no_shape_is_on_both_sides_of_an_episode():
    task = make_task("head", num=600, num_groups=30)
    episodes = draw_episodes([task], AdaptationSettings(), np.random.default_rng(0))
    rows = np.concatenate([np.concatenate([episode.support, episode.query]) for episode in episodes])
    assert len(set(rows.tolist())) == len(rows)
    for episode in episodes:
        assert not set(task.groups[episode.support]) & set(task.groups[episode.query])
        assert task.labels[episode.support].tolist() == [0, 1] * 5
        assert sorted(episode.shuffled) == sorted(task.labels[episode.support])


def test_six_shapes_suffice_for_episodes():
    task = make_task("head", num=160, num_groups=6)
    assert len(draw_episodes([task], AdaptationSettings(), np.random.default_rng(0))) >= 4


def test_episodes_of_several_tasks_take_turns():
    tasks = [make_task("head", num=320, seed=seed) for seed in (0, 1)]
    episodes = draw_episodes(tasks, QUICK, np.random.default_rng(0))
    assert [episode.task for episode in episodes] == [0, 1] * 5


def test_too_few_images_are_refused_with_the_number_that_is_needed():
    with pytest.raises(UsageError, match=r"40 images give .* Use 80 images or more"):
        draw_episodes([make_task("head", num=40)], AdaptationSettings(), np.random.default_rng(0))


def test_few_images_are_said_in_a_check():
    result = compare_adaptation(
        [make_subject("head")], [make_task("head", num=130)], rng=np.random.default_rng(0), settings=QUICK
    )
    codes = {check.code: check.verdict for check in result.checks}
    assert codes["adaptation.too_few_images"] == "warn"
    assert codes["adaptation.no_control"] == "warn"


@pytest.mark.parametrize("wrong", [{"steps": (1, 5)}, {"layer_steps": 4}, {"support_sizes": (5,)}, {"num_queries": 7}])
def test_settings_that_cannot_be_are_refused(wrong: dict):
    with pytest.raises(UsageError):
        AdaptationSettings(**wrong)


def test_every_layer_has_its_norm_and_the_last_one_whatever_is_left():
    network = make_network()
    network.register_parameter("temperature", nn.Parameter(torch.ones(1)))
    parts = name_parameters(network, list_layers(network))
    assert parts["conv1"] == ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias")
    assert "temperature" in parts["classifier"]
    assert sum(map(len, parts.values())) == len(list(network.parameters()))


def test_roles_of_the_planted_network_are_what_the_planted_worlds_take_them_for():
    assert tuple(layer.role for layer in list_layers(make_subject("head").network)) == ROLES


def test_a_rate_that_would_have_gained_more_is_pointed_out():
    slow = dataclasses.replace(QUICK, learning_rate=0.001, rate_factors=(300.0,))
    subject = make_subject("head")
    with torch.no_grad():
        subject.network.get_parameter("classifier.bias").sub_(1.0)  # which takes more than a tiny step
    result = compare_adaptation([subject], [make_task("head")], rng=np.random.default_rng(0), settings=slow)
    (check,) = (check for check in result.checks if check.code == "adaptation.rate")
    assert check.verdict == "warn"
    assert "300 times the rate" in check.sentence


def test_refitting_batch_norm_forgets_the_statistics_that_it_had():
    subject, task = _convolutional()
    network = copy.deepcopy(subject.network)
    with torch.no_grad():
        network.get_submodule("bn1").get_buffer("running_mean").add_(3.0)
    shifted = dataclasses.replace(subject, network=network)
    episode = draw_episodes([task], _SMALL, np.random.default_rng(0))[0]
    own, other = (
        measure_episode(each, arrange(each, [task], episode), task, episode, _SMALL).refitted
        for each in (subject, shifted)
    )
    assert own == other


def test_a_rate_at_which_adaptation_diverges_is_said_and_nothing_breaks():
    subject, task = _convolutional()
    wild = dataclasses.replace(_SMALL, learning_rate=1e30)
    result = compare_adaptation([subject], [task], rng=np.random.default_rng(0), settings=wild)
    (check,) = (check for check in result.checks if check.code == "adaptation.diverged")
    assert "diverges in 4 of 4 episodes" in check.sentence
    for figure in FIGURES:
        figure.draw(result)
    tabulate_adaptation(result)


def test_dropout_changes_nothing_of_a_network_that_is_cut():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(), nn.Flatten(), nn.Linear(8, 1)
    )
    images = torch.randn(5, 1, 6, 6)
    network.eval()
    layers = list_layers(network)
    read = network[:3](images).detach()
    tail = cut_below(network, layers, 1, [read, network(images)], (images[:2], images[2:]), network(images))
    assert tail.network is not network
    torch.testing.assert_close(tail.network(tail.query), network(images)[2:])
