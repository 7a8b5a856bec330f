"""MAML, FOMAML, ANIL, Reptile, ProtoNet and the matched control against what defines each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import RECIPE, arm, make_pool
from torch import Tensor, nn
from torch.func import functional_call

from meta_baseline.errors import UsageError
from meta_baseline.inner_loop import (
    InnerLoop,
    adapt,
    find_head,
    forward,
    inner_steps,
    layer_of,
    parameters_and_buffers,
)
from meta_baseline.models import ConvNet, architecture_of, build_network
from meta_baseline.training.loop import LEARNERS
from meta_baseline.training.meta import MetaLearner, multi_step_weights
from meta_baseline.training.objectives import classification_loss
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.protonet import prototype_logits
from meta_baseline.training.recipe import ADAPTING, ALGORITHMS, Algorithm, Recipe
from meta_baseline.training.reptile import reptile_gradient, reptile_steps

LOSS = classification_loss("logit")


def network_and_images(norm: str = "batch") -> tuple[ConvNet, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A network of the family in float64, in training mode, with a support and a query set of noise."""
    architecture = architecture_of("stack4", image_size=16, hidden=(6,), norm=norm)  # pyright: ignore[reportArgumentType]
    network = build_network(architecture, torch.Generator().manual_seed(0)).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in find_head(network):
            value = network.get_parameter(name)
            value.copy_(torch.randn(value.shape, generator=generator, dtype=value.dtype))
    sets = [torch.rand(6, 1, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2)]
    labels = torch.arange(6) % 2
    return network, (sets[0], labels), (sets[1], labels)


def meta_loss(network: ConvNet, start: dict[str, Tensor], inner_loop: InnerLoop, **options: object) -> Tensor:
    _, support, query = network_and_images()
    buffers = dict(network.named_buffers())
    adapted = adapt(network, start, buffers, *support, inner_loop=inner_loop, loss=LOSS, **options)  # pyright: ignore[reportArgumentType]
    return LOSS(forward(network, adapted, buffers, query[0])[0], query[1])


def derivative(objective: Callable[[float], Tensor], width: float = 2e-4) -> float:
    """At 0, by five points: the error is of the fourth order in ``width``."""
    ahead, behind, far, back = (float(objective(x * width).detach()) for x in (1, -1, 2, -2))
    return (8 * (ahead - behind) - (far - back)) / (12 * width)


@pytest.mark.parametrize("adapted", ["all", "head"])
def test_the_second_order_meta_gradient_of_a_convolutional_network_equals_finite_differences(adapted: str) -> None:
    # Tanh for ReLU and max pool: a kink between the points would end the comparison.
    network = smooth(network_and_images()[0])
    inner_loop = InnerLoop(num_steps=3, learning_rate=0.2, first_order=False, adapted=adapted)  # pyright: ignore[reportArgumentType]
    start, _ = parameters_and_buffers(network)
    gradients = torch.autograd.grad(meta_loss(network, start, inner_loop), tuple(start.values()))
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        way = {k: torch.randn(v.shape, generator=generator, dtype=v.dtype) / 10 for k, v in start.items()}
        expected = derivative(
            lambda x, way=way: meta_loss(network, {k: v.detach() + x * way[k] for k, v in start.items()}, inner_loop)
        )
        found = sum(float((g * w).sum()) for g, w in zip(gradients, way.values()))
        assert found == pytest.approx(expected, rel=1e-6)


def test_learnt_inner_rates_get_the_gradient_of_finite_differences_for_every_layer_and_step() -> None:
    network = smooth(network_and_images()[0])
    start, _ = parameters_and_buffers(network)
    rates = {
        layer: torch.full((2,), 0.2, dtype=torch.float64, requires_grad=True) for layer in {layer_of(n) for n in start}
    }
    inner_loop = InnerLoop(num_steps=2, first_order=False)
    loss = meta_loss(network, start, inner_loop, rates=rates)
    gradients = dict(zip(rates, torch.autograd.grad(loss, tuple(rates.values()))))
    for layer in ("conv2", "bn1", "classifier"):
        for step in (0, 1):

            def moved(x: float, layer: str = layer, step: int = step) -> Tensor:
                changed = {name: rate.detach().clone() for name, rate in rates.items()}
                changed[layer][step] += x
                return meta_loss(network, start, inner_loop, rates=changed)

            assert float(gradients[layer][step]) == pytest.approx(derivative(moved), rel=1e-6)


