"""The loss of a sparse dictionary and its gradient, in closed form.

    s = (x - b) E^T + e        scores: encoder E, its bias e, decoder bias b
    z = activate(s)            codes: the k largest positive scores, or all positive ones
    r = z D + b - x            residual: atoms are the rows of D
    loss = mean r^2            (+ penalty * mean over positions of sum z, for L1)

Written out instead of left to autograd because a step is short: five matrix products and little else, about half the
time for the narrow layers. The codes' mask is constant almost everywhere, so the gradient goes through it unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meta_baseline.dictionaries.autoencoder import Variant, activate


@dataclass(kw_only=True)
class Parameters:
    """What is trained; also the gradient of each, under the same name.

    Attributes:
        encoder, encoder_bias: E and e.
        decoder, decoder_bias: D and b.
    """

    encoder: Float[Tensor, "A C"]
    encoder_bias: Float[Tensor, " A"]
    decoder: Float[Tensor, "A C"]
    decoder_bias: Float[Tensor, " C"]

    def all(self) -> tuple[Tensor, ...]:
        """All four, in the order of the attributes."""
        return self.encoder, self.encoder_bias, self.decoder, self.decoder_bias


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One batch gone through the dictionary, with what its gradients need.

    Attributes:
        centred: x - b.
        scores, codes: s and z.
        residual: r.
    """

    centred: Float[Tensor, "m C"]
    scores: Float[Tensor, "m A"]
    codes: Float[Tensor, "m A"]
    residual: Float[Tensor, "m C"]


def pass_through(batch: Float[Tensor, "m C"], parameters: Parameters, variant: Variant, sparsity: int) -> Pass:
    """Encode and decode a batch."""
    centred = batch - parameters.decoder_bias
    scores = torch.addmm(parameters.encoder_bias, centred, parameters.encoder.T)
    codes = activate(scores, variant, sparsity)
    residual = torch.addmm(parameters.decoder_bias, codes, parameters.decoder).sub_(batch)
    return Pass(centred=centred, scores=scores, codes=codes, residual=residual)


def differentiate(passed: Pass, parameters: Parameters, penalty: float = 0.0) -> Parameters:
    """Gradient of mean r^2 + penalty * mean over positions of sum z."""
    weight = 2 / passed.residual.numel()
    by_codes = (passed.residual @ parameters.decoder.T).mul_(weight)
    if penalty:
        by_codes += penalty / len(passed.codes)
    by_scores = by_codes.mul_(passed.codes > 0)
    by_bias = by_scores.sum(dim=0)
    return Parameters(
        encoder=by_scores.T @ passed.centred,
        encoder_bias=by_bias,
        decoder=(passed.codes.T @ passed.residual).mul_(weight),
        decoder_bias=weight * passed.residual.sum(dim=0) - by_bias @ parameters.encoder,
    )


def add_auxiliary(
    gradient: Parameters, passed: Pass, parameters: Parameters, dead: Int[Tensor, " D"], *, sparsity: int, weight: float
) -> None:
    """Add the gradient of AuxK: dead atoms, k of them at a time, explain what the living leave over.

    ``weight`` * mean (residual + z' D')^2 / mean residual^2, where z' are the codes of the dead atoms alone and the
    residual counts as given (Gao et al. 2024, arXiv:2406.04093, section 2.4).
    """
    codes = activate(passed.scores[:, dead], "topk", min(sparsity, len(dead)))
    atoms = parameters.decoder[dead]
    left = torch.addmm(passed.residual, codes, atoms)
    left.mul_(2 * weight / (left.numel() * passed.residual.square().mean().clamp_min(1e-12)))
    by_scores = (left @ atoms.T).mul_(codes > 0)
    by_bias = by_scores.sum(dim=0)
    gradient.encoder[dead] += by_scores.T @ passed.centred
    gradient.encoder_bias[dead] += by_bias
    gradient.decoder[dead] += codes.T @ left
    gradient.decoder_bias -= by_bias @ parameters.encoder[dead]
