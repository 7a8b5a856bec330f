"""Building, preprocessing and deciding: what the rest of the package relies on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from meta_baseline.errors import UsageError
from meta_baseline.models import (
    MEMBERS,
    ConvNet,
    Preprocessing,
    architecture_of,
    build_network,
    decide,
    decision_margin,
    prepare_images,
    recalibrate_batch_norm,
    untrained_copy,
)


def _network(seed=0, **changes):
    return build_network(architecture_of("stack4", **changes), torch.Generator().manual_seed(seed))


def _parameters(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", MEMBERS)
def test_an_untrained_member_hardly_prefers_an_answer(name):
    architecture = architecture_of(name)
    model = build_network(architecture, torch.Generator().manual_seed(0))
    images = torch.rand(
        8,
        architecture.in_channels,
        architecture.image_size,
        architecture.image_size,
        generator=torch.Generator().manual_seed(1),
    )
    recalibrate_batch_norm(model, [images])
    with torch.inference_mode():
        logits = model.eval()(images)
    assert logits.shape == (8, architecture.num_logits)
    assert 0 < logits.abs().max() < 2


def test_weights_are_drawn_by_fan_in_and_the_classifier_small():
    model = build_network(architecture_of("conv4", image_size=64), torch.Generator().manual_seed(0))
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            expected = 0.01 if name == "classifier" else (2 / fan_in) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
            assert module.bias.count_nonzero() == 0


def test_the_generator_alone_decides_the_weights():
    before = torch.get_rng_state()
    first, again, other = _network(1), _network(1), _network(2)
    assert torch.equal(_parameters(first), _parameters(again))
    assert not torch.equal(_parameters(first), _parameters(other))
    assert torch.equal(before, torch.get_rng_state())


def test_an_untrained_copy_shares_the_function_but_no_weight():
    model = _network(1)
    model.decision_rule = "logit"
    with torch.no_grad():
        model.get_parameter("conv1.weight").fill_(9.0)
        model.get_buffer("bn1.running_mean").fill_(9.0)
    before = copy.deepcopy(model.state_dict())
    fresh = untrained_copy(model, torch.Generator().manual_seed(3))
    assert isinstance(fresh, ConvNet)
    assert (fresh.architecture, fresh.preprocessing) == (model.architecture, model.preprocessing)
    assert not fresh.training
    assert fresh.get_buffer("bn1.running_mean").abs().max() == 0
    assert "untrained" in fresh.provenance.parameters
    assert torch.equal(_parameters(fresh), _parameters(_network(3)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_untrained_copy_of_a_network_of_ones_own_is_drawn_the_same_way():
    own = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    fresh = untrained_copy(own, torch.Generator().manual_seed(0))
    assert type(fresh) is nn.Sequential
    assert fresh[-1].weight.std() < 0.05 < fresh[3].weight.std()
    with pytest.raises(UsageError, match="Cannot draw fresh weights for 0, a LSTM"):
        untrained_copy(nn.Sequential(nn.LSTM(2, 2)))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: architecture_of("conv3"), "Choose one of: conv2, conv4"),
        (lambda: architecture_of("conv2", head="old-meta"), "Choose one of: meta, baseline"),
        (lambda: architecture_of("stack5", image_size=16), "Choose a larger image size"),
        (lambda: decide(torch.zeros(3, 1), "argmax"), "Use 'logit'"),
        (lambda: Preprocessing(image_size=8, in_channels=1, scaling="unit")(torch.zeros(8, 8).byte()), "0..255"),
    ],
)
def test_a_mistake_is_answered_with_the_choices(call, match):
    with pytest.raises(UsageError, match=match):
        call()


def test_the_two_rules_differ_where_logit_0_speaks():
    logits = torch.tensor([[5.0, 1.0], [-5.0, -1.0], [0.0, 0.0], [0.0, 1.0]])
    assert decide(logits, "logit").tolist() == [True, False, False, True]
    assert decide(logits, "argmax").tolist() == [False, True, False, True]
    assert decide(logits, "argmax").tolist() == logits.argmax(dim=1).bool().tolist()
    assert decide(logits[:, 1:], "logit").tolist() == decide(logits, "logit").tolist()


@given(st.lists(st.tuples(st.floats(-9, 9, width=32), st.floats(-9, 9, width=32)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30)
def test_the_margin_is_positive_exactly_where_the_answer_is_class_1(rows):
    logits = torch.tensor(rows)
    for rule in ("logit", "argmax"):
        assert torch.equal(decision_margin(logits, rule) > 0, decide(logits, rule))


IMAGES = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _prepared(scaling, channels=3, size=16, images=IMAGES):
    return Preprocessing(image_size=size, in_channels=channels, scaling=scaling)(images)


def test_scalings_have_the_ranges_that_they_are_named_for():
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1).expand(2, 16, 16)
    for scaling, black, white in [("unit", 0, 1), ("signed", -1, 1), ("ink", 1, 0)]:
        values = _prepared(scaling, channels=1, images=black_and_white)
        assert values.shape == (2, 1, 16, 16)
        assert values.dtype == torch.float32
        torch.testing.assert_close(values[0], torch.full((1, 16, 16), float(black)))
        torch.testing.assert_close(values[1], torch.full((1, 16, 16), float(white)))
    assert _prepared("imagenet").mean(dim=(0, 2, 3)).abs().max() < 0.5


def test_layouts_of_the_same_images_give_the_same_inputs():
    assert torch.equal(_prepared("signed"), _prepared("signed", images=IMAGES.permute(0, 3, 1, 2)))
    grey = IMAGES[..., 0]
    assert torch.equal(_prepared("ink", images=grey), _prepared("ink", images=grey.unsqueeze(-1).expand(-1, -1, -1, 3)))


def test_colour_becomes_grey_as_pillow_does_it():
    expected = np.stack([np.asarray(Image.fromarray(image.numpy()).convert("L")) for image in IMAGES])
    grey = _prepared("unit", channels=1).squeeze(1) * 255
    assert (grey - torch.from_numpy(expected.astype(np.float32))).abs().max() <= 1.0


def test_resizing_keeps_the_mean_and_so_the_ink():
    for size in (8, 4, 32):
        torch.testing.assert_close(
            _prepared("ink", 1, size).mean(dim=(1, 2, 3)), _prepared("ink", 1, 16).mean(dim=(1, 2, 3))
        )


def test_images_are_prepared_by_the_model_and_floats_pass_through():
    model = _network()
    assert torch.equal(prepare_images(model, IMAGES), model.preprocessing(IMAGES))
    floats = torch.rand(2, 1, 32, 32)
    assert prepare_images(model, floats) is floats
    plain = nn.Sequential(nn.Conv2d(1, 2, 3))
    assert torch.equal(prepare_images(plain, IMAGES), _prepared("signed", channels=1))


def test_recalibrated_batch_norm_has_the_statistics_of_the_batches_and_nothing_else_moves():
    model = _network().eval()
    model.get_submodule("bn2").train()
    modes = [module.training for module in model.modules()]
    parameters = _parameters(model)
    batches = [torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    recalibrate_batch_norm(model, batches)
    with torch.inference_mode():
        maps = [model.get_submodule("conv1")(batch) for batch in batches]
    mean = torch.stack([values.mean(dim=(0, 2, 3)) for values in maps]).mean(dim=0)
    variance = torch.stack([values.var(dim=(0, 2, 3)) for values in maps]).mean(dim=0)
    torch.testing.assert_close(model.get_buffer("bn1.running_mean"), mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.get_buffer("bn1.running_var"), variance, atol=1e-5, rtol=1e-4)
    assert torch.equal(parameters, _parameters(model))
    assert [module.training for module in model.modules()] == modes
    assert model.get_submodule("bn1").momentum == 0.1


def test_dropout_acts_in_training_only():
    model = build_network(architecture_of("conv2", head="baseline", image_size=32, hidden=(32,)))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(model.train()(images), model(images))
    assert torch.equal(model.eval()(images), model(images))
