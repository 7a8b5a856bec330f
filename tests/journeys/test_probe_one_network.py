"""The original script call: one network, a loader, layer names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from meta_baseline.errors import UnknownLayerError, UsageError
from meta_baseline.figures.probes import FIGURES
from meta_baseline.probes.mlp import MlpOptions
from meta_baseline.probing import ProbeOptions, probe_layer_representations
from meta_baseline.tables.probes import tabulate_probes

QUICK = ProbeOptions(num_permutations=9, workers=1, mlp=MlpOptions(num_components=(8,), num_steps=20))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = {
        "conv1": nn.Conv2d(1, 6, 3),
        "relu1": nn.ReLU(),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(6 * 14 * 14, 5),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Bright bars that stand (class 1) or lie (class 0)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 2
    pictures = 0.3 * torch.randn(120, 1, 16, 16, generator=generator)
    for picture, label, place in zip(pictures, labels, torch.randint(2, 14, (120,), generator=generator)):
        picture[0, :, place] += float(label)
        picture[0, place, :] += 1.0 - float(label)
    return pictures, labels


def test_labels_come_from_the_loader_and_fit_the_images_even_when_it_shuffles(network, images):
    shuffled = DataLoader(
        TensorDataset(*images), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(1)
    )
    result = probe_layer_representations(network, shuffled, ["relu1", "fc1"], options=QUICK)
    assert result.networks == ("model",) and result.layers == ("relu1", "fc1")
    assert result.scores.score[0, 0, 0] > 0.9
    assert {check.code: check.verdict for check in result.checks}["probe.untrained"] == "warn"
    names = {estimate.name for estimate in result.estimates}
    assert {name for finding in result.findings for name in finding.estimates} <= names
    drawn = {spec.slug: spec.draw(result) for spec in FIGURES}
    assert drawn["label"] is not None and drawn["latents"] is None
    assert set(tabulate_probes(result)) == {"label"}


def test_labels_groups_and_latents_can_be_passed(network, images):
    pictures, labels = images
    loader = DataLoader(TensorDataset(pictures), batch_size=16)
    latents = pd.DataFrame({"brightness": pictures.mean(dim=(1, 2, 3)).numpy()})
    result = probe_layer_representations(
        network, loader, ["fc1"], 2 - labels, groups=np.arange(120) // 4, latents=latents, options=QUICK
    )
    assert result.targets == ("label", "brightness") and result.num_groups == 30
    assert result.control.split == "within identities"


def test_what_does_not_fit_is_refused(network, images):
    pictures, labels = images
    bare = DataLoader(TensorDataset(pictures), batch_size=16)
    with pytest.raises(UsageError, match="The loader gives no labels"):
        probe_layer_representations(network, bare, ["fc1"])
    with pytest.raises(UsageError, match=r"one of two classes for each of the 120 images; found shape \(119,\)"):
        probe_layer_representations(network, bare, ["fc1"], labels[1:])
    with pytest.raises(UsageError, match="with 3 distinct values"):
        probe_layer_representations(network, bare, ["fc1"], torch.arange(120) % 3)
    with pytest.raises(UsageError, match="there are 7 groups"):
        probe_layer_representations(network, bare, ["fc1"], labels, groups=[0] * 7)
    with pytest.raises(UnknownLayerError, match="conv9"):
        probe_layer_representations(network, bare, ["conv9"], labels)
    with pytest.raises(UsageError, match="at least 3 folds; found num_folds=2"):
        ProbeOptions(num_folds=2)
