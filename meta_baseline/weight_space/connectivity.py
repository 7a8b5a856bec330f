"""Loss and accuracy between two networks: along straight lines, and on the plane through both and a step 0.

Two networks of one architecture compute different functions by weights that may only be in another order. On the
straight line between them the loss rises where they differ in more than that (linear mode connectivity, Frankle et al.
2020, arXiv:1912.05671; matched first: Entezari et al. 2022, arXiv:2110.06296). Averaged weights shrink activations,
which raises the loss whether or not the networks agree, so the line is also measured with batch-norm statistics taken
anew at every point (REPAIR, Jordan et al. 2023, arXiv:2211.08403).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from meta_baseline.activations.recording import as_input
from meta_baseline.models import DecisionRule, decision_margin, recalibrate_batch_norm
from meta_baseline.weight_space.threads import run_in_threads

BATCH = 64
"""Images over which batch norm takes its statistics at a time."""

AT_A_TIME = 16
"""Images that go through a network together where batch norm does not look at them: their maps stay in the cache."""


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images for calibration and for evaluation, which share none; labels are 0 and 1, True is class 1."""

    calibration: Tensor
    images: Tensor
    labels: Int[Tensor, " N"]
    rule: DecisionRule


@dataclass(frozen=True, kw_only=True)
class LossPath:
    """The straight line from one network to another.

    Attributes:
        name: how the second network was ordered, and whether batch norm was reset.
        shares: [T] of the second network, from 0 to 1.
        losses, accuracies: [T] mean binary cross-entropy in nats, and share of right answers.
    """

    name: str
    shares: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]
    accuracies: Float[np.ndarray, " T"]

    @property
    def slug(self) -> str:
        """The name for names of estimates."""
        return self.name.replace(", batch norm", "").replace(", ", "_").replace(" ", "_")

    @property
    def barrier(self) -> float:
        """Highest excess of the loss over the straight line between the losses of both ends; 0 for no barrier."""
        chord = (1 - self.shares) * self.losses[0] + self.shares * self.losses[-1]
        return float(np.max(self.losses - chord))

    @property
    def accuracy_drop(self) -> float:
        """Highest shortfall of the accuracy below the line between those of both ends."""
        chord = (1 - self.shares) * self.accuracies[0] + self.shares * self.accuracies[-1]
        return float(np.max(chord - self.accuracies))


@dataclass(frozen=True, kw_only=True)
class LossSurface:
    """Loss on the plane through three networks, batch norm using the statistics of the images at every point.

    Attributes:
        second: how the baseline was ordered; as stored where both networks started from the third.
        third: what the third network is, e.g. "step 0 of meta".
        x, y: [G] distances along the line from meta to baseline, and perpendicular to it, in units of their distance.
        losses: [G, G] in nats, of ``num_images`` images; row i belongs to y[i].
        corners: [3, 2] where meta, baseline and the third network lie.
    """

    second: str
    third: str
    x: Float[np.ndarray, " G"]
    y: Float[np.ndarray, " G"]
    losses: Float[np.ndarray, "G G"]
    corners: Float[np.ndarray, "3 2"]
    num_images: int


@dataclass(frozen=True, kw_only=True)
class Connectivity:
    """Paths between meta and baseline network, those between seeds of one condition, and the surface.

    Attributes:
        paths: as stored, matched, and matched with batch norm reset (only where there is batch norm to reset).
        seed_paths: matched (and reset) lines between two seeds of one condition.
        surface: None where the three networks lie on one line.
        num_images: that losses and accuracies are means over.
    """

    paths: tuple[LossPath, ...]
    seed_paths: tuple[LossPath, ...]
    surface: LossSurface | None
    num_images: int


def trace_paths(
    meta: nn.Module,
    baseline: nn.Module,
    matched: nn.Module,
    data: LabelledImages,
    num_points: int,
    workers: int = 1,
) -> tuple[LossPath, ...]:
    """The three lines from the meta to the baseline network: as stored, matched, matched with batch norm reset."""
    lines = [("as stored", baseline, False), ("matched", matched, False)]
    if has_running_statistics(meta):
        lines.append(("matched, batch norm reset", matched, True))

    def measure(line: tuple[str, nn.Module, bool]) -> LossPath:
        name, end, reset = line
        return measure_path(meta, end, data, name=name, num_points=num_points, reset=reset)

    return tuple(run_in_threads(measure, lines, workers))