def test_fomaml_is_maml_with_the_inner_gradients_detached() -> None:
    network, support, query = network_and_images()
    start, buffers = parameters_and_buffers(network)
    found = meta_loss(network, start, InnerLoop(num_steps=2, learning_rate=0.2))
    current = dict(start)
    for _ in range(2):
        loss = LOSS(forward(network, current, buffers, support[0])[0], support[1])
        gradients = torch.autograd.grad(loss, tuple(current.values()), create_graph=True)
        current = {name: value - 0.2 * g.detach() for (name, value), g in zip(current.items(), gradients)}
    expected = LOSS(forward(network, current, buffers, query[0])[0], query[1])
    pairs = zip(torch.autograd.grad(found, tuple(start.values())), torch.autograd.grad(expected, tuple(start.values())))
    for one, two in pairs:
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-14)


def test_anil_adapts_the_classifier_and_nothing_else_as_full_passes_would() -> None:
    network, support, _ = network_and_images()
    start, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=3, learning_rate=0.2, adapted="head")
    adapted = adapt(network, start, buffers, *support, inner_loop=inner_loop, loss=LOSS)
    assert {name for name in start if not torch.equal(adapted[name], start[name])} == set(find_head(network))
    assert find_head(network) == ("classifier.weight", "classifier.bias")
    current = dict(start)
    for _ in range(3):
        loss = LOSS(forward(network, current, buffers, support[0])[0], support[1])
        gradients = torch.autograd.grad(loss, [current[name] for name in find_head(network)])
        current |= {name: current[name] - 0.2 * g for name, g in zip(find_head(network), gradients)}
    for name in start:
        torch.testing.assert_close(adapted[name], current[name], rtol=1e-10, atol=1e-14)


def test_a_network_without_a_linear_layer_has_no_head_to_adapt() -> None:
    with pytest.raises(UsageError, match="no linear layer to adapt alone"):
        find_head(nn.Sequential(nn.Conv2d(1, 1, 1)))


