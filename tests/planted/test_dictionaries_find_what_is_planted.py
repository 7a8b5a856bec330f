from __future__ import annotations

import numpy as np
import pytest
import torch
from dictionary_worlds import make_atoms, make_codes, make_map_layer, make_map_stores, make_sparse_world

from meta_baseline.dictionaries import training
from meta_baseline.dictionaries.fidelity import draw_gaussian_twin
from meta_baseline.dictionaries.matching import (
    correlate_pairs,
    match_by_activation,
    mean_max_cosine,
    pair_shuffled_images,
    weigh_pairs,
)
from meta_baseline.dictionaries.selectivity import measure_selectivity
from meta_baseline.dictionaries.training import TrainingOptions, train_dictionary
from meta_baseline.sparse_autoencoders import compare_dictionaries, train_sparse_autoencoder


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("variant", "cosine"), [("topk", 0.95), ("l1", 0.8)])
def test_planted_atoms_are_found(variant, cosine):
    world = make_sparse_world(6000, num_channels=32, num_atoms=48, active=3, seed=0)
    dictionary = train_sparse_autoencoder(
        torch.from_numpy(world.samples), num_atoms=48, sparsity=3, variant=variant, num_steps=1500, generator=seeded()
    )
    assert mean_max_cosine(world.atoms, dictionary.decoder) > cosine
    assert mean_max_cosine(make_atoms(48, 32, seed=99), dictionary.decoder) < 0.6


def test_planted_structure_is_explained_beyond_its_gaussian_twin_and_gaussian_numbers_are_not():
    world = make_sparse_world(6000, num_channels=32, num_atoms=48, active=3, seed=3)

    def explain(samples: np.ndarray) -> float:
        dictionary = train_sparse_autoencoder(
            torch.from_numpy(samples[:4500]), num_atoms=48, sparsity=3, generator=seeded()
        )
        return dictionary.measure(torch.from_numpy(samples[4500:])).fve

    twin = draw_gaussian_twin(world.samples, np.random.default_rng(0))
    twin_of_twin = draw_gaussian_twin(twin, np.random.default_rng(1))
    of_world, of_twin, of_second = (explain(samples) for samples in (world.samples, twin, twin_of_twin))
    assert of_world - of_twin > 0.2
    assert abs(of_twin - of_second) < 0.03


def test_a_gaussian_twin_has_the_mean_and_covariance():
    world = make_sparse_world(20000, num_channels=8, num_atoms=12, active=2, seed=4)
    twin = draw_gaussian_twin(world.samples, np.random.default_rng(0))
    assert np.allclose(twin.mean(axis=0), world.samples.mean(axis=0), atol=0.02)
    assert np.allclose(np.cov(twin.T), np.cov(world.samples.T), atol=0.03)


@pytest.fixture
def run_with_dead_atoms(monkeypatch):
    """Share of atoms dead at the end, when half of them start with a threshold that hardly any score reaches."""
    begin = training._TrainingState.__init__
    world = make_sparse_world(4000, num_channels=24, num_atoms=32, active=4, seed=5)

    def run(threshold: float, *, auxiliary_weight: float = 0.0, resample_at: tuple[float, ...] = ()) -> float:
        def begin_with_dead_atoms(self, *arguments) -> None:
            begin(self, *arguments)
            self.parameters.encoder_bias[::2] = -threshold

        monkeypatch.setattr(training._TrainingState, "__init__", begin_with_dead_atoms)
        monkeypatch.setattr(training, "AUXILIARY_WEIGHT", auxiliary_weight)
        monkeypatch.setattr(training, "RESAMPLE_AT", resample_at)
        options = TrainingOptions(num_atoms=32, sparsity=4, num_steps=400)
        dictionary = train_dictionary(torch.from_numpy(world.samples[:3000]), options, seeded())
        return dictionary.measure(torch.from_numpy(world.samples[3000:])).dead_fraction

    return run


def test_planted_dead_atoms_stay_dead_alone_and_are_revived_by_the_auxiliary_loss(run_with_dead_atoms):
    assert run_with_dead_atoms(3.0) > 0.3
    assert run_with_dead_atoms(3.0, auxiliary_weight=1 / 32) < 0.1


def test_atoms_beyond_the_reach_of_the_auxiliary_loss_are_revived_by_resampling(run_with_dead_atoms):
    assert run_with_dead_atoms(4.0, auxiliary_weight=1 / 32) > 0.3, "no score is positive, so no gradient"
    assert run_with_dead_atoms(4.0, resample_at=(0.2, 0.4, 0.6)) < 0.1


