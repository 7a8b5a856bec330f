"""Worlds of decisions that are known: shared difficulties, a followed latent, a blind half, a count of ink."""

import numpy as np
import pytest
import torch
from activation_world import make_network
from torch import nn

from meta_baseline.decisions.agreement import compare_answers
from meta_baseline.decisions.attribution import attribute, depends_on_its_batch, list_windows
from meta_baseline.decisions.sensitivity import measure_slopes
from meta_baseline.decisions.stimuli import choose_disagreements, choose_examples

NUM = 300
LABELS = np.arange(NUM) % 2


def answer(rng, accuracy):
    """Margins that are right with the given probability (a number, or one for each image)."""
    right = rng.random(NUM) < accuracy
    return np.where(right, 1, -1) * (2.0 * LABELS - 1) * rng.uniform(0.1, 1, NUM)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("meta_baseline.decisions.agreement.NUM_SHUFFLES", 100)
    monkeypatch.setattr("meta_baseline.decisions.sensitivity.NUM_SHUFFLES", 100)


def compare(first, second, groups=None, seed=0):
    rows = np.arange(NUM) if groups is None else groups
    return compare_answers(("meta", first), ("baseline", second), LABELS, rows, np.random.default_rng(seed))


def test_images_that_are_hard_for_both_make_errors_agree_beyond_chance():
    rng = np.random.default_rng(0)
    hard = np.where(rng.random(NUM) < 0.2, 0.4, 0.97)
    found = compare(answer(rng, hard), answer(rng, hard))
    assert found.errors > found.errors_null_high
    assert found.errors_low > 0


def test_good_networks_agree_without_sharing_a_difficulty_and_that_is_said():
    rng = np.random.default_rng(1)
    found = compare(answer(rng, 0.9), answer(rng, 0.9))
    assert found.agreement > 0.75 and found.kappa > 0.5
    assert found.by_accuracy == pytest.approx(found.agreement, abs=0.05)
    assert found.errors_null_low <= found.errors <= found.errors_null_high


def test_independent_errors_leave_their_band_at_the_nominal_rate(quick):
    rng = np.random.default_rng(2)
    outside = 0
    for seed in range(120):
        found = compare(answer(rng, 0.8), answer(rng, 0.85), seed=seed)
        outside += not found.errors_null_low <= found.errors <= found.errors_null_high
    assert outside <= 15  # 5 % of 120 is 6; discrete counts and 100 shuffles allowed for


def test_intervals_of_error_consistency_hold_the_truth_at_about_the_nominal_rate(quick):
    rng = np.random.default_rng(3)
    truth = _expected_consistency(0.2, 0.4, 0.97)
    held = 0
    for seed in range(120):
        hard = np.where(rng.random(NUM) < 0.2, 0.4, 0.97)
        found = compare(answer(rng, hard), answer(rng, hard), seed=seed)
        held += found.errors_low <= truth <= found.errors_high
    assert held >= 106  # 95 % of 120 is 114; three binomial standard deviations down


def _expected_consistency(share, hard, easy):
    both = share * hard**2 + (1 - share) * easy**2
    neither = share * (1 - hard) ** 2 + (1 - share) * (1 - easy) ** 2
    accuracy = share * hard + (1 - share) * easy
    chance = accuracy**2 + (1 - accuracy) ** 2
    return (both + neither - chance) / (1 - chance)


def make_latents(rng, num=8):
    return {f"latent{i}": rng.normal(size=NUM) for i in range(num)}


def test_a_margin_that_follows_one_latent_is_found_to_follow_it_and_no_other():
    rng = np.random.default_rng(4)
    latents = make_latents(rng)
    margin = 2.0 * LABELS - 1 + 0.8 * latents["latent3"] + 0.5 * rng.normal(size=NUM)
    slopes = measure_slopes({"meta": margin}, LABELS, np.arange(NUM), latents, rng)
    beyond = [s.latent for s in slopes if s.measure == "margin" and s.beyond_chance]
    assert beyond == ["latent3"]
    found = next(s for s in slopes if s.measure == "margin" and s.latent == "latent3")
    assert found.low < 0.8 / np.hypot(0.8, 0.5) < found.high


def test_a_latent_that_goes_with_the_class_is_not_credited_with_what_the_class_does():
    rng = np.random.default_rng(5)
    latents = {"like_the_class": LABELS + 0.3 * rng.normal(size=NUM), **make_latents(rng, 2)}
    margin = 4.0 * LABELS - 2 + rng.normal(size=NUM)
    slopes = measure_slopes({"meta": margin}, LABELS, np.arange(NUM), latents, rng)
    assert not [s for s in slopes if s.beyond_chance]
    assert abs(np.corrcoef(margin, latents["like_the_class"])[0, 1]) > 0.6  # without the class held, it would be


