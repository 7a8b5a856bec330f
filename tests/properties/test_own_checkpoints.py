"""What this package writes it reads back: the network, how it reads images, how it decides, and where it began."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from meta_baseline.checkpoint_metadata import KEY
from meta_baseline.checkpoints import find_initial, load_network, read_checkpoint, write_checkpoint
from meta_baseline.errors import CheckpointError
from meta_baseline.models import Preprocessing, architecture_of, build_network

ARCHITECTURES = [
    architecture_of("stack4"),
    architecture_of("stack5", head="baseline"),
    architecture_of("stack4", norm="group", num_logits=2, in_channels=3),
    architecture_of("stack4", norm="none", hidden=(16, 8)),
    architecture_of("conv4", head="baseline", image_size=32, hidden=(8, 8)),
    architecture_of("old-conv4", image_size=32, hidden=(8,)),
]


def _trained(architecture, seed=0):
    """A network whose every number differs from its initial value."""
    model = build_network(architecture, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator), alpha=0.1)
            else:
                tensor.fill_(7)
    return model.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"{a.describe()}, {a.norm}")
def test_a_written_network_comes_back_as_it_was(tmp_path, architecture):
    model = _trained(architecture)
    model.decision_rule = "logit"
    training = {"algorithm": "fomaml", "seed": 3, "num_images": 120, "tasks": ("regular", "open"), "initial": None}
    write_checkpoint(tmp_path / "m.safetensors", model, training=training)
    loaded = load_network(tmp_path / "m.safetensors")
    assert loaded.architecture == architecture
    assert loaded.preprocessing == model.preprocessing
    assert loaded.decision_rule == "logit"
    assert loaded.provenance.parameters == "initialisation (theta0) after 120 images (fomaml)"
    assert loaded.provenance.notes == ()
    state, expected = loaded.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
    images = torch.randint(0, 256, (3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    assert torch.equal(loaded(loaded.preprocessing(images)), model(model.preprocessing(images)))
    assert read_checkpoint(tmp_path / "m.safetensors").own.training == training


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_checkpoint(tmp_path / name, _trained(ARCHITECTURES[0]), training={"seed": 1, "algorithm": "baseline"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_provenance_tells_step_0_theta0_and_trained_weights_apart(tmp_path):
    model = _trained(ARCHITECTURES[0])
    for training, words in [
        ({"algorithm": "fomaml", "num_images": 0}, "untrained: step 0 of the run"),
        ({"algorithm": "baseline", "num_images": 5}, "trained weights after 5 images (baseline)"),
        ({"algorithm": "reptile"}, "initialisation (theta0) (reptile)"),
        ({}, "as stored"),
    ]:
        write_checkpoint(tmp_path / "m", model, training=training)
        assert load_network(tmp_path / "m").provenance.parameters == words


def test_a_baseline_given_as_the_meta_network_is_noted(tmp_path):
    write_checkpoint(tmp_path / "m", _trained(ARCHITECTURES[0]), training={"algorithm": "baseline"})
    assert any(
        "trained conventionally" in note for note in load_network(tmp_path / "m", condition="meta").provenance.notes
    )
    assert not load_network(tmp_path / "m", condition="baseline").provenance.notes


def test_step_0_is_found_beside_the_checkpoint_and_one_folder_up(tmp_path):
    architecture = ARCHITECTURES[0]
    write_checkpoint(tmp_path / "run" / "initial.safetensors", _trained(architecture, 1), training={})
    for folder, initial in (("run", "initial.safetensors"), ("run/snapshots", "../initial.safetensors")):
        path = tmp_path / folder / "last.safetensors"
        write_checkpoint(path, _trained(architecture, 2), training={"initial": initial})
        found = find_initial(path, load_network(path))
        assert found is not None
        assert found.samefile(tmp_path / "run" / "initial.safetensors")


def test_step_0_is_not_invented(tmp_path):
    architecture = ARCHITECTURES[0]
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "last.safetensors"
    far = tmp_path.parent / f"{tmp_path.name}-far.safetensors"
    write_checkpoint(far, _trained(architecture), training={})
    write_checkpoint(tmp_path / "run" / "other.safetensors", _trained(ARCHITECTURES[1]), training={})
    save_file(_trained(architecture).state_dict(), tmp_path / "run" / "bare.safetensors")
    for initial in (
        None,
        "",
        "missing.safetensors",
        "last.safetensors",  # itself
        "other.safetensors",  # of another architecture
        "bare.safetensors",  # not one of ours
        f"../../{far.name}",  # too far away
        str(far),
        "a\0b",
        "x" * 5000,
        ".",
        "..",
    ):
        write_checkpoint(path, _trained(architecture, 2), training={"initial": initial})
        assert find_initial(path, load_network(path)) is None
    save_file(_trained(architecture).state_dict(), path)
    assert find_initial(path, load_network(path)) is None


def test_our_small_networks_are_recognised_without_metadata(tmp_path):
    for name, size in (("stack4", 32), ("stack5", 64)):
        model = _trained(architecture_of(name))
        save_file(model.state_dict(), tmp_path / "m.safetensors")
        loaded = load_network(tmp_path / "m.safetensors")
        assert loaded.architecture == model.architecture
        assert loaded.architecture.image_size == size
        assert loaded.preprocessing == dataclasses.replace(model.preprocessing, assumed=True)


def _description(**changes):
    description = {
        "architecture": dataclasses.asdict(ARCHITECTURES[0]),
        "preprocessing": dataclasses.asdict(Preprocessing(image_size=32, in_channels=1, scaling="ink")),
        "decision_rule": "logit",
        "training": {"algorithm": "baseline"},
    }
    for key, value in changes.items():
        section, _, field = key.partition("__")
        if field:
            description[section] = description[section] | {field: value}
        else:
            description[section] = value
    return json.dumps(description)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        _description(architecture=None),
        _description(architecture__widths=[32, 32, 64, 10**12]),
        _description(architecture__widths=[32, 32, 64, True]),
        _description(architecture__widths=[32, 32, 64]),
        _description(architecture__kernels=[3, 3, 3, 4000]),
        _description(architecture__pool=[2, 0, 0]),
        _description(architecture__pool=[2, 2, 2]),
        _description(architecture__image_size=10**9),
        _description(architecture__image_size=8),
        _description(architecture__name="../../etc/passwd"),
        _description(architecture__head="two-headed"),
        _description(architecture__norm={}),
        _description(architecture__hidden=[1] * 1000),
        _description(architecture__hidden=[129]),
        _description(architecture__fc_dropout=2.0),
        _description(preprocessing__scaling="log"),
        _description(preprocessing__image_size=64),
        _description(decision_rule="argmax"),
        _description(decision_rule=["logit"]),
        _description(training=[]),
        _description(training__seed={"a": 1}),
    ],
)
def test_a_description_that_cannot_be_true_is_refused_in_one_line(tmp_path, text):
    save_file(_trained(ARCHITECTURES[0]).state_dict(), tmp_path / "m.safetensors", metadata={KEY: text})
    with pytest.raises(CheckpointError, match=r"cannot be used|should have shape") as caught:
        load_network(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)


def test_the_description_of_these_tests_is_a_good_one_when_unchanged(tmp_path):
    save_file(_trained(ARCHITECTURES[0]).state_dict(), tmp_path / "m.safetensors", metadata={KEY: _description()})
    assert load_network(tmp_path / "m.safetensors").architecture == ARCHITECTURES[0]


def test_a_half_written_checkpoint_never_replaces_a_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    write_checkpoint(path, _trained(ARCHITECTURES[0]), training={})
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(path, _trained(ARCHITECTURES[0], 9), training={})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert load_file(path)
