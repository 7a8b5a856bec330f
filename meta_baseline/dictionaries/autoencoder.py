"""A trained sparse dictionary of one layer's channel vectors: encode, decode, measure.

    codes          = activate((x - mean) / scale - decoder_bias) encoder^T + encoder_bias)
    reconstruction = mean + scale * (codes decoder + decoder_bias)

``mean`` is the channel mean of the training positions and ``scale`` one number, their root mean square after that:
channels keep their relative sizes, and most of what would otherwise be dead latents is never born. ``activate`` keeps
the k largest positive values of each position (TopK; Gao et al. 2024, arXiv:2406.04093) or all positive values (ReLU).
Codes are non-negative, so an atom that is active is there, never "minus there".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray
from torch import Tensor

from meta_baseline.dictionaries.fidelity import Fidelity, measure_fidelity
from meta_baseline.errors import UsageError

Variant = Literal["topk", "l1"]


@dataclass(frozen=True, kw_only=True)
class TrainingHistory:
    """How the training went, at evenly spaced steps.

    Attributes:
        step: counted from 1.
        unexplained: mean squared error of the batch over the variance of the training positions.
        l0: mean number of active atoms per position of the batch.
        dead_fraction: atoms that had not been active for a tenth of the run.
    """

    step: Int[ndarray, " T"]
    unexplained: Float[ndarray, " T"]
    l0: Float[ndarray, " T"]
    dead_fraction: Float[ndarray, " T"]


@dataclass(frozen=True, kw_only=True)
class TrainedAutoencoder:
    """A sparse dictionary with the normalisation that belongs to it.

    Attributes:
        variant: "topk" or "l1".
        sparsity: the k of TopK; for L1 the mean number of active atoms that its penalty was steered to.
        encoder, encoder_bias: directions that are read, and thresholds (in units of ``scale``).
        decoder, decoder_bias: directions that are written, each of norm 1 (atoms), and the shared pre-bias.
        mean, scale: what is subtracted from and divides the activations.
        l1_coefficient: weight of the L1 penalty at the end of training; NaN for TopK.
        history: how the training went.
    """

    variant: Variant
    sparsity: int
    encoder: Float32[ndarray, "A C"]
    encoder_bias: Float32[ndarray, " A"]
    decoder: Float32[ndarray, "A C"]
    decoder_bias: Float32[ndarray, " C"]
    mean: Float32[ndarray, " C"]
    scale: float
    l1_coefficient: float
    history: TrainingHistory

    @property
    def num_atoms(self) -> int:
        """A."""
        return len(self.decoder)

    def encode(self, activations: Float[Tensor, "M C"] | Float[Tensor, "N C H W"]) -> Float[Tensor, "M A"]:
        """Non-negative codes of channel vectors (maps are taken position by position)."""
        samples = as_samples(activations)
        if samples.shape[1] != len(self.mean):
            raise UsageError(
                f"The dictionary was trained on {len(self.mean)} channels, found {samples.shape[1]}. "
                "Encode activations of the layer that it was trained on."
            )
        arrays = (self.mean, self.decoder_bias, self.encoder, self.encoder_bias)
        mean, pre_bias, encoder, bias = (torch.from_numpy(array).to(samples.device) for array in arrays)
        scores = ((samples.float() - mean) / self.scale - pre_bias) @ encoder.T + bias
        return activate(scores, self.variant, self.sparsity)

    def decode(self, codes: Float[Tensor, "M A"]) -> Float[Tensor, "M C"]:
        """Channel vectors in the layer's own units."""
        arrays = (self.mean, self.decoder_bias, self.decoder)
        mean, bias, decoder = (torch.from_numpy(array).to(codes.device) for array in arrays)
        return mean + self.scale * (codes @ decoder + bias)

    def measure(
        self,
        activations: Float[Tensor, "M C"] | Float[Tensor, "N C H W"],
        foreground: Bool[ndarray, " M"] | None = None,
    ) -> Fidelity:
        """Variance explained, sparsity, dead and dense atoms on (held-out) activations."""
        samples = as_samples(activations)
        codes = self.encode(samples)
        return measure_fidelity(
            samples.cpu().numpy(), self.decode(codes).cpu().numpy(), codes.cpu().numpy(), foreground=foreground
        )


def as_samples(activations: Float[Tensor, "M C"] | Float[Tensor, "N C H W"]) -> Float[Tensor, "M C"]:
    """One row per position: [M, C] as it is, [N, C, H, W] as its N * H * W channel vectors.

    Raises:
        UsageError: for any other shape.
    """
    if activations.ndim == 4:
        return activations.permute(0, 2, 3, 1).reshape(-1, activations.shape[1])
    if activations.ndim != 2:
        raise UsageError(
            f"Activations of shape {tuple(activations.shape)}. Give [M, C] channel vectors or [N, C, H, W] maps."
        )
    return activations


def activate(scores: Float[Tensor, "M A"], variant: Variant, sparsity: int) -> Float[Tensor, "M A"]:
    """The positive part of all scores (L1), or of each row's ``sparsity`` largest (TopK)."""
    if variant == "l1":
        return scores.relu()
    values, atoms = scores.topk(sparsity, dim=1, sorted=False)
    return torch.zeros_like(scores).scatter(1, atoms, values.relu())
