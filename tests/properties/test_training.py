"""Both arms differ in how a step is taken, and in nothing else; a run can be repeated to the byte."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_training import RECIPE, arm, make_pool
from torch.nn import functional

from meta_baseline.checkpoints import find_initial, load_network
from meta_baseline.errors import InputError, UsageError
from meta_baseline.inner_loop import InnerLoop, parameters_and_buffers
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training import loop
from meta_baseline.training.curves import read_learning_curve
from meta_baseline.training.learners import keep_statistics
from meta_baseline.training.loop import TrainingStatus, schedule, train
from meta_baseline.training.objectives import classification_loss
from meta_baseline.training.pool_images import PoolImages, apply_symmetries, channels_last
from meta_baseline.training.precision import resolve_precision
from meta_baseline.training.recipes import Recipe, decode_recipe, demo, demo_32px, encode_recipe

ALGORITHMS = ("baseline", "fomaml")


class Watched(PoolImages):
    """Notes which rows are read."""

    seen: dict[int, torch.Tensor]

    def read(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = super().read(rows)
        for row, image in zip(rows, images):
            assert row not in type(self).seen, "an image was used twice"
            type(self).seen[int(row)] = image
        return images, labels


def test_both_arms_start_from_the_same_weights_and_see_the_same_images_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PoolImages", Watched)
    seen: list[dict[int, torch.Tensor]] = []
    for algorithm in ALGORITHMS:
        Watched.seen = {}
        train(arm(algorithm), make_pool(), tmp_path / algorithm)
        seen.append(Watched.seen)
    assert seen[0].keys() == seen[1].keys() == set(range(RECIPE.pool_size))
    assert all(torch.equal(image, seen[1][row]) for row, image in seen[0].items())
    first, second = (load_file(tmp_path / algorithm / loop.INITIAL) for algorithm in ALGORITHMS)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_recipe_gives_the_same_bytes_and_another_seed_gives_others(
    tmp_path: Path, algorithm: str, precision: str
) -> None:
    recipe = arm(algorithm, precision=precision)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        train(replace(recipe, seed=seed), make_pool(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir() if path.is_file())
    assert files == ["images-0000100.safetensors", "initial.safetensors", "last.safetensors", "metrics.jsonl"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert not any((tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes() for name in files)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_trained_checkpoint_says_how_it_was_trained_and_finds_its_step_0(tmp_path: Path, algorithm: str) -> None:
    last = train(arm(algorithm), make_pool(), tmp_path)
    network = load_network(last)
    assert network.architecture == RECIPE.build_architecture()
    assert find_initial(last, network) == tmp_path / loop.INITIAL
    assert algorithm in network.provenance.parameters.lower() or algorithm == "baseline"
    assert int(network.get_buffer("bn1.num_batches_tracked")) > 0


def test_the_learning_curve_covers_all_images_and_is_reported_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "METRICS_EVERY", 96)
    reported: list[TrainingStatus] = []
    train(arm("fomaml"), make_pool(), tmp_path, report=reported.append)
    curve = read_learning_curve(tmp_path / loop.METRICS, "meta")
    assert curve.images.tolist() == [status.images for status in reported] == [96, 192, 256]
    assert curve.adapted_accuracy.tolist() == [status.adapted_accuracy for status in reported]
    fields = set(json.loads((tmp_path / loop.METRICS).read_text().splitlines()[0]))
    assert fields == {field.name for field in dataclasses.fields(TrainingStatus)}


def test_the_end_of_the_plateau_is_when_accuracy_passed_the_level_for_good(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    points = zip((1000, 2000, 3000, 4000), (0.5, 0.7, 0.55, 0.8))
    lines = [{"images": n, "loss": 0.6, "accuracy": a, "adapted_accuracy": None} for n, a in points]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = read_learning_curve(path, "baseline")
    assert curve.plateau_end() == 4000
    assert curve.plateau_end(0.9) is None
    assert np.isnan(curve.adapted_accuracy).all()
    with pytest.raises(InputError, match="Train the network again"):
        read_learning_curve(tmp_path / "none.jsonl", "meta")


def test_batch_norm_moves_once_per_step_by_the_mean_of_the_episodes() -> None:
    network = RECIPE.build_initial_network()
    _, buffers = parameters_and_buffers(network)
    copies = [{name: value.clone() for name, value in buffers.items()} for _ in range(2)]
    for copy, mean in zip(copies, (1.0, 3.0)):
        copy["bn1.running_mean"].fill_(mean)
        copy["bn1.num_batches_tracked"] += 1
    keep_statistics(buffers, copies)
    assert set(network.get_buffer("bn1.running_mean").tolist()) == {2.0}
    assert int(network.get_buffer("bn1.num_batches_tracked")) == 1


def test_batch_norm_stands_still_at_the_end_of_a_run_as_it_will_in_evaluation(tmp_path: Path) -> None:
    train(arm("fomaml", frozen_statistics_fraction=0.5), make_pool(), tmp_path)
    last = load_network(tmp_path / loop.LAST)
    num_steps = RECIPE.pool_size // (2 * RECIPE.episodes.images_per_cycle)
    assert int(last.get_buffer("bn1.num_batches_tracked")) == num_steps // 2


def test_the_eight_symmetries_are_distinct_keep_the_pixels_and_zero_changes_nothing() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(3, 3)
    turned = apply_symmetries(np.repeat(image[None], 8, axis=0), np.arange(8))
    assert len({view.tobytes() for view in turned}) == 8
    assert all(sorted(view.ravel()) == list(range(9)) for view in turned)
    assert np.array_equal(turned[0], image)


def test_a_symmetry_belongs_to_its_image_wherever_it_stands_in_the_batch() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 5), dtype=np.uint8)
    symmetries = np.random.default_rng(1).integers(8, size=20)
    alone = [apply_symmetries(images[i : i + 1], symmetries[i : i + 1])[0] for i in range(20)]
    assert np.array_equal(apply_symmetries(images, symmetries), np.stack(alone))


def test_channels_last_keeps_the_values_and_is_unambiguous_for_one_channel() -> None:
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(channels_last(images), images)
    assert channels_last(images).stride() == (16, 1, 4, 1)


def test_two_logits_under_argmax_are_trained_by_the_softmax_cross_entropy() -> None:
    logits, labels = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1, 0])
    torch.testing.assert_close(classification_loss("argmax")(logits, labels), functional.cross_entropy(logits, labels))


def test_under_the_logit_rule_only_the_last_logit_is_trained() -> None:
    logits = torch.randn(4, 2, requires_grad=True)
    classification_loss("logit")(logits, torch.tensor([0, 1, 1, 0])).backward()
    assert logits.grad is not None
    assert torch.count_nonzero(logits.grad[:, 0]) == 0
    assert torch.count_nonzero(logits.grad[:, 1]) == 4


def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_nearly_zero() -> None:
    recipe = Recipe(learning_rate=1.0, warmup_steps=10)
    rates = [schedule(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(0.91)
    assert np.all(np.diff(rates[9:]) < 0)
    assert rates[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("recipe", [demo(3), demo_32px(), arm("fomaml", inner_loop=InnerLoop(num_steps=2))])
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert decode_recipe(json.loads(json.dumps(encode_recipe(recipe)))) == recipe


def test_the_pool_of_a_recipe_fits_both_algorithms_without_a_rest() -> None:
    for tasks in (("a",), ("a", "b", "c"), tuple("abcdefgh")):
        recipe = Recipe(tasks=tasks, num_images=1000)
        assert recipe.pool_size >= 1000
        assert recipe.pool_size % (len(tasks) * 16) == recipe.pool_size % 64 == recipe.pool_size % 32 == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"algorithm": "sgd"},
            "No algorithm 'sgd'. Choose one of: baseline, matched, maml, fomaml, anil, reptile, protonet",
        ),
        ({"optimiser": "sgd"}, "No optimiser 'sgd'. Choose one of: muon, adamw"),
        ({"tasks": ()}, "Name at least one with --tasks"),
        ({"held_out": ("blocks",)}, "'blocks' cannot be both trained and held out"),
        ({"num_images": 0}, "Use 1 or more"),
        ({"algorithm": "fomaml", "inner_loop": InnerLoop(num_steps=0)}, "use --inner-steps 1 or more"),
        ({"learning_rate": 0.0}, "Use --outer-lr above 0"),
    ],
)
def test_an_impossible_recipe_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(RECIPE, **changes)  # pyright: ignore[reportArgumentType]


def test_a_pool_for_another_recipe_is_refused(tmp_path: Path) -> None:
    pool = make_pool()
    other = TrainingPool(images=pool.images, labels=pool.labels, task_ids=pool.task_ids, tasks=("a", "b"))
    with pytest.raises(UsageError, match="The pool holds a, b at 16 px"):
        train(RECIPE, other, tmp_path)
    with pytest.raises(UsageError, match="holds 256 images, the recipe uses 512"):
        train(replace(RECIPE, num_images=512), pool, tmp_path)


def test_a_diverging_run_stops_and_says_where(tmp_path: Path) -> None:
    recipe = arm("fomaml", inner_loop=InnerLoop(num_steps=3, learning_rate=1e30))
    with pytest.raises(UsageError, match=r"The loss is \S+ after \d+ images of fomaml"):
        train(recipe, make_pool(recipe), tmp_path)


def test_training_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    train(RECIPE, make_pool(), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_asked_for_precision_is_taken_as_it_is() -> None:
    assert resolve_precision("fp32") == "fp32"
    assert resolve_precision("bf16") == "bf16"
    assert resolve_precision("auto") in {"fp32", "bf16"}
