"""Every wrapper, prefix and dtype in which published checkpoints are met loads without being told anything."""

from __future__ import annotations

import argparse
import pathlib
import zipfile

import numpy as np
import pytest
import torch
from published_checkpoints import DTYPES, PREFIXES, WRAPPERS, published_state, write_published
from safetensors.torch import save_file

from meta_baseline.architectures import infer_architecture
from meta_baseline.checkpoints import load_models, load_network, read_checkpoint
from meta_baseline.errors import CheckpointError, EnvironmentProblem

SMALL = {"image_size": 32, "units": (16, 16, 16)}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_wrapper_and_prefix_gives_the_same_network(tmp_path, wrapper, prefix):
    for head in ("meta", "baseline"):
        write_published(tmp_path / "plain.pt", "conv2", head, "bare", seed=1, **SMALL)
        expected = write_published(tmp_path / "m", "conv2", head, wrapper, seed=1, prefix=prefix, **SMALL)
        model, plain = load_network(tmp_path / "m"), load_network(tmp_path / "plain.pt")
        assert model.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
        assert torch.equal(model(IMAGES), plain(IMAGES))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrapper", ["maml_state_dict", "safetensors"])
def test_every_dtype_is_analysed_in_float32_and_the_rounding_is_noted(tmp_path, dtype, wrapper):
    expected = write_published(tmp_path / "m", "conv2", "meta", wrapper, dtype, seed=2, **SMALL)
    model = load_network(tmp_path / "m")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in model.parameters())
    noted = any("analysed in float32" in note for note in model.provenance.notes)
    assert noted == (dtype != torch.float32)


@pytest.mark.parametrize("namespace", [False, True])
def test_args_are_read_as_plain_values_whether_dict_or_namespace(tmp_path, namespace):
    write_published(tmp_path / "m.pt", "conv2", "meta", "both", seed=7, namespace=namespace, **SMALL)
    metadata = read_checkpoint(tmp_path / "m.pt").metadata
    assert metadata["args"] == {"seed": 7, "inner_lr": 0.05, "adaptation_steps": 5, "data_dir": "data/pb/pb"}
    assert metadata["epoch"] == 12
    assert metadata["held_out_task"] == "arrows"


def test_numpy_numbers_and_paths_beside_the_weights_do_not_stop_the_reader(tmp_path):
    state = published_state("conv2", "meta", **SMALL)
    args = argparse.Namespace(data_dir=pathlib.Path("/data/pb"), lr=np.float32(0.5))
    content = {
        "state_dict": state,
        "val_acc": np.float64(0.875),
        "epoch": np.int64(3),
        "ok": np.bool_(True),
        "args": args,
    }
    torch.save(content, tmp_path / "m.pt")
    metadata = read_checkpoint(tmp_path / "m.pt").metadata
    assert metadata == {"val_acc": 0.875, "epoch": 3, "ok": True, "args": {"data_dir": "/data/pb", "lr": 0.5}}


def test_the_format_of_torch_before_1_6_is_read_too(tmp_path):
    state = published_state("conv2", "baseline", **SMALL)
    torch.save({"model_state_dict": state}, tmp_path / "m.pt", _use_new_zipfile_serialization=False)
    model = load_network(tmp_path / "m.pt")
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_weights_saved_on_a_gpu_are_read_without_one(tmp_path):
    state = write_published(tmp_path / "cpu.pt", "conv2", "meta", **SMALL)
    with zipfile.ZipFile(tmp_path / "cpu.pt") as archive, zipfile.ZipFile(tmp_path / "m.pt", "w") as copy:
        for entry in archive.infolist():
            # The place of a storage stands in the pickle as a string: its length, then "cpu".
            content = archive.read(entry).replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
            copy.writestr(entry.filename, content)
    assert b"cuda:0" in (tmp_path / "m.pt").read_bytes()
    assert torch.equal(load_network(tmp_path / "m.pt").get_parameter("conv1.weight"), state["conv1.weight"])


