"""Tasks that episodes are drawn from: those of the study, and fresh ones that the files of the networks name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from adaptation_worlds import QUICK, make_subject, make_task

from meta_baseline.adaptation import compare_adaptation, draw_fresh_tasks, find_held_out, read_origin
from meta_baseline.adaptation_space.drawing import draw_episodes
from meta_baseline.adaptation_space.origin import Origin
from meta_baseline.checkpoints import write_checkpoint
from meta_baseline.figures.adaptation import FIGURES
from meta_baseline.models import architecture_of, build_network
from meta_baseline.results import load_result, save_result
from meta_baseline.tables.adaptation import tabulate_adaptation


def test_a_file_says_which_rate_and_which_tasks_its_network_was_made_for(tmp_path: Path):
    network = build_network(architecture_of("stack4", image_size=32))
    training = {"inner_learning_rate": 0.4, "tasks": "regular,open", "held_out": "filled,arrows"}
    write_checkpoint(tmp_path / "own.safetensors", network, training=training)
    origin = read_origin(str(tmp_path / "own.safetensors"))
    assert origin == Origin(learning_rate=0.4, tasks=("regular", "open"), held_out=("filled", "arrows"))
    assert read_origin("") == Origin()


def test_tasks_that_any_network_was_trained_on_or_that_are_given_are_not_held_out():
    meta, baseline = Origin(held_out=("filled", "arrows", "open", "svrt7")), Origin(tasks=("filled",))
    assert find_held_out([meta, baseline], "task open, test split") == ("arrows", "svrt7")
    assert find_held_out([meta, baseline], "problem 7") == ("arrows", "open")


def test_fresh_images_are_half_of_each_class_and_unknown_tasks_are_passed_over():
    tasks = draw_fresh_tasks(["no such task", "filled", "arrows"], num_episodes=3, image_size=32, seed=0)
    assert [task.name for task in tasks] == ["filled", "arrows"]
    for task in tasks:
        assert task.held_out
        assert task.labels.mean() == 0.5
        assert len(task.labels) == 100  # two episodes of either make at least three
        assert task.read(np.array([0, 1])).shape == (2, 32, 32)
    assert draw_fresh_tasks(["no such task"], num_episodes=3, image_size=32, seed=0) == ()


def test_tasks_held_out_are_judged_apart_and_beside_the_images_of_the_study(tmp_path: Path):
    tasks = [make_task("head"), make_task("nothing to learn", seed=1, held_out=True)]
    subjects = [make_subject("head", name) for name in ("meta", "baseline", "untrained 1")]
    settings = dataclasses.replace(QUICK, control_episodes=4)
    result = compare_adaptation(subjects, tasks, rng=np.random.default_rng(0), settings=settings)
    of_study, held_out = result.facts.parts
    assert (of_study.is_held_out, held_out.is_held_out) == (False, True)
    assert (of_study.num_episodes, held_out.num_episodes) == (10, 10)
    for part in result.facts.parts:
        untrained = part.subjects[2]
        assert np.isfinite(untrained.gain).all()
        assert np.isfinite(untrained.cka[:, :2]).all()  # the head of this world is constant at theta_0
        assert np.isfinite(untrained.added).all(axis=1).sum() == 4
        assert part.compare_tasks(untrained) is None
    assert of_study.verdicts["meta"] == "feature reuse"
    assert held_out.verdicts["meta"] == "no gain"
    save_result(result, tmp_path)
    again = load_result(tmp_path)
    assert again.facts.parts[1].verdicts == held_out.verdicts
    for figure in FIGURES:
        assert figure.draw(again) is not None
    assert set(tabulate_adaptation(again)["layers"]["images"]) == {"of the study", "held out"}


def test_every_other_turn_of_the_tasks_is_measured_thoroughly():
    settings = dataclasses.replace(QUICK, thorough_every=2)
    tasks = [make_task("head", seed=seed, held_out=seed > 0) for seed in range(3)]
    episodes = draw_episodes(tasks, settings, np.random.default_rng(0))
    assert [episode.depth for episode in episodes[:4]] == ["thorough", "main"] * 2
    assert [episode.depth for episode in episodes[10:14]] == ["thorough"] * 2 + ["main"] * 2
