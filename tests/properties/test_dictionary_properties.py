from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dictionary_worlds import make_sparse_world

from meta_baseline.dictionaries.fits import choose_options
from meta_baseline.dictionaries.selectivity import choose_targets, shuffle_groups
from meta_baseline.dictionaries.training import TrainingOptions
from meta_baseline.errors import UsageError
from meta_baseline.results import load_result, save_result
from meta_baseline.sparse_autoencoders import split_images, train_sparse_autoencoder


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    return torch.from_numpy(make_sparse_world(2000, num_channels=16, num_atoms=24, active=3, seed=0).samples) + 2


@pytest.fixture(scope="module")
def dictionary(samples):
    return train_sparse_autoencoder(samples, sparsity=4, num_steps=200, generator=torch.Generator().manual_seed(0))


def test_topk_has_exactly_k_active_atoms_where_k_scores_are_positive(dictionary, samples):
    codes = dictionary.encode(samples)
    scores = (samples - torch.from_numpy(dictionary.mean)) / dictionary.scale - torch.from_numpy(
        dictionary.decoder_bias
    )
    positive = (scores @ torch.from_numpy(dictionary.encoder).T + torch.from_numpy(dictionary.encoder_bias) > 0).sum(1)
    assert torch.equal((codes > 0).sum(dim=1), positive.clamp_max(4))
    assert (codes > 0).sum(dim=1).float().mean() == pytest.approx(4, abs=0.05)
    assert (codes >= 0).all()


def test_l1_comes_to_the_same_number_of_active_atoms(samples):
    trained = train_sparse_autoencoder(samples, sparsity=4, variant="l1", num_steps=800)
    assert trained.measure(samples).l0 == pytest.approx(4, rel=0.15)
    assert np.isfinite(trained.l1_coefficient)


def test_atoms_have_norm_one(dictionary):
    assert np.allclose(np.linalg.norm(dictionary.decoder, axis=1), 1, atol=1e-5)


def test_the_same_generator_gives_the_same_bytes_and_another_does_not(dictionary, samples):
    again = train_sparse_autoencoder(samples, sparsity=4, num_steps=200, generator=torch.Generator().manual_seed(0))
    other = train_sparse_autoencoder(samples, sparsity=4, num_steps=200, generator=torch.Generator().manual_seed(1))
    assert again.decoder.tobytes() == dictionary.decoder.tobytes()
    assert other.decoder.tobytes() != dictionary.decoder.tobytes()


def test_maps_are_taken_apart_into_positions(dictionary, samples):
    maps = samples[:1200].reshape(20, 6, 10, 16).permute(0, 3, 1, 2)
    assert torch.allclose(dictionary.encode(maps), dictionary.encode(samples[:1200]), atol=1e-6)


def test_order_of_channels_is_only_a_name(dictionary, samples):
    order = np.random.default_rng(0).permutation(16)
    names = ("encoder", "decoder", "mean", "decoder_bias")
    renamed = replace(dictionary, **{name: getattr(dictionary, name)[..., order].copy() for name in names})
    assert torch.allclose(renamed.encode(samples[:, order]), dictionary.encode(samples), atol=1e-4)
    assert renamed.measure(samples[:, order]).fve == pytest.approx(dictionary.measure(samples).fve, abs=1e-5)


def test_order_of_channels_matters_to_a_dictionary_that_was_not_renamed(dictionary, samples):
    assert dictionary.measure(samples.flip(1)).fve < dictionary.measure(samples).fve - 0.3


def test_scale_and_offset_of_the_activations_change_nothing(dictionary, samples):
    moved = train_sparse_autoencoder(
        100 * samples - 50, sparsity=4, num_steps=200, generator=torch.Generator().manual_seed(0)
    )
    assert moved.measure(100 * samples - 50).fve == pytest.approx(dictionary.measure(samples).fve, abs=0.01)


def test_a_dictionary_survives_the_disk(dictionary, samples, tmp_path):
    save_result(dictionary, tmp_path)
    again = load_result(tmp_path)
    assert torch.equal(again.encode(samples), dictionary.encode(samples))