def test_without_any_effect_some_latent_is_named_in_one_case_of_twenty(quick):
    rng = np.random.default_rng(6)
    named = 0
    for _ in range(100):
        margin = 2.0 * LABELS - 1 + rng.normal(size=NUM)
        slopes = measure_slopes({"meta": margin}, LABELS, np.arange(NUM), make_latents(rng), rng)
        named += any(s.beyond_chance for s in slopes if s.measure == "margin")
    assert named <= 13  # 5 % of 100 is 5; three binomial standard deviations, and 100 shuffles


def test_a_difficulty_of_one_network_alone_is_found_in_the_difference():
    rng = np.random.default_rng(7)
    latents = make_latents(rng, 4)
    margins = {"meta": answer(rng, 0.9), "baseline": answer(rng, 1 / (1 + np.exp(-2 - 1.5 * latents["latent1"])))}
    slopes = measure_slopes(margins, LABELS, np.arange(NUM), latents, rng)
    found = {(s.network, s.latent): s for s in slopes if s.measure == "accuracy"}
    assert found["baseline", "latent1"].beyond_chance and found["baseline", "latent1"].low > 0
    assert found["meta - baseline", "latent1"].beyond_chance and found["meta - baseline", "latent1"].high < 0
    assert not found["meta", "latent1"].beyond_chance


class InkCounter(nn.Module):
    """A margin of .01 for each unit of darkness, in the columns that it sees."""

    def __init__(self, columns=slice(None)):
        super().__init__()
        self.columns = columns
        self.weight = nn.Parameter(torch.tensor(0.01))

    def forward(self, images):
        return self.weight * (1 - images[..., self.columns]).sum(dim=(1, 2, 3))[:, None] - 1


def make_image():
    image = torch.full((32, 32, 3), 255, dtype=torch.uint8)
    image[4:10, 3:9] = 0
    image[20:26, 21:30] = 0
    return image


def look(model, image=None):
    image = make_image() if image is None else image
    return attribute(model, image, network="meta", rule="logit", device="cpu")


def test_the_map_of_a_network_that_counts_ink_is_the_ink():
    image = make_image()
    _, ink = list_windows(image)
    found = look(InkCounter())
    darkness = 2 * 3 * 0.01  # black is 2 below white on the scale of the network, in three channels
    assert found.occlusion == pytest.approx(ink * darkness, abs=1e-4)
    assert found.with_ink == pytest.approx(1.0)
    assert found.gradient.sum() == pytest.approx(ink_pixels(image) * darkness, rel=1e-5)  # complete, as it is linear
    assert found.margin == pytest.approx(ink_pixels(image) * darkness - 1, rel=1e-5)


def ink_pixels(image):
    return int((image[..., 0] == 0).sum())


def test_a_network_that_is_blind_to_one_half_shows_nothing_there_and_one_that_sees_does():
    blind, seeing = look(InkCounter(slice(0, 16))), look(InkCounter())
    right = blind.occlusion[:, blind.occlusion.shape[1] // 2 + 1 :]
    assert not right.any() and not blind.gradient[:, 16:].any()
    assert seeing.occlusion[:, seeing.occlusion.shape[1] // 2 + 1 :].any()
    assert blind.occlusion.any()


def test_windows_without_ink_change_nothing_whatever_the_network():
    image = make_image()
    found = look(make_network(width=4), image[:24, :24])
    _, ink = list_windows(image[:24, :24])
    assert not found.occlusion[ink == 0].any()
    assert found.occlusion[ink > 0].any()


def test_looking_leaves_the_network_as_it_was():
    model = InkCounter().train()
    look(model)
    assert model.training and model.weight.requires_grad and model.weight.grad is None


def test_batch_norm_without_running_statistics_is_refused():
    assert depends_on_its_batch(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))
    assert not depends_on_its_batch(nn.Sequential(nn.BatchNorm2d(3)))


def test_disagreements_are_those_where_one_alone_is_right_the_firmest_first():
    labels = np.array([1, 1, 0, 0, 1])
    meta = np.array([3.0, 0.5, -2.0, 1.0, 1.0])
    baseline = np.array([-2.0, -0.5, 2.5, -1.0, 2.0])
    assert choose_disagreements(meta, baseline, labels, only="meta").tolist() == [2, 0, 1]
    assert choose_disagreements(meta, baseline, labels, only="baseline").tolist() == [3]
    assert choose_examples(meta, baseline, labels) == {4: "both right", 2: "only meta right", 3: "only baseline right"}
