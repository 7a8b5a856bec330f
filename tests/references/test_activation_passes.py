"""One pass over the images against whole maps kept in memory and reduced afterwards."""

import numpy as np
import pytest
import torch
from activation_world import make_images, make_loader, make_network, make_stimuli
from torch.nn import functional

from meta_baseline.activations import collect_activations, collect_store
from meta_baseline.layers import list_layers

NETWORK = "meta"


def collect(model, images, batch_size=5, seed=0, **options):
    return collect_store(
        model,
        make_loader(images, batch_size),
        list_layers(model),
        network=NETWORK,
        stimuli=make_stimuli(len(images)),
        rng=np.random.default_rng(seed),
        **options,
    )


@pytest.fixture
def kept():
    """A network, images, and every map of it at the points that the next layer reads."""
    model, images = make_network(), make_images()
    inputs = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    model.eval()
    maps, values = {}, inputs
    with torch.no_grad():
        for name, module in model.named_children():
            values = module(values)
            maps[name] = values
    model.train()
    names = {"conv1": "pool1", "conv2": "pool2", "fc1": "fc_relu1", "classifier": "classifier"}
    return model, images, {role: maps[name] for role, name in names.items()}


def test_a_pass_leaves_the_means_grids_and_logits_of_the_whole_maps(kept):
    model, images, maps = kept
    store = collect(model, images)
    assert list(store.layers) == ["conv1", "conv2", "fc1", "classifier"]
    for role, layer in store.layers.items():
        expected = maps[role]
        assert layer.map_shape == tuple(expected.shape[1:])
        if expected.ndim == 4:
            pooled, grid = expected.mean((2, 3)), functional.adaptive_avg_pool2d(expected, 4).flatten(1)
        else:
            pooled = grid = expected
        assert layer.pooled == pytest.approx(pooled.numpy(), abs=1e-5)
        assert layer.grid == pytest.approx(grid.numpy(), abs=1e-5)
    assert store.logits == pytest.approx(maps["classifier"].numpy(), abs=1e-5)
    assert store.margin == pytest.approx(store.logits[:, 1] - store.logits[:, 0])


def test_channel_statistics_are_those_of_all_images_and_positions(kept):
    model, images, maps = kept
    for role, layer in collect(model, images).layers.items():
        channels = maps[role].double().movedim(1, -1).reshape(-1, layer.map_shape[0]).numpy()
        assert layer.channel_mean == pytest.approx(channels.mean(0), abs=1e-6)
        assert layer.channel_sd == pytest.approx(channels.std(0), rel=1e-5, abs=1e-6)
        assert layer.channel_zero_fraction == pytest.approx((channels == 0).mean(0))
        assert layer.channel_max == pytest.approx(channels.max(0), abs=1e-5)
        assert layer.channel_mean.dtype == np.float64


def test_sampled_positions_hold_the_channels_of_their_cell(kept):
    model, images, maps = kept
    store = collect(model, images)
    for role in ("conv1", "conv2"):
        layer = store.layers[role]
        expected = maps[role].numpy()[layer.position_image, :, layer.position_row, layer.position_column]
        assert layer.positions == pytest.approx(expected, abs=1e-5)
    fc1 = store.layers["fc1"]
    assert fc1.positions is fc1.pooled and (fc1.position_row == -1).all()


def test_nothing_depends_on_how_images_are_cut_into_batches(kept):
    model, images, _ = kept
    first, second = collect(model, images, batch_size=3), collect(model, images, batch_size=14)
    for role, layer in first.layers.items():
        other = second.layers[role]
        for name in ("position_image", "position_row", "position_column", "position_foreground"):
            assert (getattr(layer, name) == getattr(other, name)).all()
        for name in ("pooled", "grid", "positions", "channel_mean", "channel_sd", "channel_max"):
            assert getattr(layer, name) == pytest.approx(getattr(other, name), abs=1e-5)


def test_the_same_pass_gives_the_same_bytes(kept):
    model, images, _ = kept
    first, second = collect(model, images), collect(model, images)
    for role, layer in first.layers.items():
        for name in ("pooled", "grid", "positions", "position_row", "channel_sd"):
            assert getattr(layer, name).tobytes() == getattr(second.layers[role], name).tobytes()


def test_channel_statistics_do_not_cancel_under_a_large_mean():
    model = make_network(norm=False)
    with torch.no_grad():
        model.conv1.weight *= 1e-3
        model.conv1.bias.fill_(100.0)
    images = make_images()
    kept = collect_activations(model, make_loader(images), ["pool1"])["pool1"].double()
    layer = collect(model, images).layers["conv1"]
    assert layer.channel_sd == pytest.approx(kept.movedim(1, -1).reshape(-1, 6).std(0, correction=0).numpy(), rel=1e-4)


def test_maps_smaller_than_the_grid_keep_their_own_cells():
    model = make_network(norm=False)
    images = make_images(size=24)
    model.pool2 = torch.nn.MaxPool2d(4)
    model.fc1 = torch.nn.Linear(9 * 3 * 3, 12)
    store = collect(model, images)
    whole = collect_activations(model, make_loader(images), ["pool2"])["pool2"]
    assert store.layers["conv2"].grid == pytest.approx(whole.flatten(1).numpy())


def test_batch_statistics_networks_get_their_batches_whole():
    model = make_network()
    model.bn1 = torch.nn.BatchNorm2d(6, track_running_stats=False)
    images = make_images(num=40)
    whole = collect_activations(model, make_loader(images, 40), ["pool1"], reduce="pooled")["pool1"]
    store = collect(model, images, batch_size=40)
    assert store.layers["conv1"].pooled == pytest.approx(whole.numpy(), abs=1e-5)
    assert "depend on the batch size" in store.notes[0]
