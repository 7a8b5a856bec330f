"""The running statistics of batch norm: measured on images, not trained, and so in a table of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from meta_baseline.layers import list_layers


@dataclass(frozen=True, kw_only=True)
class RunningStatistics:
    """The statistics that one batch norm keeps of its input.

    Attributes:
        mean_rms: root mean square of the running means.
        sd_median, sd_low, sd_high: of the root of the running variances, over units.
        batches: how many it has seen; -1 where it does not count.
        calibrated: False where mean 0 and variance 1 say that no image was ever seen.
    """

    role: str
    network: str
    mean_rms: float
    sd_median: float
    sd_low: float
    sd_high: float
    batches: int
    calibrated: bool


def list_running_statistics(model: nn.Module, network: str) -> tuple[RunningStatistics, ...]:
    """One row for every layer that a batch norm with running statistics follows."""
    rows: list[RunningStatistics] = []
    for layer in list_layers(model):
        norm = None if layer.norm is None else model.get_submodule(layer.norm)
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
            continue
        means, variances = (x.detach().cpu().double().numpy() for x in (norm.running_mean, norm.running_var))
        deviations = np.sqrt(np.clip(variances, 0.0, None))
        rows.append(
            RunningStatistics(
                role=layer.role,
                network=network,
                mean_rms=float(np.sqrt(np.mean(means**2))),
                sd_median=float(np.median(deviations)),
                sd_low=float(deviations.min()),
                sd_high=float(deviations.max()),
                batches=-1 if norm.num_batches_tracked is None else int(norm.num_batches_tracked),
                calibrated=bool(means.any() or (variances != 1).any()),
            )
        )
    return tuple(rows)
