from __future__ import annotations

import numpy as np
import pytest
import torch
from dictionary_worlds import make_map_layer, make_sparse_world
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score, roc_auc_score

from meta_baseline.dictionaries.autoencoder import activate
from meta_baseline.dictionaries.features import (
    cut_patch,
    find_top_places,
    make_gallery,
    measure_variance_lost,
    resample_square,
)
from meta_baseline.dictionaries.fidelity import (
    bootstrap_fve,
    draw_image_weights,
    explained,
    measure_fidelity,
    principal_axes,
    reconstruct_by_pca,
    squared_distances,
)
from meta_baseline.dictionaries.gradients import Parameters, add_auxiliary, differentiate, pass_through
from meta_baseline.dictionaries.matching import max_per_image
from meta_baseline.dictionaries.selectivity import measure_selectivity
from meta_baseline.sparse_autoencoders import train_sparse_autoencoder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def random_parameters(num_atoms: int, num_channels: int) -> Parameters:
    generator = torch.Generator().manual_seed(1)
    shapes = {"encoder": (num_atoms, num_channels), "encoder_bias": (num_atoms,)}
    shapes |= {"decoder": (num_atoms, num_channels), "decoder_bias": (num_channels,)}
    return Parameters(**{name: torch.randn(shape, generator=generator).double() for name, shape in shapes.items()})


def reference_loss(batch, parameters: Parameters, variant: str, k: int, penalty: float, dead, weight: float):
    """The loss as the papers write it, for autograd."""
    e, e_bias, d, d_bias = parameters.all()
    scores = (batch - d_bias) @ e.T + e_bias
    mask = scores > 0
    if variant == "topk":
        mask &= torch.zeros_like(mask).scatter(1, scores.topk(k, dim=1).indices, True)
    codes = scores * mask
    residual = batch - (codes @ d + d_bias)
    loss = residual.square().mean() + penalty * codes.sum(dim=1).mean()
    if len(dead):
        dead_scores = scores[:, dead]
        kept = torch.zeros_like(dead_scores, dtype=torch.bool)
        kept.scatter_(1, dead_scores.topk(min(k, len(dead)), dim=1).indices, True)
        rebuilt = (dead_scores * kept * (dead_scores > 0)) @ d[dead]
        left = residual.detach()
        loss = loss + weight * (left - rebuilt).square().mean() / left.square().mean()
    return loss


@pytest.mark.parametrize(("variant", "penalty", "dead"), [("topk", 0.0, []), ("topk", 0.0, [0, 3, 7]), ("l1", 0.3, [])])
def test_gradients_in_closed_form_are_those_of_autograd(variant, penalty, dead):
    parameters = random_parameters(9, 5)
    batch = torch.randn(40, 5, generator=torch.Generator().manual_seed(2)).double()
    dead = torch.tensor(dead, dtype=torch.int64)
    passed = pass_through(batch, parameters, variant, 3)
    gradient = differentiate(passed, parameters, penalty)
    if len(dead):
        add_auxiliary(gradient, passed, parameters, dead, sparsity=3, weight=0.25)
    tracked = Parameters(
        **{name: value.clone().requires_grad_() for name, value in vars(parameters).items()},
    )
    reference_loss(batch, tracked, variant, 3, penalty, dead, 0.25).backward()
    for found, wanted in zip(gradient.all(), tracked.all()):
        assert torch.allclose(found, wanted.grad, atol=1e-12)


def test_topk_keeps_the_k_largest_positive_scores_of_a_sort(rng):
    scores = rng.standard_normal((200, 30)).astype(np.float32) - 0.8
    expected = np.zeros_like(scores)
    for row, values in enumerate(scores):
        for atom in sorted(range(30), key=lambda a: -values[a])[:6]:
            expected[row, atom] = max(values[atom], 0)
    assert np.array_equal(activate(torch.from_numpy(scores), "topk", 6).numpy(), expected)


def test_variance_explained_is_the_variance_weighted_r2_of_scikit_learn(rng):
    samples, rebuilt = rng.standard_normal((2, 300, 7))
    rebuilt = samples + 0.3 * rebuilt
    found = measure_fidelity(samples, rebuilt, np.ones((300, 2)))
    assert found.fve == pytest.approx(r2_score(samples, rebuilt, multioutput="variance_weighted"), abs=1e-9)
    assert found.fve_foreground == found.fve
    inked = np.arange(300) % 3 == 0
    part = measure_fidelity(samples, rebuilt, np.ones((300, 2)), foreground=inked).fve_foreground
    assert part == pytest.approx(r2_score(samples[inked], rebuilt[inked], multioutput="variance_weighted"), abs=1e-9)


def test_principal_components_are_those_of_scikit_learn(rng):
    samples = (rng.standard_normal((500, 8)) @ rng.standard_normal((8, 8)) + 5).astype(np.float32)
    mean = samples[:400].mean(axis=0)
    by_us = reconstruct_by_pca(samples[400:], axes=principal_axes(samples[:400]), mean=mean, num_components=3)
    peer = PCA(n_components=3).fit(samples[:400])
    assert np.allclose(by_us, peer.inverse_transform(peer.transform(samples[400:])), atol=1e-3)


