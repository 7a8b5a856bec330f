"""Wrong layers, wrong images and wrong loaders, each refused in one line; networks and layers of others, taken."""

import numpy as np
import pytest
import torch
from activation_world import make_images, make_loader, make_network, make_stimuli, make_stores
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from meta_baseline import similarity
from meta_baseline.activation_analysis import compare_activations
from meta_baseline.activations import collect_activations, collect_grams, collect_store
from meta_baseline.errors import InputError, UnknownLayerError, UsageError
from meta_baseline.layers import list_layers


class _Foreign(nn.Module):
    """A transformer-like network: no convolution of ours, outputs [N, T, U]."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.out = nn.ModuleDict({"head": nn.Linear(16, 5)})

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.out["head"](self.block(tokens).mean(1))


def test_any_layer_of_any_network_can_be_compared():
    images = make_images(20)
    names = ["patches", "block", "block.linear1", "out.head"]
    loader = DataLoader(TensorDataset(images), batch_size=6)
    grams = collect_grams(_Foreign(), loader, names)
    kept = collect_activations(_Foreign(), loader, names)
    assert kept["block.linear1"].shape == (20, 9, 32)
    for name in names:
        expected = similarity.gram_matrix(kept[name].flatten(1).numpy())
        assert grams[name] == pytest.approx(expected, abs=1e-9 * np.abs(expected).max())
    ours = collect_grams(make_network(), loader, ["pool1", "fc1"])
    table = similarity.cka_matrix(list(grams.values()), list(ours.values()))
    assert table.shape == (4, 2) and np.isfinite(table).all()


@pytest.mark.parametrize("collect", [collect_activations, collect_grams])
def test_an_unknown_layer_is_refused_with_those_that_exist(collect):
    line = r"No layer 'block3' in _Foreign\. Layers: patches, block, block\.self_attn, .*out\.head\."
    with pytest.raises(UnknownLayerError, match=line):
        collect(_Foreign(), [make_images()], ["patches", "block3"])


@pytest.mark.parametrize("collect", [collect_activations, collect_grams])
def test_values_that_are_not_finite_are_refused_naming_layer_and_images(collect):
    model = make_network()
    with torch.no_grad():
        model.conv2.weight[0] = torch.nan
    line = r"Layer 'conv2' gives values that are not finite for images 1 to 5\. The checkpoint is damaged"
    with pytest.raises(InputError, match=line):
        collect(model, make_loader(make_images()), ["conv1", "conv2"])


@pytest.mark.parametrize("collect", [collect_activations, collect_grams])
def test_images_of_two_sizes_are_refused_naming_the_first_that_differs(collect):
    batches = [make_images(5), make_images(3, size=32)]
    line = r"Layer 'conv1' gives values of shape \(6, 32, 32\) for image 6 and of \(6, 24, 24\) before\. Give images"
    with pytest.raises(InputError, match=line):
        collect(make_network()[:3], batches, ["conv1"])


class _Pooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.relu1, self.classifier = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, images):
        return self.classifier(self.relu1(self.conv1(images)).mean((2, 3)))


def test_images_of_two_sizes_are_refused_in_the_pass_of_a_study():
    model = _Pooling()
    batches = [
        (make_images(5), None, torch.arange(5)),
        (make_images(3, size=32), None, torch.arange(5, 8)),
    ]
    with pytest.raises(InputError, match=r"Layer conv1 \(.*\) gives values of shape .* for image 6 and of .* before"):
        collect_store(
            model, batches, list_layers(model), network="x", stimuli=make_stimuli(8), rng=np.random.default_rng(0)
        )


@pytest.mark.parametrize("collect", [collect_activations, collect_grams])
def test_a_loader_that_shuffles_between_passes_is_refused(collect):
    loader = DataLoader(TensorDataset(make_images()), batch_size=4, shuffle=True)
    line = r"The loader shuffles, so two networks would see .* Build it with shuffle=False"
    with pytest.raises(UsageError, match=line):
        collect(make_network(), loader, ["conv1"])
    with pytest.raises(UsageError, match=line):  # nobody says so, but the indices of the images do
        collect(make_network(), make_loader(make_images())[::-1], ["conv1"])


def test_more_matrices_than_memory_are_refused_before_the_pass():
    line = (
        r"Gram matrices of 2 layers over 14 images need 0\.0 GB, more than max_memory = 0\.0 GB\. Use fewer images, or"
    )
    with pytest.raises(UsageError, match=line):
        collect_grams(make_network(), [make_images()], ["conv1", "fc1"], max_memory=1000)


def test_fewer_images_than_similarity_needs_are_refused_and_constant_layers_are_nan_in_the_analysis():
    rng = np.random.default_rng(0)

    def world(num):
        return make_stores(
            {"fc1": np.full((num, 6), 2.5), "fc2": rng.normal(size=(num, 5))},
            {"fc1": rng.normal(size=(num, 4)), "fc2": rng.normal(size=(num, 5))},
            [{"fc1": rng.normal(size=(num, 4)), "fc2": rng.normal(size=(num, 5))} for _ in range(3)],
            labels=np.arange(num) % 2,
            pixels=rng.random((num, 9)),
        )

    with pytest.raises(UsageError, match=r"Similarity of layers needs at least 4 images; found 3\. Use more images"):
        compare_activations(world(3), rng=rng)
    result = compare_activations(world(40), rng=rng)
    constant, other = result.facts.matched
    assert np.isnan(constant.cka) and np.isnan(constant.procrustes) and constant.verdict == "unknown"
    assert np.isfinite(other.cka)
