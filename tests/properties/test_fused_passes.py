"""A pass that fuses convolution, batch norm, non-linearity and pool gives what the network gives."""

import numpy as np
import pytest
import torch
from activation_world import make_images, make_loader, make_stimuli

from meta_baseline.activations import collect_activations, collect_store
from meta_baseline.activations.fusing import _halve_rectified, _is_halving, fusing
from meta_baseline.layers import list_layers
from meta_baseline.models import architecture_of, build_network


def make_convnet(**options):
    model = build_network(architecture_of("stack4", image_size=32, **options), torch.Generator().manual_seed(1)).eval()
    generator = torch.Generator().manual_seed(2)
    for value in model.buffers():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".weight" in name and name.startswith("bn"):
                value.copy_(torch.randn(value.shape, generator=generator))  # negative ones too: no monotone pool
            elif ".bias" in name and name.startswith("bn"):
                value.copy_(torch.randn(value.shape, generator=generator))
    return model


@pytest.mark.parametrize("options", [{"head": "meta"}, {"head": "baseline"}, {"head": "meta", "norm": "group"}])
def test_a_fused_pass_gives_the_values_of_the_network_as_it_stands(options):
    model, images = make_convnet(**options), make_images(size=32)
    layers = list_layers(model)
    whole = collect_activations(model, [images], [layer.pooled for layer in layers])
    store = collect_store(
        model, make_loader(images), layers, network="meta", stimuli=make_stimuli(14), rng=np.random.default_rng(0)
    )
    for layer in layers:
        own, values = store.layers[layer.role], whole[layer.pooled]
        pooled = values.mean((2, 3)) if values.ndim == 4 else values
        assert own.pooled == pytest.approx(pooled.numpy(), abs=2e-5 * float(values.abs().max()))
    with torch.no_grad():
        logits = model(model.preprocessing(images))
    assert store.logits == pytest.approx(logits.numpy(), abs=2e-5 * float(logits.abs().max()))


def test_weights_modules_and_forwards_are_as_they_were_also_after_an_error():
    model = make_convnet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(inputs)
    with pytest.raises(ZeroDivisionError), fusing(model, {"pool1"}):
        assert "forward" in vars(model.conv1)
        raise ZeroDivisionError
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(inputs), logits)


def test_a_stage_whose_inside_is_looked_at_is_left_alone():
    model = make_convnet()
    handle = model.relu2.register_forward_hook(lambda module, inputs, output: None)
    with fusing(model, {"bn1", "pool3"}):
        fused = {name for name, module in model.named_modules() if "forward" in vars(module)}
    handle.remove()
    assert fused == {f"{stage}{i}" for stage in ("conv", "bn", "relu", "pool") for i in (3, 4)}


def test_networks_of_others_and_those_that_normalise_by_each_batch_run_as_they_are():
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    with fusing(other, set()):
        assert not any("forward" in vars(module) for module in other.modules())
    model = build_network(architecture_of("stack4", image_size=32, running_statistics=False)).eval()
    with fusing(model, set()):
        assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 5), (33, 16)])
def test_halving_in_two_steps_is_the_rectified_pool(padding, size):
    maps = torch.randn(3, 5, *size, generator=torch.Generator().manual_seed(0))
    pool = torch.nn.MaxPool2d(2, 2, padding)
    assert _is_halving(pool) and not _is_halving(torch.nn.MaxPool2d(3, 2, 1))
    tiny = torch.randn(2, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    assert padding == 0 or torch.equal(_halve_rectified(tiny, 1), pool(tiny).relu())
    assert torch.equal(_halve_rectified(maps.to(memory_format=torch.channels_last), padding), pool(maps).relu())