def test_resampling_every_image_once_gives_the_plain_value(rng):
    samples = rng.standard_normal((90, 5)).astype(np.float32)
    errors = squared_distances(samples, samples + 0.2)
    image = np.repeat(np.arange(30), 3)
    plain = bootstrap_fve(errors, samples, image, np.ones((1, 30)))
    assert plain[0] == pytest.approx(explained(errors, samples))
    weights = draw_image_weights(30, 200, rng)
    assert np.array_equal(weights.sum(axis=1), np.full(200, 30))
    assert bootstrap_fve(errors, samples, image, weights).std() > 0


def test_variance_lost_is_what_leaving_the_atom_out_costs():
    world = make_sparse_world(800, num_channels=12, num_atoms=16, active=3, seed=1)
    samples = torch.from_numpy(world.samples)
    dictionary = train_sparse_autoencoder(samples, num_atoms=16, sparsity=3, num_steps=150)
    codes = dictionary.encode(samples)
    residual = world.samples - dictionary.decode(codes).numpy()
    lost = measure_variance_lost(world.samples, residual, codes.numpy(), dictionary.scale * dictionary.decoder)
    whole = dictionary.measure(samples).fve
    for atom in range(0, 16, 3):
        without = codes.clone()
        without[:, atom] = 0
        rebuilt = dictionary.decode(without).numpy()
        assert lost[atom] == pytest.approx(
            whole - measure_fidelity(world.samples, rebuilt, codes.numpy()).fve, abs=1e-4
        )


def test_selectivity_is_spearmans_and_its_auc_that_of_scikit_learn(rng):
    codes, labels, latent = rng.random((80, 6)).round(1), np.arange(80) % 2, rng.random(80)
    label, size = measure_selectivity(
        codes, {"label": labels.astype(float), "size1": latent}, np.arange(80), rng, num_permutations=10
    )
    each = [spearmanr(codes[:, a], latent).statistic for a in range(6)]
    assert size.feature == int(np.argmax(np.abs(each)))
    assert size.correlation == pytest.approx(each[size.feature])
    assert label.auc == pytest.approx(roc_auc_score(labels, codes[:, label.feature]))


def test_largest_code_per_image_is_that_of_a_loop(rng):
    image = np.sort(rng.integers(0, 12, 60))
    image = image[image != 5]
    codes = rng.random((len(image), 4))
    found = max_per_image(codes, image, 12)
    for n in range(12):
        assert np.array_equal(found[n], codes[image == n].max(axis=0) if (image == n).any() else np.zeros(4))


def test_top_places_are_the_largest_of_each_image_in_falling_order():
    codes, image = np.array([3.0, 9, 1, 8, 0, 2]), np.array([0, 0, 1, 1, 2, 3])
    assert find_top_places(codes, image, 8).tolist() == [1, 3, 5]


def test_a_patch_shows_the_cell_that_it_was_cut_around():
    image = np.full((128, 128), 255, dtype=np.uint8)
    image[40:44, 72:76] = 0
    patch = cut_patch(image, 10, 18, map_shape=(4, 32, 32), crop_size=40)
    row, column = np.argwhere(patch < 128).mean(axis=0)
    assert abs(row - 19.5) < 1 and abs(column - 19.5) < 1
    corner = cut_patch(image, 0, 0, map_shape=(4, 32, 32), crop_size=40)
    assert (corner == 255).all()


def test_a_shrunken_thin_line_keeps_its_darkness_and_white_stays_white(rng):
    image = np.full((120, 120), 255, dtype=np.uint8)
    image[:, 61] = 0
    assert resample_square(image, 40).min() == 0
    assert (resample_square(np.full((120, 120), 255, dtype=np.uint8), 40) == 255).all()
    assert np.array_equal(resample_square(image, 120), image)


def test_a_gallery_shows_held_out_images_only_each_once_in_a_row():
    num_images, side = 40, 4
    world = make_sparse_world(num_images * side * side, num_channels=8, num_atoms=10, active=2, seed=2)
    layer = make_map_layer("conv1", world.samples, num_images=num_images, side=side)
    dictionary = train_sparse_autoencoder(torch.from_numpy(world.samples), num_steps=100)
    held_out = np.arange(num_images) % 2 == 1
    gallery = make_gallery(
        layer,
        dictionary,
        dictionary.encode(torch.from_numpy(world.samples)).numpy(),
        images=np.full((num_images, 64, 64), 255, dtype=np.uint8),
        from_images=held_out,
        rng=np.random.default_rng(0),
        network="meta",
    )
    shown = gallery.image[gallery.image >= 0]
    assert held_out[shown].all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in gallery.image)
    assert (np.diff(gallery.variance_lost) <= 0).all() and (np.diff(gallery.activation, axis=1) <= 1e-6).all()