def test_the_same_features_in_another_order_and_basis_are_matched_one_to_one():
    codes = make_codes(3000, 20, active=3, seed=6)
    order = np.random.default_rng(0).permutation(20)
    first, second = match_by_activation(codes, 3 * codes[:, order])
    assert np.array_equal(order[second], first)
    assert np.allclose(correlate_pairs(codes[:, first], 3 * codes[:, order][:, second]), 1, atol=1e-5)


def test_unrelated_features_match_at_zero_on_held_out_images_though_not_where_they_were_matched():
    first, second = make_codes(2000, 60, active=4, seed=8), make_codes(2000, 60, active=4, seed=9)
    atoms = match_by_activation(first[:1000], second[:1000])
    seen = correlate_pairs(first[:1000, atoms[0]], second[:1000, atoms[1]])
    held_out = correlate_pairs(first[1000:, atoms[0]], second[1000:, atoms[1]])
    assert seen.mean() > 0.05
    assert abs(held_out.mean()) < 3 / np.sqrt(1000 * 60) + 0.005


def test_weights_of_pairs_follow_the_variance_of_their_codes():
    codes = make_codes(500, 4, active=2, seed=10) * np.array([10, 1, 1, 0], dtype=np.float32)
    weights = weigh_pairs(codes, codes, (np.arange(4), np.arange(4)))
    assert weights[0] > 0.9 and weights[3] == 0
    assert weights.sum() == pytest.approx(1)


def test_shuffled_images_never_meet_themselves():
    image = np.repeat(np.arange(9), [3, 1, 4, 2, 5, 2, 6, 1, 3])
    first, second = pair_shuffled_images(image, np.random.default_rng(0))
    assert len(first) == len(second) > 0
    assert not (image[first] == image[second]).any()
    assert set(image[first]) == set(range(9))


def test_a_feature_that_follows_a_latent_is_found_and_noise_is_not():
    rng = np.random.default_rng(11)
    latent, labels = rng.random(300), np.arange(300) % 2
    codes = rng.random((300, 40)).astype(np.float32)
    codes[:, 13] += 4 * latent
    label, size = measure_selectivity(
        codes, {"label": labels.astype(float), "size1": latent}, np.arange(300), np.random.default_rng(0)
    )
    assert size.feature == 13 and size.correlation > 0.9 > size.chance
    assert abs(label.correlation) < 1.25 * label.chance
    assert 0.12 < label.chance < 0.3, "best of 40 on 300 images, not the quantile of a single correlation (.11)"


def test_best_of_features_exceeds_its_null_at_the_nominal_rate():
    rng = np.random.default_rng(12)
    exceeded = []
    for _ in range(100):
        rows = measure_selectivity(
            rng.random((60, 15)), {"size1": rng.random(60)}, np.arange(60), rng, num_permutations=60
        )
        exceeded.append(abs(rows[0].correlation) > rows[0].chance)
    assert np.mean(exceeded) < 0.13


@pytest.fixture(scope="module")
def shared_world():
    """Meta and baseline made of the same codes in two bases; the untrained network of codes of its own."""
    num_images, side = 120, 4
    codes = make_codes(num_images * side * side, 24, active=2, seed=20)
    other = make_codes(num_images * side * side, 24, active=2, seed=21)
    layers = [
        {"conv1": make_map_layer("conv1", source @ make_atoms(24, 16, seed), num_images=num_images, side=side)}
        for source, seed in ((codes, 30), (codes, 31), (other, 32))
    ]
    stores = make_map_stores(*layers, num_images=num_images)
    return compare_dictionaries(stores, rng=np.random.default_rng(0))


def test_networks_with_the_same_features_are_matched_above_their_untrained_control(shared_world):
    layer = shared_world.study.layers[0]
    mean = {kind: np.mean([m.mean for m in layer.matching(kind)]) for kind in ("networks", "untrained", "shuffled")}
    assert mean["networks"] > 0.6
    assert abs(mean["untrained"]) < 0.1 and abs(mean["shuffled"]) < 0.1
    assert shared_world.findings[1].beyond_control
    assert "share more features with each other" in shared_world.findings[1].sentence


def test_sparse_worlds_pass_the_checks_that_they_were_made_to_pass(shared_world):
    verdicts = {check.code: check.verdict for check in shared_world.checks}
    assert verdicts["autoencoder.beats_gaussian"] == "pass"
    assert verdicts["autoencoder.frozen_decoder"] == "pass"
    assert verdicts["autoencoder.small_layer"] == "note"


def test_features_follow_no_latent_that_knows_nothing_of_them(shared_world):
    rows = shared_world.study.layers[0].selectivity
    assert {row.target for row in rows} == {"label", "size1", "x1"}, "the latent that is the label again is left out"
    assert np.mean([abs(row.correlation) > row.chance for row in rows]) < 0.4
