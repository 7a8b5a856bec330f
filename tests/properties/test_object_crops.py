"""Averages of maps over the boxes of known objects."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from activation_world import make_loader, make_stimuli
from torch import nn

from meta_baseline.activations import collect_store
from meta_baseline.activations.objects import read_boxes, weigh_cells
from meta_baseline.layers import list_layers
from meta_baseline.stimuli import generate_dataset


def test_boxes_are_fractions_of_the_image_and_stop_at_the_first_unknown_object():
    latents = pd.DataFrame({"x1": [32.0], "y1": [16.0], "width1": [16.0], "height1": [8.0], "x2": [1.0]})
    assert read_boxes(latents, (64, 128)) == pytest.approx(np.array([[[12 / 64, 20 / 64, 24 / 128, 40 / 128]]]))
    assert read_boxes(latents[["x2"]], (64, 128)).shape == (1, 0, 4)


def test_the_weights_of_cells_are_shares_of_the_box():
    box = np.array([[[0.25, 0.75, 0.0, 0.5]], [[0.4, 0.45, 0.9, 1.3]], [[np.nan] * 4]])
    weights = weigh_cells(box, 4, 2)
    assert weights[0, 0] == pytest.approx([0, 0, 0.5, 0, 0.5, 0, 0, 0])
    assert weights[1, 0] == pytest.approx([0, 0, 0, 1, 0, 0, 0, 0])
    assert np.isnan(weights[2]).all()


class _Ink(nn.Module):
    """One channel of ink, averaged over 4 x 4 px, and one of paper."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu1, self.classifier = nn.Conv2d(3, 2, 4, stride=4), nn.ReLU(), nn.Linear(2, 2)
        with torch.no_grad():
            self.conv1.weight[0], self.conv1.weight[1] = -1 / 96, 1 / 96
            self.conv1.bias.fill_(0.5)

    def forward(self, images):
        return self.classifier(self.relu1(self.conv1(images)).mean((2, 3)))


def test_the_boxes_of_drawn_objects_hold_their_ink():
    images, labels, latents = generate_dataset("irregular", num_images=20, seed=0)
    colour = torch.from_numpy(np.repeat(images[..., None], 3, axis=3))
    stimuli = dataclasses.replace(make_stimuli(20), labels=labels, latents=latents, image_shape=(128, 128))
    model = _Ink()
    store = collect_store(
        model, make_loader(colour), list_layers(model), network="x", stimuli=stimuli, rng=np.random.default_rng(0)
    )
    layer = store.layers["conv1"]
    assert layer.objects.shape == (20, 2, 2) and np.isfinite(layer.objects).all()
    ink = layer.objects[:, :, 0]
    assert (ink > 3 * layer.pooled[:, None, 0]).all()
    sizes = latents[["width1", "width2"]].to_numpy() * latents[["height1", "height2"]].to_numpy()
    share = (ink * sizes).sum(axis=1) / (layer.pooled[:, 0] * 128**2)
    assert share.min() > 0.55 and share.max() < 1.1  # cells at the edge lie in the box in part
    moved = dataclasses.replace(stimuli, latents=latents.assign(x1=128 - latents["x1"], y1=128 - latents["y1"]))
    elsewhere = collect_store(
        model, make_loader(colour), list_layers(model), network="x", stimuli=moved, rng=np.random.default_rng(0)
    )
    assert elsewhere.layers["conv1"].objects[:, 0, 0].mean() < 0.6 * ink[:, 0].mean()
    assert store.layers["classifier"].objects.shape == (20, 0, 2)