def test_constant_activations_give_a_dictionary_without_numbers_and_no_warning():
    constant = torch.full((200, 6), 0.1)
    trained = train_sparse_autoencoder(constant, num_steps=20)
    found = trained.measure(constant)
    assert np.isnan(found.fve)
    assert torch.allclose(trained.decode(trained.encode(constant)), constant, atol=1e-2)


def test_a_mapping_of_layers_gives_a_dictionary_each(samples):
    trained = train_sparse_autoencoder({"conv1": samples, "fc1": samples[:, :8]}, num_steps=20)
    assert [len(trained[layer].mean) for layer in ("conv1", "fc1")] == [16, 8]


def test_training_leaves_gradients_on_and_the_activations_alone(samples):
    before = samples.clone()
    train_sparse_autoencoder(samples, num_steps=10)
    assert torch.is_grad_enabled() and torch.equal(samples, before)


@pytest.mark.parametrize("num_groups", [2, 7, 60])
def test_no_identity_is_on_both_sides_of_the_split(num_groups):
    groups = np.random.default_rng(0).integers(0, num_groups, 400)
    train = split_images(groups, np.random.default_rng(1))
    assert not set(groups[train]) & set(groups[~train])
    assert train.any() and (~train).any()
    if num_groups == 60:
        assert 0.2 < (~train).mean() < 0.3


def test_a_single_identity_is_split_by_image():
    train = split_images(np.zeros(100, dtype=int), np.random.default_rng(0))
    assert (~train).sum() == 25


def test_groups_are_shuffled_whole():
    groups = np.repeat(np.arange(10), 3)
    taken = groups[shuffle_groups(groups, np.random.default_rng(0))].reshape(10, 3)
    assert (taken == taken[:, :1]).all()
    assert sorted(taken[:, 0]) == list(range(10))
    assert sorted(shuffle_groups(np.arange(50), np.random.default_rng(0))) == list(range(50))


def test_labels_that_lie_class_by_class_in_every_group_move_under_the_null():
    groups, labels = np.repeat(np.arange(50), 20), np.tile(np.arange(20) % 2, 50)
    agreement = (labels[shuffle_groups(groups, np.random.default_rng(0))] == labels).mean()
    assert 0.4 < agreement < 0.6


def test_targets_leave_out_what_is_constant_missing_an_identity_or_the_label_again():
    import pandas as pd

    labels = np.arange(8) % 2
    latents = pd.DataFrame(
        {"same": 1 - labels, "identity": np.arange(8), "flat": 3.0, "gap": [np.nan, *range(7)], "x1": np.arange(8.0)}
    )
    assert list(choose_targets(labels, latents)) == ["label", "x1"]


@pytest.mark.parametrize(("channels", "samples"), [(6, 18000), (18, 18000), (576, 6700), (1024, 750), (16, 40), (4, 9)])
def test_chosen_sizes_leave_ten_samples_to_an_atom_where_there_are_eighty(channels, samples):
    options = choose_options(channels, samples)
    assert samples < 80 or options.num_atoms * 10 <= samples
    assert 1 <= options.sparsity < options.num_atoms
    assert 100 <= options.num_steps <= 500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "jump"}, "No variant 'jump'.*'topk' or 'l1'"),
        ({"sparsity": 30, "num_atoms": 20}, "30 active atoms of 20"),
        ({"num_steps": 0}, "0 steps of"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_the_numbers(options, message):
    with pytest.raises(UsageError, match=message):
        TrainingOptions(**{"num_atoms": 20, "sparsity": 3, **options})


def test_activations_that_cannot_be_used_are_refused(dictionary):
    with pytest.raises(UsageError, match=r"shape \(3, 4, 5\).*\[M, C\]"):
        train_sparse_autoencoder(torch.zeros(3, 4, 5))
    with pytest.raises(UsageError, match="not finite"):
        train_sparse_autoencoder(torch.full((20, 4), float("nan")))
    with pytest.raises(UsageError, match="trained on 16 channels, found 7"):
        dictionary.encode(torch.zeros(3, 7))