def trace_seed_paths(
    pairs: Mapping[str, tuple[nn.Module, nn.Module]], data: LabelledImages, num_points: int, workers: int = 1
) -> tuple[LossPath, ...]:
    """The line between two networks of one condition, the second already matched, for each pair; batch norm reset."""

    def measure(item: tuple[str, tuple[nn.Module, nn.Module]]) -> LossPath:
        kind, pair = item
        reset = has_running_statistics(pair[0])
        name = f"{kind}, matched" + (", batch norm reset" if reset else "")
        return measure_path(*pair, data, name=name, num_points=num_points, reset=reset)

    return tuple(run_in_threads(measure, list(pairs.items()), workers))


def measure_path(
    first: nn.Module, second: nn.Module, data: LabelledImages, *, name: str, num_points: int, reset: bool = False
) -> LossPath:
    """Loss and accuracy at ``num_points`` networks between two, both ends included."""
    shares = np.linspace(0.0, 1.0, num_points)
    ends = _state(first), _state(second)
    between = copy.deepcopy(first).eval()
    losses, accuracies = np.zeros(num_points), np.zeros(num_points)
    for i, share in enumerate(shares):
        _load(between, {key: _mix(key, ends, (1 - share, share)) for key in ends[0]})
        if reset:
            recalibrate_batch_norm(between, data.calibration.split(BATCH))
        losses[i], accuracies[i] = _score(between, data)
    return LossPath(name=name, shares=shares, losses=losses, accuracies=accuracies)


def measure_surface(
    meta: nn.Module,
    baseline: nn.Module,
    third: nn.Module,
    data: LabelledImages,
    *,
    names: tuple[str, str],
    num_points: int,
    workers: int = 1,
) -> LossSurface | None:
    """Loss on a grid over the plane through three networks; None where they lie on one line."""
    corners, base = [_state(model) for model in (meta, baseline, third)], _state(meta)
    trained = [name for name, _ in meta.named_parameters()]
    across, away = ({key: corner[key] - base[key] for key in trained} for corner in corners[1:])
    span = _inner(across, across)
    if span == 0.0:
        return None
    along = _inner(across, away) / span
    upward = {key: away[key] - along * across[key] for key in trained}
    height = np.sqrt(_inner(upward, upward) / span)
    if height < 1e-3:
        return None
    places = np.array([[0.0, 0.0], [1.0, 0.0], [along, height]])
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.2 * (high - low).max()
    x, y = (np.linspace(low[i] - margin, high[i] + margin, num_points) for i in (0, 1))

    def measure_row(height_of_row: float) -> list[float]:
        between = copy.deepcopy(meta).eval()
        use_batch_statistics(between)
        losses: list[float] = []
        for place in x:
            shift = height_of_row / height
            weights = {key: base[key] + (place * across[key] + shift * upward[key]) for key in trained}
            _load(between, {**base, **weights})
            losses.append(_score(between, data, whole=True)[0])
        return losses

    losses = np.array(run_in_threads(measure_row, list(y), workers))
    return LossSurface(
        second=names[0], third=names[1], x=x, y=y, losses=losses, corners=places, num_images=len(data.images)
    )


def has_running_statistics(model: nn.Module) -> bool:
    """True where batch norm uses the statistics that it kept in training."""
    return any(norm.running_mean is not None for norm in _batch_norms(model))


def use_batch_statistics(model: nn.Module) -> None:
    """Let every batch norm use the statistics of the images at hand; everything else stays in evaluation."""
    for norm in _batch_norms(model):
        norm.train()


def _batch_norms(model: nn.Module) -> Sequence[nn.modules.batchnorm._BatchNorm]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _score(model: nn.Module, data: LabelledImages, *, whole: bool = False) -> tuple[float, float]:
    device = next(model.parameters()).device
    size = len(data.images) if whole else AT_A_TIME
    with torch.inference_mode():
        logits = torch.cat([model(as_input(model, batch, device)) for batch in data.images.split(size)])
        margin = decision_margin(logits, data.rule).double().cpu()
    signs = 2.0 * data.labels.double() - 1.0
    return float(softplus(-signs * margin).mean()), float(((margin > 0) == (data.labels > 0)).double().mean())


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in model.state_dict().items()}


def _load(model: nn.Module, state: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(state[name])


def _mix(key: str, ends: tuple[dict[str, Tensor], dict[str, Tensor]], shares: tuple[float, float]) -> Tensor:
    first, second = ends[0][key], ends[1][key]
    return torch.add(shares[0] * first, second, alpha=shares[1]) if first.is_floating_point() else first


def _inner(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(float(torch.dot(one[key].double().reshape(-1), other[key].double().reshape(-1))) for key in one)
