"""Gram matrices of whole layers against all activations kept in float64, and the trap of a large mean."""

import copy

import numpy as np
import pytest
import torch
from activation_world import make_images, make_loader, make_network, make_stimuli
from torch import nn

from meta_baseline import similarity
from meta_baseline.activations import collect_activations, collect_grams, collect_store, recording
from meta_baseline.layers import list_layers

LAYERS = ["conv1", "relu1", "pool2", "fc1", "classifier"]


def collect(model, images, **options):
    return collect_store(
        model,
        make_loader(images),
        list_layers(model),
        network="meta",
        stimuli=make_stimuli(len(images)),
        rng=np.random.default_rng(0),
        **options,
    )


@pytest.mark.parametrize("max_memory", [2 * 1024**3, 60_000, 5 * 14 * 14 * 8])
def test_grams_are_those_of_all_activations_kept_also_when_maps_are_spilled(max_memory):
    model, images = make_network(), make_images()
    kept = collect_activations(model, make_loader(images), LAYERS)
    grams = collect_grams(model, make_loader(images), LAYERS, max_memory=max_memory)
    assert list(grams) == LAYERS
    for name in LAYERS:
        features = kept[name].flatten(1).double().numpy()
        centred = features - features.mean(0)
        expected = centred @ centred.T
        assert grams[name].dtype == np.float64
        assert grams[name] == pytest.approx(expected, abs=1e-12 * np.abs(features).max() ** 2 * features.shape[1])


@pytest.mark.parametrize("max_memory", [2 * 1024**3, 0])
def test_a_pass_makes_the_grams_of_evenly_spread_images(max_memory):
    model, images = make_network(), make_images()
    store = collect(model, images, gram_images=6, max_memory=max_memory)
    assert store.gram_rows.tolist() == [0, 3, 5, 8, 10, 13]
    expected = collect_grams(model, [images[store.gram_rows]], ["pool1", "pool2", "fc_relu1", "classifier"])
    for layer in store.layers.values():
        assert layer.gram == pytest.approx(expected[layer.name], rel=1e-4, abs=1e-4 * np.abs(layer.gram).max())
    assert collect(model, images).layers["conv1"].gram.shape == (0, 0)


class _Offset(nn.Module):
    """A network of somebody else whose maps have a mean of a thousand times their sd."""

    def __init__(self, seed, offset):
        super().__init__()
        torch.manual_seed(seed)
        self.stem, self.act, self.head = nn.Conv2d(3, 8, 3), nn.Identity(), nn.Linear(8, 2)
        self.offset = offset

    def forward(self, images):
        maps = self.stem(images)
        return self.head(self.act(maps * 1.5 + self.offset).mean((2, 3)))


def test_activations_with_a_mean_of_a_thousand_sd_give_the_similarity_of_float64():
    images = (
        torch.randn(60, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        * torch.linspace(0.3, 2, 60)[:, None, None, None]
    )
    found, wanted = {}, {}
    for name, model in (("first", _Offset(0, 1000.0)), ("second", _Offset(1, 1000.0))):
        maps = collect_activations(model, [images], ["act"])["act"]
        assert 700 < float(maps.mean() / maps.std()) < 1400 and maps.dtype == torch.float32
        found[name] = collect_grams(model, images.split(7), ["act"], max_memory=30_000)["act"]
        own = maps.double().flatten(1).numpy()
        wanted[name] = (own - own.mean(0)) @ (own - own.mean(0)).T
    for measure in (similarity.debiased_cka, similarity.biased_cka, similarity.procrustes_distance, similarity.rbf_cka):
        assert measure(found["first"], found["second"]) == pytest.approx(
            measure(wanted["first"], wanted["second"]), abs=1e-5
        )
    naive = [collect_activations(_Offset(seed, 1000.0), [images], ["act"])["act"].flatten(1) for seed in (0, 1)]
    grams = [similarity.centre_unbiased((own @ own.T).double().numpy()) for own in naive]  # products before centring
    cosine = np.vdot(*grams) / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])
    assert abs(cosine - similarity.debiased_cka(wanted["first"], wanted["second"])) > 1e-5


def test_the_pass_of_a_study_keeps_the_similarity_of_float64_under_a_mean_of_a_thousand_sd():
    stores, wanted = [], []
    images = make_images(40)
    for seed in (0, 1):
        model = make_network(seed, norm=False)
        with torch.no_grad():
            plain = collect_activations(model, make_loader(images), ["conv1"])["conv1"]
            model.conv1.bias += 1000 * plain.std()
        store = collect(model, images, gram_images=40).layers["conv1"]
        assert float((store.channel_mean / store.channel_sd).min()) > 300
        exact = copy.deepcopy(model).double()
        pooled = collect_activations(exact, make_loader(_scaled(images)), ["pool1"])
        features = pooled["pool1"].flatten(1).numpy()
        wanted.append(similarity.gram_matrix(features))
        stores.append(store)
    whole = similarity.debiased_cka(stores[0].gram, stores[1].gram)
    assert whole == pytest.approx(similarity.debiased_cka(*wanted), abs=1e-5)


def test_cka_of_two_networks_can_be_added_up_over_batches_without_any_matrix_of_all_images():
    images = torch.randn(96, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    first, second, total = make_network(0).eval(), make_network(1).eval(), similarity.MinibatchCKA()
    with torch.no_grad(), recording(first, LAYERS) as mine, recording(second, LAYERS) as others:
        for batch in images.split(48):
            first(batch)
            second(batch)
            total.update(*([own[name].flatten(1).numpy() for name in LAYERS] for own in (mine, others)))
    grams = [collect_grams(model, [images], LAYERS) for model in (first, second)]
    exact = similarity.cka_matrix(*(list(own.values()) for own in grams))
    assert total.result() == pytest.approx(exact, abs=0.1)


def _scaled(images):
    return images.permute(0, 3, 1, 2).double() / 127.5 - 1
