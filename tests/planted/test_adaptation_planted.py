"""Which layer has to adapt is planted, and found; where nothing can be gained there is no verdict."""

from __future__ import annotations

import numpy as np
import pytest
from adaptation_worlds import QUICK, ROLES, World, make_subject, make_task

from meta_baseline.adaptation import AdaptationResult, compare_adaptation
from meta_baseline.adaptation_space.contrasts import judge_layers, judge_network
from meta_baseline.adaptation_space.drawing import draw_episodes
from meta_baseline.adaptation_space.subject import SubjectRecord, measure_subject


def _compare(world: World) -> AdaptationResult:
    subjects = [make_subject(world, "meta"), make_subject("nothing to learn", "untrained", seed=1)]
    return compare_adaptation(subjects, [make_task(world)], rng=np.random.default_rng(0), settings=QUICK)


def _measure(world: World, seed: int) -> SubjectRecord:
    task, subject = make_task(world, seed=seed), make_subject(world, seed=seed)
    episodes = draw_episodes([task], QUICK, np.random.default_rng(seed))
    record, _ = measure_subject(subject, [task], episodes, QUICK, workers=1, progress=lambda items, **_: items)
    return record


@pytest.mark.parametrize(
    ("world", "learner", "verdict"), [("head", "classifier", "feature reuse"), ("first layer", "fc1", "rapid learning")]
)
def test_the_one_layer_that_is_missing_learns_and_the_others_are_reused(world: World, learner: str, verdict: str):
    records = [_measure(world, seed) for seed in range(12)]
    verdicts: list[dict[str, str]] = [dict(zip(ROLES, judge_layers(record.gain, record.added))) for record in records]
    assert all(own.pop(learner) == "learns" for own in verdicts)
    others = [word for own in verdicts for word in own.values()]
    # One in forty worlds may call another layer a learner by chance.
    assert others.count("reused") >= len(others) - 2
    below = [judge_network(record.gain, record.below_head) for record in records]
    assert below.count(verdict) >= 11
    alone = np.mean([record.alone - record.nothing[:, None] for record in records], axis=(0, 1))
    assert (alone > 0.3).tolist() == [role == learner for role in ROLES]


def test_features_that_are_there_are_found_without_a_head_before_adaptation():
    ready, missing = (_compare(world).facts.subjects[0] for world in ("head", "first layer"))
    assert ready.without_head_before.mean() > 0.8
    assert ready.centroid_before[:, 1].mean() > 0.8
    assert missing.centroid_before[:, 1].mean() < 0.6
    assert missing.centroid_after[:, 1].mean() > 0.8


def test_episodes_of_a_learnable_task_agree_on_the_direction_and_shuffled_labels_do_not():
    learnable, noise = (_compare(world).facts.subjects[0] for world in ("head", "nothing to learn"))
    whole = learnable.path_coherence[-1]
    assert whole.low > 0.3
    assert abs(whole.null) < 0.3
    assert noise.path_coherence[-1].low < 0.0 < noise.path_coherence[-1].high


def test_a_network_that_cannot_gain_gets_a_verdict_at_no_more_than_the_nominal_rate():
    gains = []
    for seed in range(40):
        record = _measure("nothing to learn", seed)
        gains.append(judge_network(record.gain, record.below_head) != "no gain")
    # One side of a 95 % interval: 1 of 40 expected, 5 or more in one of 300 such tests.
    assert sum(gains) < 5


def test_no_layer_of_nine_is_said_to_learn_at_more_than_the_nominal_rate_when_the_head_does_it_all():
    rng = np.random.default_rng(0)
    false = []
    for _ in range(400):
        before, rungs = rng.binomial(40, 0.5, 16) / 40, rng.binomial(40, 0.8, (16, 9)) / 40
        added = rungs - np.column_stack([rungs[:, 1:], before])
        verdicts = judge_layers(rungs[:, 0] - before, added)
        assert verdicts[-1] == "learns"
        false.append("learns" in verdicts[:-1])
    assert np.mean(false) < 0.05


def test_a_gain_that_is_not_beyond_zero_leaves_every_layer_without_a_verdict():
    gain = np.array([0.1, -0.1, 0.1, -0.1])
    assert judge_layers(gain, np.ones((4, 2))) == ("no gain", "no gain")
    assert judge_network(gain, gain) == "no gain"


@pytest.mark.parametrize(
    ("world", "words"),
    [("head", "feature reuse"), ("first layer", "rapid learning"), ("nothing to learn", "no gain is established")],
)
def test_the_first_finding_says_so_with_its_interval_and_the_untrained_control(world: World, words: str):
    sentence = _compare(world).findings[0].sentence
    assert words in sentence
    assert "10 episodes; untrained" in sentence