def test_a_state_dict_straight_from_a_module_is_read(tmp_path):
    module = torch.nn.ModuleDict()
    for i, (read, width) in enumerate([(3, 6), (6, 12)], start=1):
        module.update({f"conv{i}": torch.nn.Conv2d(read, width, 2), f"bn{i}": torch.nn.BatchNorm2d(width)})
    module.update({f"fc{j}": torch.nn.Linear(read, 16) for j, read in enumerate((972, 16, 16), start=1)})
    module["classifier"] = torch.nn.Linear(16, 2)
    torch.save(torch.nn.DataParallel(module).state_dict(), tmp_path / "m.pt")
    assert load_network(tmp_path / "m.pt").architecture.describe() == "conv2, baseline head, 32 px, RGB"


def test_two_state_dicts_that_differ_are_noted_and_the_model_is_used(tmp_path):
    state, other = (published_state("conv2", "meta", seed=seed, **SMALL) for seed in (1, 2))
    maml = {"module." + name: tensor for name, tensor in other.items()}
    torch.save({"maml_state_dict": maml, "model_state_dict": state}, tmp_path / "m.pt")
    model = load_network(tmp_path / "m.pt")
    assert torch.equal(model.get_parameter("conv1.weight"), state["conv1.weight"])
    assert any("differ (first at conv1.weight); model_state_dict is used" in note for note in model.provenance.notes)


def test_two_state_dicts_that_agree_are_not_remarked_upon(tmp_path):
    write_published(tmp_path / "m.pt", "conv2", "meta", "both", **SMALL)
    assert not any("differ" in note for note in load_network(tmp_path / "m.pt").provenance.notes)


def test_weights_that_are_not_finite_load_with_a_note(tmp_path):
    state = published_state("conv2", "meta", **SMALL)
    state["conv2.weight"][0, 0, 0] = float("nan")
    state["fc_layers.0.bias"][3] = float("inf")
    torch.save(state, tmp_path / "m.pt")
    notes = load_network(tmp_path / "m.pt").provenance.notes
    assert "conv2.weight holds 2 values of 288 that are NaN or infinite." in notes
    assert "fc_layers.0.bias holds 1 values of 16 that are NaN or infinite." in notes


def test_batch_norm_without_running_statistics_loads_with_a_note(tmp_path):
    state = {k: v for k, v in published_state("conv2", "baseline", **SMALL).items() if "running" not in k}
    state = {name: tensor for name, tensor in state.items() if "tracked" not in name}
    torch.save(state, tmp_path / "m.pt")
    model = load_network(tmp_path / "m.pt")
    assert not model.architecture.running_statistics
    assert any("depend on the batch" in note for note in model.provenance.notes)


def test_learnt_inner_loop_rates_are_left_out_with_a_note(tmp_path):
    state = published_state("old-conv4", "old-meta", image_size=32, units=(16, 16, 16))
    torch.save(state | {"lr_conv.0": torch.tensor([0.01]), "lr_classifier": torch.tensor([0.01])}, tmp_path / "m.pt")
    assert any("learning rates" in note for note in load_network(tmp_path / "m.pt").provenance.notes)


def test_safetensors_metadata_may_name_the_architecture_and_shapes_decide(tmp_path):
    state = published_state("conv2", "meta", **SMALL)
    save_file(state, tmp_path / "right.safetensors", metadata={"architecture": "conv2"})
    save_file(state, tmp_path / "wrong.safetensors", metadata={"architecture": "conv6"})
    right, wrong = (load_network(tmp_path / f"{name}.safetensors") for name in ("right", "wrong"))
    assert wrong.architecture == right.architecture
    assert "The file calls its architecture 'conv6'; its shapes are those of conv2." in wrong.provenance.notes
    assert not any("calls" in note for note in right.provenance.notes)


