"""Training of one sparse dictionary by gradient descent, on the CPU in seconds.

Two variants, brought to the same mean number of active atoms (L0), since variance explained means nothing without it:

    topk   the k largest pre-activations of each position are kept; dead atoms are revived
           (Gao et al. 2024, arXiv:2406.04093)
    l1     ReLU and an L1 penalty on the codes, its weight steered so that the mean L0 comes to the same k
           (Bricken et al. 2023, transformer-circuits.pub/2023/monosemantic-features)

In both, the decoder bias is subtracted before encoding, atoms have norm 1 (the part of their gradient that would
change it is removed before each step) and the encoder starts as the decoder's transpose. The decoder starts from random
directions: on activations of conv6 networks that gave more variance explained than a start from data points.

Deviations from the papers, all because a run here is 500 steps and not 100 000: an atom counts as dead after a tenth
of the run; atoms still dead at 20, 40 and 60 % of it are put where the reconstruction is worst (as in Bricken et al.,
"neuron resampling"). Without the latter a third of the atoms of an 18-channel layer die, since the auxiliary loss
alone gives dead atoms the scale of the residual, with which they never win against the k largest, and does not reach
atoms without a positive score at all. Resampling later than that costs variance explained, as what is put down has no
time to settle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meta_baseline.dictionaries.autoencoder import (
    TrainedAutoencoder,
    TrainingHistory,
    Variant,
)
from meta_baseline.dictionaries.gradients import Parameters, add_auxiliary, differentiate, pass_through
from meta_baseline.errors import UsageError

WARM_UP = 0.05
DECAY = 0.2
DEAD_AFTER = 0.1
AUXILIARY_WEIGHT = 1 / 32
RESAMPLE_AT = (0.2, 0.4, 0.6)
_POOL_SIZE = 4096
_HISTORY_POINTS = 50


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """One training run; every budget is in steps, never in seconds.

    Attributes:
        variant: "topk" or "l1".
        num_atoms: A.
        sparsity: k of TopK, and the mean L0 that the L1 penalty is steered to.
        num_steps, batch_size: positions are drawn without replacement, epoch after epoch.
        learning_rate: Adam's, after 5 % of warm-up and until the linear decay in the last 20 %.
        train_decoder: False is the control that shows what training the dictionary adds beyond reading any dictionary
            well (arXiv:2602.14111): the decoder stays at random directions. They are drawn with the covariance of the
            activations, since isotropic ones point mostly out of the space that the activations fill, and beating
            those shows little (on conv5 and conv6 of a trained conv6: .42 and .19 of the variance explained, against
            .83 and .88 with the right covariance and .95 and .98 when trained).
    """

    variant: Variant = "topk"
    num_atoms: int
    sparsity: int
    num_steps: int = 500
    batch_size: int = 256
    learning_rate: float = 3e-3
    train_decoder: bool = True

    def __post_init__(self) -> None:
        if self.variant not in ("topk", "l1"):
            raise UsageError(f"No variant {self.variant!r} of a sparse autoencoder. Choose 'topk' or 'l1'.")
        if not 1 <= self.sparsity <= self.num_atoms:
            raise UsageError(
                f"{self.sparsity} active atoms of {self.num_atoms}: choose a sparsity from 1 to the number of atoms."
            )
        if min(self.num_steps, self.batch_size) < 1:
            raise UsageError(f"{self.num_steps} steps of {self.batch_size} positions. Both have to be at least 1.")


@torch.no_grad()
def train_dictionary(
    samples: Float[Tensor, "M C"], options: TrainingOptions, generator: torch.Generator
) -> TrainedAutoencoder:
    """The dictionary after ``options.num_steps`` steps; same samples, options and generator, same dictionary.

    ``generator`` lives on the CPU whatever the device of ``samples``.
    """
    mean, scale, centred = _normalise(samples.float())
    state = _TrainingState(centred, options, generator)
    batches = _Batches(len(centred), options.batch_size, generator)
    records: list[tuple[int, float, float, float]] = []
    record_every = max(1, options.num_steps // _HISTORY_POINTS)
    for step in range(options.num_steps):
        unexplained, l0 = state.step(centred[batches.draw().to(centred.device)], step)
        if step in {round(fraction * options.num_steps) for fraction in RESAMPLE_AT}:
            state.resample_dead(centred)
        if (step + 1) % record_every == 0:
            records.append((step + 1, float(unexplained), float(l0), float(state.dead().float().mean())))
    return state.finish(mean, scale, records)


class _TrainingState:
    """Parameters, optimiser and the record of which atom was last active when."""

    def __init__(self, centred: Float[Tensor, "M C"], options: TrainingOptions, generator: torch.Generator) -> None:
        self.options = options
        self.generator = generator
        device, num_channels = centred.device, centred.shape[1]
        if options.train_decoder:
            directions = torch.randn(options.num_atoms, num_channels, generator=generator).to(device)
        else:
            directions = _draw_with_covariance(centred, options.num_atoms, generator)
        decoder = functional.normalize(directions, dim=1)
        self.parameters = Parameters(
            encoder=decoder.clone(),
            encoder_bias=torch.zeros(options.num_atoms, device=device),
            decoder=decoder,
            decoder_bias=torch.zeros(num_channels, device=device),
        )
        trained = [p for p in self.parameters.all() if options.train_decoder or p is not decoder]
        self.optimiser = torch.optim.Adam(trained, lr=options.learning_rate, fused=True)
        self.steps_silent = torch.zeros(options.num_atoms, dtype=torch.int64, device=device)
        self.penalty = _L1Controller(options.sparsity)

    def dead(self) -> Bool[Tensor, " A"]:
        """Atoms that have not been active for a tenth of the run."""
        return self.steps_silent >= max(1, round(DEAD_AFTER * self.options.num_steps))

    def step(self, batch: Float[Tensor, "m C"], step: int) -> tuple[Tensor, Tensor]:
        """One step of descent; the unexplained share of the batch and its mean L0."""
        options, parameters = self.options, self.parameters
        passed = pass_through(batch, parameters, options.variant, options.sparsity)
        active = passed.codes > 0
        l0 = active.sum(dtype=torch.float32) / len(batch)
        self.steps_silent = torch.where(active.any(dim=0), 0, self.steps_silent + 1)
        if options.variant == "l1":
            gradient = differentiate(passed, parameters, self.penalty.update(float(l0)) / math.sqrt(batch.shape[1]))
        else:
            gradient = differentiate(passed, parameters)
            if len(dead := self.dead().nonzero()[:, 0]):
                add_auxiliary(gradient, passed, parameters, dead, sparsity=options.sparsity, weight=AUXILIARY_WEIGHT)
        self._descend(gradient, step)
        return passed.residual.square().mean(), l0

    def _descend(self, gradient: Parameters, step: int) -> None:
        num_steps = self.options.num_steps
        ramp = min(1.0, (step + 1) / (WARM_UP * num_steps), (num_steps - step) / (DECAY * num_steps))
        self.optimiser.param_groups[0]["lr"] = self.options.learning_rate * ramp
        decoder = self.parameters.decoder
        along = (gradient.decoder * decoder).sum(dim=1, keepdim=True)
        gradient.decoder.addcmul_(along, decoder, value=-1)
        for parameter, derivative in zip(self.parameters.all(), gradient.all()):
            parameter.grad = derivative
        self.optimiser.step()
        if self.options.train_decoder:
            decoder /= decoder.norm(dim=1, keepdim=True)

    def resample_dead(self, centred: Float[Tensor, "M C"]) -> None:
        """Point dead atoms of TopK at positions drawn in proportion to their squared reconstruction error."""
        dead = self.dead().nonzero()[:, 0]
        if len(dead) == 0 or self.options.variant != "topk" or not self.options.train_decoder:
            return
        order = torch.randperm(len(centred), generator=self.generator)[:_POOL_SIZE]
        parameters = self.parameters
        passed = pass_through(centred[order.to(centred.device)], parameters, "topk", self.options.sparsity)
        errors = passed.residual.square().sum(dim=1).cpu()
        if int((errors > 0).sum()) < len(dead):
            return
        chosen = torch.multinomial(errors, len(dead), generator=self.generator).to(centred.device)
        directions = functional.normalize(passed.centred[chosen], dim=1)
        parameters.decoder[dead] = directions
        parameters.encoder[dead] = directions * parameters.encoder.norm(dim=1).median()
        parameters.encoder_bias[dead] = 0.0
        self.steps_silent[dead] = 0
        for parameter in (parameters.encoder, parameters.encoder_bias, parameters.decoder):
            moments = self.optimiser.state[parameter]
            moments["exp_avg"][dead] = 0.0
            moments["exp_avg_sq"][dead] = 0.0

    def finish(
        self, mean: Float[Tensor, " C"], scale: float, records: list[tuple[int, float, float, float]]
    ) -> TrainedAutoencoder:
        """The dictionary as plain arrays."""
        columns = np.array(records, dtype=np.float64).reshape(-1, 4).T
        return TrainedAutoencoder(
            variant=self.options.variant,
            sparsity=self.options.sparsity,
            encoder=_to_numpy(self.parameters.encoder),
            encoder_bias=_to_numpy(self.parameters.encoder_bias),
            decoder=_to_numpy(self.parameters.decoder),
            decoder_bias=_to_numpy(self.parameters.decoder_bias),
            mean=_to_numpy(mean),
            scale=scale,
            l1_coefficient=self.penalty.weight if self.options.variant == "l1" else float("nan"),
            history=TrainingHistory(
                step=columns[0].astype(np.int64), unexplained=columns[1], l0=columns[2], dead_fraction=columns[3]
            ),
        )


class _L1Controller:
    """Steers the weight of the L1 penalty until the running mean of L0 is the target: an integral and a
    proportional part, both on the logarithm, so that it settles within a few hundred steps from any start."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.running_l0 = float(target)
        self.integral = 0.05
        self.weight = self.integral

    def update(self, l0: float) -> float:
        self.running_l0 = 0.9 * self.running_l0 + 0.1 * l0
        excess = max(self.running_l0, 1e-3) / self.target
        self.integral *= math.exp(0.01 * min(2.0, max(-2.0, math.log(excess))))
        self.weight = self.integral * min(4.0, max(0.1, excess))
        return self.weight


