"""What a pass over the images promises and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from activation_world import make_images, make_loader, make_network, make_stimuli
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from meta_baseline.activations import collect_activations, collect_store, recording
from meta_baseline.errors import InputError, UnknownLayerError, UsageError
from meta_baseline.layers import Layer, list_layers


def collect(model, loader, num, layers=None, seed=0):
    return collect_store(
        model,
        loader,
        layers or list_layers(model),
        network="meta",
        stimuli=make_stimuli(num),
        rng=np.random.default_rng(seed),
    )


def test_two_networks_are_sampled_at_the_same_positions_where_their_maps_have_one_size():
    images = make_images()
    first, second = (
        collect(make_network(seed, width=width), make_loader(images), 14) for seed, width in ((0, 6), (1, 4))
    )
    for role in ("conv1", "conv2"):
        for name in ("position_image", "position_row", "position_column"):
            assert (getattr(first.layers[role], name) == getattr(second.layers[role], name)).all()
    other = collect(make_network(), make_loader(images), 14, seed=1)
    assert (first.layers["conv1"].position_row[:20] != other.layers["conv1"].position_row[:20]).any()


def test_loaders_may_give_images_alone_with_labels_or_with_labels_and_index():
    model, images = make_network(), make_images()
    full = collect_activations(model, make_loader(images), ["conv1", "fc1"])
    pairs = collect_activations(model, [batch[:2] for batch in make_loader(images)], ["conv1", "fc1"])
    alone = collect_activations(model, [batch[0] for batch in make_loader(images)], ["conv1", "fc1"])
    data = DataLoader(TensorDataset(images, torch.zeros(14)), batch_size=4)
    loaded = collect_activations(model, data, ["conv1", "fc1"])
    for name in ("conv1", "fc1"):
        for other in (pairs, alone, loaded):
            assert torch.allclose(full[name], other[name], atol=1e-5)
    assert full["conv1"].shape == (14, 6, 24, 24)


def test_float_images_are_taken_as_they_are_and_uint8_through_the_preprocessing():
    model, images = make_network(), make_images()
    floats = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    as_uint8 = collect_activations(model, [images], ["conv1"])["conv1"]
    assert torch.allclose(as_uint8, collect_activations(model, [floats], ["conv1"])["conv1"], atol=1e-5)
    assert not torch.allclose(as_uint8, collect_activations(model, [floats * 2], ["conv1"])["conv1"], atol=1e-2)


@pytest.mark.parametrize(("reduce", "shape"), [("none", (14, 6, 12, 12)), ("pooled", (14, 6)), ("grid", (14, 96))])
def test_collected_maps_can_be_reduced(reduce, shape):
    model, images = make_network(), make_images()
    values = collect_activations(model, [images], ["pool1", "fc1"], reduce=reduce)
    assert values["pool1"].shape == shape
    assert values["fc1"].shape == (14, 12)


def test_collected_activations_can_be_trained_on():
    values = collect_activations(make_network(), [make_images()], ["fc1"])["fc1"]
    linear = nn.Linear(12, 1)
    linear(values).sum().backward()
    assert linear.weight.grad is not None


def test_a_loader_that_drops_its_last_batch_gives_fewer_rows():
    data = DataLoader(TensorDataset(make_images()), batch_size=4, drop_last=True)
    assert len(collect_activations(make_network(), data, ["fc1"])["fc1"]) == 12


def test_an_unknown_layer_is_refused_with_those_that_exist():
    with pytest.raises(UnknownLayerError, match=r"No layer 'conv9' in Sequential\. Layers: conv1, bn1, relu1, pool1"):
        collect_activations(make_network(), [make_images()], ["conv9"])
    with pytest.raises(UnknownLayerError), recording(make_network(), ["conv1", ""]):
        pass


def test_more_bytes_than_allowed_are_refused_before_they_are_collected():
    with pytest.raises(
        UsageError, match=r"2 layers over 14 images need 0\.0 GB, more than max_bytes = 0\.0 GB\. Use red"
    ):
        collect_activations(make_network(), [make_images()], ["conv1", "fc1"], max_bytes=10_000)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(UsageError, match=r"No reduction 'mean'\. Choose 'none', 'pooled' or 'grid'"):
        collect_activations(make_network(), [make_images()], ["conv1"], reduce="mean")


def test_hooks_are_gone_and_modes_restored_also_after_an_error():
    model = make_network()
    model.bn1.eval()
    modes = [module.training for module in model.modules()]
    collect(model, make_loader(make_images()), 14)
    with pytest.raises(UsageError):
        collect(model, make_loader(make_images()), 99)
    with recording(model, ["conv1"]) as outputs:
        model(torch.zeros(2, 3, 24, 24))
    assert outputs["conv1"].shape[0] == 2
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())


def test_a_pass_changes_no_weight_and_no_buffer():
    model = make_network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    collect(model, make_loader(make_images()), 14)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_loader_that_shuffles_is_refused():
    loader = make_loader(make_images())
    with pytest.raises(UsageError, match="does not give the 14 images of the stimuli once and in their order"):
        collect(make_network(), loader[::-1], 14)


def test_a_loader_that_ends_early_is_refused():
    with pytest.raises(UsageError, match="gave 10 of 14 images"):
        collect(make_network(), make_loader(make_images())[:2], 14)


def test_activations_that_are_not_finite_are_refused_naming_the_layer():
    model = make_network()
    with torch.no_grad():
        model.conv2.weight[0] = torch.inf
    with pytest.raises(InputError, match=r"Layer conv2 \(pool2\) gives values that are not finite"):
        collect(model, make_loader(make_images()), 14)


class _Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.unused = nn.Conv2d(4, 4, 3)
        self.classifier = nn.Linear(4, 2)

    def forward(self, images):
        return self.classifier(self.relu1(self.relu1(self.conv1(images))).mean((2, 3)))


def test_a_module_used_twice_per_image_is_refused():
    layers = [layer for layer in list_layers(_Shared()) if layer.role == "conv1"]
    with pytest.raises(UsageError, match="'relu1' runs more than once per image"):
        collect(_Shared(), make_loader(make_images()), 14, layers)


def test_a_module_that_forward_does_not_use_is_refused():
    layers = [layer for layer in list_layers(_Shared()) if layer.role == "conv2"]
    with pytest.raises(UsageError, match="'unused' of layer conv2 did not run for 14 of 14 images"):
        collect(_Shared(), make_loader(make_images()), 14, layers)
    with pytest.raises(UsageError, match="'unused' did not run"):
        collect_activations(_Shared(), [make_images()], ["unused"])


def test_an_output_that_is_no_map_is_refused():
    layer = Layer(role="conv1", name="0", kind="conv", norm=None, activation="0", pooled="0", shape=(1, 1))
    model = nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(3 * 24 * 24, 2))
    with pytest.raises(UsageError, match=r"'0' gives a tensor of shape \(5, 3, 576\); expected \[N, U\]"):
        collect(model, make_loader(make_images()), 14, [layer])


MEMORY = """
import resource, sys
import numpy as np, torch
sys.path.insert(0, "tests")
from activation_world import make_stimuli
from torch import nn
from meta_baseline.activations import collect_store
from meta_baseline.layers import list_layers
torch.set_num_threads(1)
head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)
model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *head)
image = torch.full((1, 64, 64, 3), 255, dtype=torch.uint8)
image[:, 20:30, 20:30] = 0
layers = list_layers(model)
layers[0].__dict__["pooled"] = "1"
peaks = []
for num in (64, 64, 640):
    loader = ((image.expand(16, -1, -1, -1), None) for _ in range(num // 16))
    store = collect_store(model, loader, layers, network="x", stimuli=make_stimuli(num), rng=np.random.default_rng(0))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(peaks[2] - peaks[1], store.num_bytes, 640 * 32 * 64 * 64 * 4)
"""


def test_peak_memory_beyond_the_returned_arrays_does_not_grow_with_the_number_of_images():
    ran = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    growth, returned, raw_maps = map(int, ran.stdout.split())
    assert growth < returned + 8e6 < raw_maps / 20