def test_the_decision_rule_follows_how_published_networks_were_trained(tmp_path):
    for head, wrapper, condition, rule in [
        ("meta", "bare", None, "logit"),
        ("baseline", "bare", None, "argmax"),
        ("baseline", "bare", "baseline", "argmax"),
        ("baseline", "bare", "meta", "logit"),  # the legacy meta conv6 has the baseline head
        ("baseline", "maml_state_dict", None, "logit"),
        ("baseline", "both", None, "logit"),
    ]:
        write_published(tmp_path / "m.pt", "conv2", head, wrapper, **SMALL)
        model = load_network(tmp_path / "m.pt", condition=condition)
        assert model.decision_rule == model.provenance.decision_rule == rule
        assert any("does not say how it decides" in note for note in model.provenance.notes)


def test_the_input_scaling_is_assumed_aloud_and_can_be_stated(tmp_path):
    write_published(tmp_path / "m.pt", "conv2", "meta", **SMALL)
    assumed, stated = load_network(tmp_path / "m.pt"), load_network(tmp_path / "m.pt", input_scaling="unit")
    assert assumed.preprocessing.scaling == "signed"
    assert assumed.preprocessing.assumed
    assert any("how images were scaled" in note for note in assumed.provenance.notes)
    assert (stated.preprocessing.scaling, stated.preprocessing.assumed) == ("unit", False)
    assert not any("how images were scaled" in note for note in stated.provenance.notes)


def test_load_models_returns_meta_and_baseline_in_this_order(tmp_path):
    write_published(tmp_path / "a.pt", "conv2", "baseline", seed=1, **SMALL)
    write_published(tmp_path / "b.pt", "conv2", "baseline", seed=2, **SMALL)
    meta, baseline = load_models(tmp_path / "a.pt", str(tmp_path / "b.pt"))
    assert [model.provenance.path for model in (meta, baseline)] == [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    assert [model.decision_rule for model in (meta, baseline)] == ["logit", "argmax"]
    with pytest.raises(EnvironmentProblem, match="Use 'cpu'"):
        load_models(tmp_path / "a.pt", tmp_path / "b.pt", device="abacus")


def _changed(**changes):
    state = published_state("conv2", "meta", **SMALL)
    for name, shape in changes.items():
        if shape is None:
            del state[name.replace("__", ".")]
        else:
            state[name.replace("__", ".")] = torch.zeros(shape)
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_changed(conv1__weight=(7, 3, 2, 2)), r"\(7, 12\) channels.*no known network.*conv2, conv4, conv6"),
        (_changed(conv1__weight=(6, 5, 2, 2)), "5 input channels"),
        (_changed(conv1__weight=(6, 3)), "conv1.weight has shape"),
        (_changed(conv3__weight=(24, 12, 2, 2)), "no known network"),
        (_changed(conv1__weight=None), "no conv1.weight"),
        (_changed(conv2__bias=None), "conv2.bias should have shape"),
        (_changed(bn1__weight=None), "bn1.weight should have shape"),
        (_changed(fc_layers__0__weight=(16, 973)), "973 inputs"),
        (_changed(fc_layers__1__weight=(16, 17)), r"read \(17, 16, 16\) inputs"),
        (_changed(layer_norms__2__bias=(17,)), "layer_norms.2.bias should have shape"),
        (_changed(classifier__weight=(10, 16)), "10 logits"),
        (_changed(fc1__weight=(16, 16)), "both of fc_layers.0"),
        (_changed(attention__weight=(16, 16)), "has attention.weight, which"),
        ({"weight": torch.zeros(3)}, "neither of fc_layers.0"),
    ],
)
def test_shapes_that_fit_no_member_are_refused_in_one_line(tmp_path, state, message):
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_network(tmp_path / "m.pt")
    assert "\n" not in str(caught.value)
    assert "m.pt" in str(caught.value)


def test_the_size_is_128_whenever_128_fits():
    for member, head in [("conv6", "meta"), ("conv4", "baseline"), ("conv4", "meta")]:
        shapes = {name: tuple(t.shape) for name, t in published_state(member, head, units=(8, 8, 8)).items()}
        architecture, notes = infer_architecture(shapes, "it")
        assert architecture.image_size == 128
        assert any("128 px is assumed" in note for note in notes)
