"""What meta-learning learns beside the weights: inner rates by layer and step, batch-norm statistics by step.

Most algorithms learn neither. Where there is something, it is written beside each checkpoint, as
``<checkpoint>.adaptation.safetensors``: the checkpoint itself stays a plain network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from meta_baseline.commits import write_atomic
from meta_baseline.errors import InputError
from meta_baseline.inner_loop import Buffers, Parameters, layer_of, parameters_and_buffers
from meta_baseline.models import ConvNet

_SUFFIX = ".adaptation.safetensors"
_RATES, _STATISTICS = "rates", "statistics"


class LearntAdaptation:
    """Inner rates and per-step statistics of one network; both may be empty.

    Attributes:
        rates: by layer, one for each inner step [K]; leaves that are trained with the network.
        statistics: buffers of theta_1, theta_2, ..., theta_K; those of theta_0 are the network's own.
    """

    def __init__(self, rates: dict[str, Tensor] | None = None, statistics: list[dict[str, Tensor]] | None = None):
        self.rates = rates or {}
        self.statistics = statistics or []

    @classmethod
    def start(
        cls, network: ConvNet, *, num_steps: int, learning_rate: float | None = None, per_step: bool = False
    ) -> LearntAdaptation:
        """As it is before training: one rate for all (None learns none), statistics as those of the network."""
        parameters, buffers = parameters_and_buffers(network)
        rates: dict[str, Tensor] = {}
        if learning_rate is not None:
            device = next(iter(parameters.values())).device
            rates = {
                layer: torch.full((num_steps,), learning_rate, device=device, requires_grad=True)
                for layer in dict.fromkeys(map(layer_of, parameters))
            }
        copies = [{name: value.clone() for name, value in buffers.items()} for _ in range(num_steps if per_step else 0)]
        return cls(rates, copies)

    @property
    def rates_or_none(self) -> Parameters | None:
        """For ``inner_loop``: None where the inner loop's own rate holds."""
        return self.rates or None

    def buffers(self, own: Parameters) -> Buffers:
        """For ``inner_loop``: the network's own buffers, or one set for each number of steps taken."""
        return (own, *self.statistics) if self.statistics else own

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, for a file; empty when nothing was learned."""
        named = {f"{_RATES}/{layer}": rate.detach() for layer, rate in self.rates.items()}
        for number, buffers in enumerate(self.statistics, start=1):
            named |= {f"{_STATISTICS}/{number}/{name}": value for name, value in buffers.items()}
        return named

    def to(self, device: str | torch.device) -> LearntAdaptation:
        """The same on another device, not to be trained further."""
        rates = {layer: rate.detach().to(device) for layer, rate in self.rates.items()}
        statistics = [{name: value.to(device) for name, value in buffers.items()} for buffers in self.statistics]
        return LearntAdaptation(rates, statistics)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` gave; names and shapes are those of this object."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])


def write_adaptation(checkpoint: Path, learnt: LearntAdaptation) -> None:
    """Write what was learned beside ``checkpoint``; nothing when there is nothing."""
    tensors = {name: value.cpu().contiguous() for name, value in learnt.tensors().items()}
    if tensors:
        write_atomic(adaptation_path(checkpoint), save(tensors))


def read_adaptation(checkpoint: str | Path) -> LearntAdaptation | None:
    """What stands beside a checkpoint; None when nothing does.

    Raises:
        InputError: when the file is damaged.
    """
    path = adaptation_path(Path(checkpoint))
    if not path.exists():
        return None
    rates: dict[str, Tensor] = {}
    statistics: dict[int, dict[str, Tensor]] = {}
    try:
        for name, value in load_file(path).items():
            kind, _, rest = name.partition("/")
            if kind == _RATES:
                rates[rest] = value
            else:
                number, _, buffer = rest.partition("/")
                statistics.setdefault(int(number), {})[buffer] = value
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}). Train the network again, or remove the file.") from error
    return LearntAdaptation(rates, [statistics[number] for number in sorted(statistics)])


def adaptation_path(checkpoint: Path) -> Path:
    """Where it would stand."""
    return checkpoint.with_name(checkpoint.name.removesuffix(".safetensors") + _SUFFIX)
