"""Networks loaded from published checkpoints against an independent forward pass written from the published table."""

from __future__ import annotations

import pytest
import torch
from published_checkpoints import FLATTENED_AT_128, MEMBERS, reference_logits, write_published

from meta_baseline.checkpoints import load_network


@pytest.mark.parametrize(("member", "head"), MEMBERS)
def test_every_member_answers_as_the_published_table_says(tmp_path, member, head):
    state = write_published(tmp_path / "model.pt", member, head, seed=1)
    model = load_network(tmp_path / "model.pt")
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference_logits(state, member, head, images), atol=1e-6, rtol=1e-6)
    assert model.architecture.name == member
    assert model.architecture.head == head
    assert model.architecture.image_size == 128
    assert model.architecture.num_features == FLATTENED_AT_128[member]
    assert not model.training


@pytest.mark.parametrize(
    ("member", "head", "image_size", "in_channels"),
    [
        ("conv6", "meta", 64, 3),
        ("conv4", "baseline", 64, 1),
        ("conv2", "meta", 32, 1),
        ("old-conv4", "old-meta", 64, 3),
    ],
)
def test_input_size_and_channels_are_read_from_the_shapes(tmp_path, member, head, image_size, in_channels):
    state = write_published(tmp_path / "m.pt", member, head, seed=3, image_size=image_size, in_channels=in_channels)
    model = load_network(tmp_path / "m.pt")
    images = torch.rand(2, in_channels, image_size, image_size, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference_logits(state, member, head, images), atol=1e-6, rtol=1e-6)
    assert (model.architecture.image_size, model.architecture.in_channels) == (image_size, in_channels)
    assert any(f"{image_size} px is assumed" in note for note in model.provenance.notes)


def test_the_reference_notices_another_padding(tmp_path):
    """The negative twin: conv4 with the other head's padding has the same shapes and other answers."""
    state = write_published(tmp_path / "m.pt", "conv4", "baseline", seed=5)
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        right = load_network(tmp_path / "m.pt")(images)
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1))[..., :-1, :-1]
        wrong = reference_logits(state, "conv4", "baseline", padded)
    assert not torch.allclose(right, wrong, atol=1e-3)
