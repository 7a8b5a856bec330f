"""Every length of a checkpoint's header can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meta_baseline.checkpoints import load_network, write_checkpoint
from meta_baseline.models import architecture_of, build_network


@pytest.mark.parametrize("padding", range(0, 256, 8))
def test_a_checkpoint_whose_header_length_begins_like_a_pickle_is_still_read(tmp_path: Path, padding: int) -> None:
    network = build_network(architecture_of("stack4", image_size=16, hidden=(4,)))
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, network, training={"note": "x" * padding})
    assert torch.equal(load_network(path).get_parameter("conv1.weight"), network.get_parameter("conv1.weight"))
