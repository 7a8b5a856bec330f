"""The networks that a training run left on its way, for trajectories."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import nn

from meta_baseline.checkpoints import load_network, read_checkpoint
from meta_baseline.models import ConvNet

MOST = 8
"""Networks of a series that are read, evenly spread over those there are."""


def list_series(path: str | Path) -> tuple[tuple[int, Path], ...]:
    """Number of images seen and file, of the ``images-<n>.safetensors`` beside a checkpoint, in the order of training.

    At most ``MOST``; none where this package did not write the checkpoint, whose siblings are then no series of it.
    """
    path = Path(path)
    if read_checkpoint(path).own is None:
        return ()
    found: list[tuple[int, Path]] = []
    for other in path.parent.glob("images-*.safetensors"):
        number = re.fullmatch(r"images-(\d{1,12})\.safetensors", other.name)
        if number is not None and other.is_file() and not other.samefile(path):
            found.append((int(number[1]), other))
    found.sort()
    chosen = sorted({round(i) for i in np.linspace(0, len(found) - 1, min(MOST, len(found)))})
    return tuple(found[i] for i in chosen)


def load_series(series: Iterable[tuple[int, Path]], model: nn.Module) -> tuple[tuple[int, ConvNet], ...]:
    """The networks of a series; files of another architecture than the model's are left out."""
    if not isinstance(model, ConvNet):
        return ()
    networks = ((number, load_network(path)) for number, path in series)
    return tuple((number, network) for number, network in networks if network.architecture == model.architecture)
