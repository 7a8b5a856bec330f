"""Named recipes are whole configurations; the published faults are there on purpose, and the guards see them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import RECIPE, SIZE, TASKS, arm, make_pool, make_task_images

from meta_baseline.commands.train_options import RECIPES as NAMES
from meta_baseline.episodes import EpisodeShape, merge_episodes, plan_episodes
from meta_baseline.errors import UsageError
from meta_baseline.results import load_result
from meta_baseline.training import guards
from meta_baseline.training.loop import OUTCOME, train
from meta_baseline.training.pool_images import channels_last
from meta_baseline.training.recipe import FAULTS, SNAPSHOTS, Fault, Recipe
from meta_baseline.training.recipes import (
    RECIPES,
    decode_recipe,
    encode_recipe,
    paper_leave_one_out,
    paper_leave_one_out_published,
    paper_table1,
    paper_table1_published,
)
from meta_baseline.training.saving import snapshot_name


def small(recipe: Recipe) -> Recipe:
    return replace(
        recipe,
        architecture="stack4",
        head="meta",
        image_size=SIZE,
        tasks=TASKS,
        held_out=(),
        num_images=256,
        precision="fp32",
        episodes=replace(recipe.episodes, tasks_per_step=2, support_sizes=(4,), query_size=6),
        inner_loop=replace(recipe.inner_loop, num_steps=1),
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_builds_its_network_survives_json_and_takes_a_seed(name: str) -> None:
    recipe = RECIPES[name](7)
    assert recipe.seed == 7
    assert decode_recipe(json.loads(json.dumps(encode_recipe(recipe)))) == recipe
    with torch.device("meta"):
        recipe.build_architecture()
    assert recipe.pool_size >= recipe.num_images


def test_the_command_line_offers_every_recipe() -> None:
    assert tuple(RECIPES) == NAMES


def test_snapshots_lie_on_a_logarithmic_grid_and_sort_by_name() -> None:
    assert SNAPSHOTS[:6] == (1_000, 3_000, 10_000, 20_000, 40_000, 80_000)
    names = [snapshot_name(images) for images in SNAPSHOTS if images < 10_000_000]
    assert names[2] == "images-0010000.safetensors"
    assert names == sorted(names)


def test_only_the_published_recipes_have_faults_and_repairing_leaves_none() -> None:
    faulty = {name for name, recipe in RECIPES.items() if recipe(0).faults}
    assert faulty == {"paper_table1_published", "paper_leave_one_out_published"}
    assert paper_table1().tasks == paper_table1_published().tasks
    assert paper_leave_one_out().held_out == paper_leave_one_out_published().held_out == ("arrows",)


def test_the_repaired_arms_share_the_network_and_the_published_ones_do_not() -> None:
    for recipe, alike in ((paper_table1(), True), (paper_table1_published(), False)):
        baseline = recipe.as_arm("baseline").build_architecture()
        assert (baseline == recipe.build_architecture()) == alike


def test_the_guards_see_every_published_fault_that_shows_in_one_run(tmp_path: Path) -> None:
    recipe = small(paper_table1_published())
    train(recipe, make_pool(recipe), tmp_path / "published")
    found = {check.code: check for check in load_result(tmp_path / "published" / OUTCOME).checks}
    assert found["training.initial_logits"].verdict == "warn"
    assert "mix tasks" in found["training.episodes"].sentence
    assert "right 66.7% of the time" in found["training.episodes"].sentence
    repaired = small(paper_table1())
    train(repaired, make_pool(repaired), tmp_path / "repaired")
    clean = {check.code: check.verdict for check in load_result(tmp_path / "repaired" / OUTCOME).checks}
    assert clean["training.initial_logits"] == clean["training.episodes"] == "pass"


def test_the_published_initialisation_of_a_conv6_baseline_starts_beyond_the_guard() -> None:
    images = torch.from_numpy(np.concatenate([item.images for item in make_task_images(8)]))
    for recipe, verdict in ((paper_table1_published(), "warn"), (paper_table1(), "pass")):
        baseline = replace(recipe.as_arm("baseline"), image_size=SIZE * 4, dropout=0.0)
        network = baseline.build_initial_network()
        check = guards.check_initial_logits(network, channels_last(network.preprocessing(images)))
        assert check.verdict == verdict


def test_uneven_queries_are_two_thirds_same_and_use_no_image_twice() -> None:
    shape = EpisodeShape(tasks_per_step=2, support_sizes=(4, 6), query_size=6, uneven_queries=True)
    labels, tasks = np.tile(np.arange(84) % 2, 2), np.repeat([0, 1], 84)
    plan = [episode for step in plan_episodes(labels, tasks, shape, np.random.default_rng(0)) for episode in step]
    assert all(labels[episode.query].sum() == 4 for episode in plan)
    assert all(2 * labels[episode.support].sum() == len(episode.support) for episode in plan)
    rows = np.concatenate([np.concatenate([episode.support, episode.query]) for episode in plan])
    assert len(set(rows.tolist())) == len(rows)
    assert len(plan) == 2 * 2 * (42 // 13)


def test_merged_episodes_hold_all_images_of_a_step_and_belong_to_no_task() -> None:
    pool = make_pool()
    step = plan_episodes(pool.labels, pool.task_ids, RECIPE.episodes, np.random.default_rng(0))[0]
    merged = merge_episodes(step)
    assert merged.task == -1
    assert len(merged.support) == sum(len(episode.support) for episode in step)


def test_under_the_one_logit_fault_the_other_logit_is_never_trained_and_decides_all_the_same(tmp_path: Path) -> None:
    recipe = arm("baseline", num_logits=2, faults=("one-logit-loss",), weight_decay=0.0)
    before = recipe.build_initial_network()
    assert before.decision_rule == "argmax"
    from meta_baseline.checkpoints import load_network

    after = load_network(train(recipe, make_pool(recipe), tmp_path))
    assert after.decision_rule == "argmax"
    assert torch.equal(after.classifier.weight[0], before.classifier.weight[0])
    assert not torch.equal(after.classifier.weight[1], before.classifier.weight[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faults": ("haste",)}, "No fault 'haste'. Choose from: merged-episodes"),
        ({"faults": ("one-logit-loss",)}, "Cannot train 1 logits"),
        ({"faults": ("uneven-queries",)}, "Queries are uneven exactly where the faults say so"),
        ({"num_logits": 3}, "Cannot train 3 logits"),
    ],
)
def test_faults_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(RECIPE, **changes)  # pyright: ignore[reportArgumentType]


def test_the_faults_are_five_and_can_be_had_one_by_one() -> None:
    two_logits = replace(RECIPE, num_logits=2)
    for fault in FAULTS:
        uneven = fault == "uneven-queries"
        shape = replace(RECIPE.episodes, query_size=6, uneven_queries=uneven)
        single: tuple[Fault, ...] = (fault,)
        assert replace(two_logits, faults=single, episodes=shape).faults == (fault,)


def test_a_number_of_steps_becomes_as_many_images_as_they_use() -> None:
    assert arm("baseline", batch_size=32).images_of_steps(10) == 320
    assert arm("fomaml").images_of_steps(10) == 10 * 2 * (4 + 4)
    variable = EpisodeShape(tasks_per_step=2, support_sizes=(4, 8), query_size=4)
    assert arm("maml", episodes=variable).images_of_steps(10) == 10 * 2 * (6 + 4)