class Point(nn.Module):
    """A network whose logits are its parameters, so that any function of these can be its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.place.expand(len(images), -1)


@pytest.mark.parametrize("num_steps", [2, 5])
def test_reptile_on_a_quadratic_goes_where_gradient_descent_goes(num_steps: int) -> None:
    network, curvature, centre, rate = Point(), 2.0, torch.tensor([1.0, 1.0], dtype=torch.float64), 0.1

    def bowl(logits: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * curvature * (logits - centre).square().sum(dim=1).mean()

    batch = torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    inner_loop = InnerLoop(num_steps=num_steps, learning_rate=rate)
    start, buffers = parameters_and_buffers(network)
    steps = reptile_steps(network, start, buffers, (batch, batch), inner_loop=inner_loop, loss=bowl)
    gradient = reptile_gradient(steps)["place"]
    # theta_K - c = (1 - a h)^K (theta_0 - c), so (theta_0 - theta_K) / a = (1 - (1 - a h)^K) / a * (theta_0 - c).
    expected = (1 - (1 - rate * curvature) ** num_steps) / rate * (network.place.detach() - centre)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((network.place.detach() - steps[-1].parameters["place"].detach()) / rate, gradient)


def test_reptile_at_rate_0_is_the_sum_of_the_gradients_at_the_start() -> None:
    network, support, query = network_and_images()
    start, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=2, learning_rate=0.0)
    steps = reptile_steps(network, start, buffers, (support, query), inner_loop=inner_loop, loss=LOSS)
    loss = sum(LOSS(forward(network, start, buffers, images)[0], labels) for images, labels in (support, query))
    assert isinstance(loss, Tensor)
    for name, expected in zip(start, torch.autograd.grad(loss, tuple(start.values()))):
        torch.testing.assert_close(reptile_gradient(steps)[name], expected, rtol=1e-9, atol=1e-13)


def test_prototype_logits_are_minus_squared_distances_to_the_class_means() -> None:
    support = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 0.0], [4.0, 2.0]])
    labels = torch.tensor([0, 1, 0, 1])  # means (1, 0) and (4, 1)
    logits = prototype_logits(support, labels, torch.tensor([[1.0, 0.0], [4.0, 3.0], [0.0, 1.0]]))
    assert logits.tolist() == [[0.0, -10.0], [-18.0, -4.0], [-2.0, -16.0]]


class Reads(PoolImages):
    """Notes rows in the order in which they are read; images in float64."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # pyright: ignore[reportArgumentType]
        self.rows: list[list[int]] = []
        self.seen: list[Tensor] = []

    def read(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        images, labels = super().read(rows)
        self.rows.append(rows.tolist())
        self.seen.append(images)
        return images, labels


def first_steps(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> tuple[Reads, ConvNet, list[int]]:
    """The learner's first steps without an optimiser: what it read, the network after, gradient evaluations."""
    network, pool = recipe.build_initial_network().train(), make_pool(recipe)
    images = Reads(pool, network, augmentation=recipe.rng("augmentation"))
    learner = LEARNERS[recipe.acting](network, images, recipe)
    evaluations: list[int] = []
    grad = torch.autograd.grad

    def counting(*arguments: object, **options: object) -> object:
        evaluations.append(1)
        return grad(*arguments, **options)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(torch.autograd, "grad", counting)
        for step in range(count):
            learner.accumulate(step)
    return images, network, evaluations


@pytest.mark.parametrize("twin", ADAPTING)
def test_the_matched_control_reads_what_its_twin_reads_and_computes_as_many_gradients(
    twin: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = arm(twin, inner_loop=InnerLoop(num_steps=2))
    meta, meta_network, meta_count = first_steps(recipe, monkeypatch, 2)
    control, control_network, control_count = first_steps(recipe.as_arm("matched", twin=twin), monkeypatch, 2)
    assert meta.rows == control.rows
    assert all(torch.equal(one, two) for one, two in zip(meta.seen, control.seen, strict=True))
    assert len(meta_count) == len(control_count) > 0
    # Running statistics are those of support sets at theta_0, which adaptation does not change.
    for one, two in zip(meta_network.buffers(), control_network.buffers()):
        assert torch.equal(one, two)


def test_the_matched_control_never_leaves_theta_0(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = arm("matched", inner_loop=InnerLoop(num_steps=3, learning_rate=0.5))
    network = recipe.build_initial_network().train()
    start, buffers = parameters_and_buffers(network)
    images = make_images(network, recipe)
    adapted = adapt(network, start, buffers, *images, inner_loop=recipe.inner_loop_at(0.0), loss=LOSS)
    assert all(torch.equal(adapted[name], value) for name, value in start.items())
    maml = arm("maml", inner_loop=InnerLoop(num_steps=3, learning_rate=0.0), support_loss_weight=0.0)
    one, two = (first_steps(r, monkeypatch)[1] for r in (maml, replace(recipe, support_loss_weight=0.0, twin="maml")))
    for first, second in zip(one.parameters(), two.parameters()):
        assert first.grad is not None and second.grad is not None
        assert torch.equal(first.grad, second.grad)


def make_images(network: ConvNet, recipe: Recipe) -> tuple[Tensor, Tensor]:
    return PoolImages(make_pool(recipe), network, augmentation=None).read(np.arange(8))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("norm", ["batch", "frozen", "per-step", "group"])
def test_adapted_copies_leave_no_statistics_in_the_meta_model(
    algorithm: Algorithm, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running statistics move once per step, by the passes at theta_0 alone, whatever the inner loop does."""
    moved = []
    for rate in (0.05, 5.0):
        recipe = arm(algorithm, norm=norm, inner_loop=InnerLoop(num_steps=2, learning_rate=rate))
        moved.append(first_steps(recipe, monkeypatch)[1])
    for (name, one), two in zip(moved[0].named_buffers(), moved[1].buffers()):
        assert torch.equal(one, two)
        if name.endswith("num_batches_tracked"):
            assert int(one) == 1


def test_each_number_of_steps_has_statistics_of_its_own() -> None:
    recipe = arm("fomaml", norm="per-step", inner_loop=InnerLoop(num_steps=2, learning_rate=0.5))
    network = recipe.build_initial_network().train()
    images = PoolImages(make_pool(recipe), network, augmentation=None)
    learner = MetaLearner(network, images, recipe)
    learner.accumulate(0)
    sets = [dict(network.named_buffers()), *learner.learnt.statistics]
    assert len(sets) == 3
    means = [buffers["bn4.running_mean"] for buffers in sets]
    assert not torch.equal(means[0], means[1]) and not torch.equal(means[1], means[2])
    before = [{name: value.clone() for name, value in buffers.items()} for buffers in sets]
    support = images.read(np.arange(8))
    network.eval()
    steps = list(
        inner_steps(network, dict(network.named_parameters()), sets, *support, inner_loop=InnerLoop(num_steps=2),
                    loss=LOSS)
    )  # fmt: skip
    expected = functional_call(network, {**steps[0].parameters, **sets[1]}, (support[0],))
    torch.testing.assert_close(steps[1].logits, expected)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(sets, before) for name in a)


def test_multi_step_weights_move_from_all_steps_to_the_last() -> None:
    assert multi_step_weights(3, 0.0, 0.0) == (0.0, 0.0, 1.0)
    assert multi_step_weights(4, 0.0, 0.5) == (0.25, 0.25, 0.25, 0.25)
    assert multi_step_weights(2, 0.25, 0.5) == (0.25, 0.75)
    assert multi_step_weights(2, 0.5, 0.5) == (0.0, 1.0)
    assert all(sum(multi_step_weights(5, p / 10, 0.7)) == pytest.approx(1) for p in range(10))


def test_the_multi_step_loss_asks_the_queries_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """At an inner rate of 0 all query losses are one, so weighting them must change nothing."""
    recipes = [
        arm("fomaml", inner_loop=InnerLoop(num_steps=3, learning_rate=0.0), multi_step_fraction=fraction)
        for fraction in (0.0, 1.0)
    ]
    one, two = (first_steps(recipe, monkeypatch)[1] for recipe in recipes)
    for first, second in zip(one.parameters(), two.parameters()):
        assert first.grad is not None and second.grad is not None
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-7)
    recipe = replace(recipes[1], inner_loop=InnerLoop(num_steps=3))
    other = first_steps(recipe, monkeypatch)[1]
    assert not torch.allclose(other.conv1.weight.grad, one.conv1.weight.grad, rtol=1e-3)  # pyright: ignore


def test_the_order_of_the_derivative_is_annealed_and_settled_by_the_algorithm() -> None:
    recipe = arm("maml", first_order_fraction=0.3)
    assert [recipe.inner_loop_at(p).first_order for p in (0.0, 0.29, 0.3, 0.9)] == [True, True, False, False]
    assert arm("fomaml").inner_loop_at(0.9).first_order
    assert not arm("anil").inner_loop_at(0.0).first_order
    assert arm("anil").inner_loop_at(0.0).adapted == "head"
    assert arm("matched").inner_loop_at(0.0).learning_rate == 0.0


def test_prototypes_shape_the_embedding_and_the_classifier_only_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, network, _ = first_steps(arm("protonet"), monkeypatch)
    shifted = arm("protonet").build_initial_network().train()
    with torch.no_grad():
        shifted.classifier.bias.add_(3.0)  # pyright: ignore
    learner = LEARNERS["protonet"](
        shifted, PoolImages(make_pool(), shifted, augmentation=RECIPE.rng("augmentation")), arm("protonet")
    )
    learner.accumulate(0)
    for (name, one), two in zip(network.named_parameters(), shifted.parameters()):
        assert one.grad is not None and two.grad is not None
        assert torch.equal(one.grad, two.grad) is not name.startswith("classifier")


def smooth(network: ConvNet) -> ConvNet:
    """The network with tanh for ReLU and means for max pools."""
    for name, module in list(network.named_modules()):
        parent = network.get_submodule(layer_of(name))
        if isinstance(module, nn.ReLU):
            setattr(parent, name.rpartition(".")[2], nn.Tanh())
        elif isinstance(module, nn.MaxPool2d):
            setattr(parent, name.rpartition(".")[2], nn.AvgPool2d(2))
    return network
