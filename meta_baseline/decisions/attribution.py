"""Which part of one stimulus a decision rests on: what the margin loses when a part is covered, and its gradient.

Covering a window with paper takes ink away; where there is no ink nothing is taken and nothing can change. So a map of
any network resembles a map of the ink: beside each stands its correlation with the ink that each window covers, and
the same maps of an untrained network (Adebayo et al. 2018, arXiv:1810.03292, show saliency maps that do not depend on
the weights at all).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from meta_baseline.activations.positions import find_ink
from meta_baseline.activations.recording import as_input
from meta_baseline.models import DecisionRule, decision_margin

WINDOWS_PER_SIDE = 8
"""A window is an eighth of the image wide and moves by half of that."""

GRADIENT_SIDE = 32
_AT_A_TIME = 16


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """One stimulus in one network; maps are in units of the margin, positive where the image speaks for class 1.

    Attributes:
        network: "meta", "baseline" or "untrained".
        margin: of the whole stimulus; class 1 where positive.
        occlusion: margin of the whole stimulus minus that with one window covered by paper, [window row, window
            column] (Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2). Exactly 0 where the window holds no ink.
        gradient: gradient of the margin times (input - paper), summed over channels and over the pixels of a cell
            (Shrikumar et al. 2016, arXiv:1605.01713). It sums to the margin minus that of blank paper only where the
            network is linear.
        with_ink: Spearman correlation of the size of ``occlusion`` with the ink that a window covers, over windows
            with ink; NaN where there is nothing to correlate.
    """

    network: str
    margin: float
    occlusion: Float[ndarray, "h w"]
    gradient: Float[ndarray, "g g"]
    with_ink: float

    def largest(self) -> tuple[int, int, float]:
        """Row, column and change of the window whose covering changes the margin most."""
        row, column = np.unravel_index(np.abs(self.occlusion).argmax(), self.occlusion.shape)
        return int(row), int(column), float(self.occlusion[row, column])


def attribute(
    model: nn.Module, image: UInt8[Tensor, "H W 3"], *, network: str, rule: DecisionRule, device: str | torch.device
) -> Attribution:
    """Occlusion and gradient maps of one image; the network's own mode is restored afterwards."""
    windows, ink = list_windows(image)
    paper = find_paper(image)
    covered = [cover(image, window, paper) for window, inked in zip(windows, ink.ravel()) if inked]

    def margins(images: list[Tensor]) -> Float[ndarray, " n"]:
        found = []
        for start in range(0, len(images), _AT_A_TIME):
            batch = torch.stack(images[start : start + _AT_A_TIME])
            found.append(decision_margin(model(as_input(model, batch, device)).float(), rule).cpu())
        return torch.cat(found).numpy()

    with _evaluating(model), torch.no_grad():
        values = margins([image, *covered])
    occlusion = np.zeros(ink.shape)
    occlusion[ink > 0] = values[0] - values[1:]
    return Attribution(
        network=network,
        margin=float(values[0]),
        occlusion=occlusion,
        gradient=_gradient_map(model, image, paper, rule, device),
        with_ink=correlate_ranks(np.abs(occlusion)[ink > 0], ink[ink > 0]),
    )


def list_windows(image: UInt8[Tensor, "H W 3"]) -> tuple[list[tuple[slice, slice]], Float[ndarray, "h w"]]:
    """The windows row by row, and the number of ink pixels that each covers."""
    spans = [_spans(side) for side in image.shape[:2]]
    mask = find_ink(image.permute(2, 0, 1)[None])[0, 0].numpy()
    windows = [(rows, columns) for rows in spans[0] for columns in spans[1]]
    ink = np.array([mask[window].sum() for window in windows], dtype=np.float64)
    return windows, ink.reshape(len(spans[0]), len(spans[1]))


def find_paper(image: UInt8[Tensor, "H W 3"]) -> UInt8[Tensor, " 3"]:
    """The ground of an image: the median of its outermost pixels, channel by channel."""
    border = torch.cat([image[0], image[-1], image[:, 0], image[:, -1]])
    return border.median(dim=0).values


def cover(
    image: UInt8[Tensor, "H W 3"], window: tuple[slice, slice], paper: UInt8[Tensor, " 3"]
) -> UInt8[Tensor, "H W 3"]:
    """The image with one window in the colour of the paper."""
    covered = image.clone()
    covered[window] = paper
    return covered


def correlate_ranks(first: ndarray, second: ndarray) -> float:
    """Spearman correlation; NaN where one of them does not vary."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _spans(side: int) -> list[slice]:
    window = max(round(side / WINDOWS_PER_SIDE), 1)
    stride = max(window // 2, 1)
    return [slice(start, start + window) for start in range(0, side - window + 1, stride)]


def _gradient_map(
    model: nn.Module, image: Tensor, paper: Tensor, rule: DecisionRule, device: str | torch.device
) -> Float[ndarray, "g g"]:
    with _evaluating(model), torch.enable_grad():
        values = as_input(model, image[None], device).detach().requires_grad_(True)
        margin = decision_margin(model(values).float(), rule).sum()
        (gradient,) = torch.autograd.grad(margin, values)
        blank = as_input(model, paper.expand(1, *image.shape[:2], 3).contiguous(), device)
    product = (gradient * (values - blank)).detach().sum(dim=1, keepdim=True)
    cells = (min(GRADIENT_SIDE, product.shape[2]), min(GRADIENT_SIDE, product.shape[3]))
    share = product.shape[2] * product.shape[3] / (cells[0] * cells[1])
    return (functional.adaptive_avg_pool2d(product, cells)[0, 0] * share).cpu().numpy().astype(np.float64)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode with gradients allowed and none kept in the parameters; every module's own mode is restored."""
    modes = {module: module.training for module in model.modules()}
    needed = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval()
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, required in needed.items():
            parameter.requires_grad_(required)


def depends_on_its_batch(model: nn.Module) -> bool:
    """True when batch norm takes its statistics from the batch: then one image has no margin of its own."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.track_running_stats
        for module in model.modules()
    )
