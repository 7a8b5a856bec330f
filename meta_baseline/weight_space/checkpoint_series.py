"""The networks that a training run left on its way, for trajectories."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from torch import nn

from meta_baseline.checkpoints import load_network, read_checkpoint
from meta_baseline.models import ConvNet

MOST = 8
"""Networks of a series that are read, evenly spread over those there are."""


def load_series(path: str | Path, model: nn.Module) -> tuple[tuple[int, ConvNet], ...]:
    """Number of images seen and network, from ``images-<n>.safetensors`` beside a checkpoint, in the order of training.

    Files of another architecture are left out; so is everything where the checkpoint itself is such a file's sibling
    only by accident, that is, where it was not written by this package.
    """
    path = Path(path)
    own = read_checkpoint(path).own
    if own is None or not isinstance(model, ConvNet):
        return ()
    found: list[tuple[int, Path]] = []
    for other in path.parent.glob("images-*.safetensors"):
        number = re.fullmatch(r"images-(\d{1,12})\.safetensors", other.name)
        if number is not None and other.is_file() and not other.samefile(path):
            found.append((int(number[1]), other))
    found.sort()
    chosen = sorted({round(i) for i in np.linspace(0, len(found) - 1, min(MOST, len(found)))})
    series = ((found[i][0], load_network(found[i][1])) for i in chosen)
    return tuple((number, network) for number, network in series if network.architecture == model.architecture)