class _Batches:
    """Row numbers, shuffled anew for each epoch; a last incomplete batch is left out."""

    def __init__(self, num_rows: int, batch_size: int, generator: torch.Generator) -> None:
        self.num_rows = num_rows
        self.batch_size = min(batch_size, num_rows)
        self.generator = generator
        self.order = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Int[Tensor, " m"]:
        if len(self.order) < self.batch_size:
            self.order = torch.randperm(self.num_rows, generator=self.generator)
        batch, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        return batch


def _normalise(samples: Float[Tensor, "M C"]) -> tuple[Float[Tensor, " C"], float, Float[Tensor, "M C"]]:
    mean = samples.mean(dim=0)
    centred = samples - mean
    scale = float(centred.square().mean().sqrt())
    # A constant layer has nothing but rounding left; it is kept at zero and not blown up.
    if scale <= 1e-6 * float(mean.abs().max()) or scale == 0.0:
        return mean, 1.0, torch.zeros_like(centred)
    return mean, scale, centred / scale


def _draw_with_covariance(
    centred: Float[Tensor, "M C"], num_atoms: int, generator: torch.Generator
) -> Float[Tensor, "A C"]:
    """Gaussian vectors with the covariance of (up to 4096 of) the samples."""
    rows = torch.randperm(len(centred), generator=generator)[:_POOL_SIZE]
    weights = torch.randn(num_atoms, len(rows), generator=generator)
    return weights.to(centred.device) @ centred[rows.to(centred.device)]


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32)
