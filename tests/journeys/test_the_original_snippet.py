"""The calls of the original description, from a script."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_study import make_small_study

from meta_baseline.datasets import build_loader, read_stimuli


@pytest.mark.slow
def test_the_original_snippet_works_from_a_script(tmp_path: Path):
    study = make_small_study(tmp_path, num_images=80)

    from meta_baseline.probing import probe_layer_representations
    from meta_baseline.sparse_autoencoders import collect_activations, train_sparse_autoencoder
    from meta_baseline.weight_analysis import compare_weight_spaces, load_models

    meta_model, baseline_model = load_models(str(study.meta_model), str(study.baseline_model))
    assert isinstance(meta_model, torch.nn.Module)
    weights = compare_weight_spaces(meta_model, baseline_model, tmp_path / "weights")
    assert weights.estimates
    assert (tmp_path / "weights" / "result.json").exists()

    data_loader = build_loader(read_stimuli(study.data_dir, 1), batch_size=16, num_workers=0)
    activations = collect_activations(meta_model, data_loader, ["conv1", "pool2", "fc_layers.0"], "cpu")
    assert {name: len(values) for name, values in activations.items()} == {"conv1": 80, "pool2": 80, "fc_layers.0": 80}
    trained = train_sparse_autoencoder(activations["pool2"], generator=torch.Generator().manual_seed(0))
    assert trained is not None

    probes = probe_layer_representations(baseline_model, data_loader, ["pool1", "pool4"])
    assert probes.estimates
