"""A small non-linear probe that starts from the linear one, so that its gain is what linearity missed.

The logit is that of the optimal linear probe plus the output of a perceptron with one hidden layer, which starts at
zero; training stops where left-out folds are predicted best, possibly before the first step. A layer without any
non-linear information therefore gains about nothing, where a perceptron of its own would lose to the linear probe and
hide that. On training images the linear logits are those of fits that left the image's fold out: in-sample logits
would leave nothing to learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from meta_baseline.probes.eigenbasis import EigenBasis


@dataclass(frozen=True, kw_only=True)
class MlpOptions:
    """The perceptron and its training, as small as 1000 images can fill.

    Of the settings tried on planted interactions (XOR, radius) among 60 correlated directions, these found the most:
    XOR of the two strongest directions 0.73 bits, against 0.40 with 64 units on 64 components and nothing with 128.

    Attributes:
        num_components: numbers of principal components that it may see; the left-out folds choose one.
        num_hidden: rectified units.
        num_steps: of Adam on the full batch, at most; stopping chooses one of them.
        patience: steps without improvement on the left-out folds after which training ends.
        learning_rate, weight_decay: of Adam, decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101).
    """

    num_components: tuple[int, ...] = (16, 64)
    num_hidden: int = 32
    num_steps: int = 200
    patience: int = 20
    learning_rate: float = 2e-2
    weight_decay: float = 0.3


def fit_mlp(
    basis: EigenBasis,
    outcomes: Float[ndarray, " N1"],
    folds: Int[ndarray, " N1"],
    train_logits: Float[ndarray, " N1"],
    test_logits: Float[ndarray, " N2"],
    *,
    seed: int,
    options: MlpOptions | None = None,
) -> Float[ndarray, " N2"]:
    """Logits of the test images by linear probe plus perceptron.

    All left-out folds and the final fit are trained side by side from one initialisation. The number of components and
    of steps are those with the lowest cross-entropy over the left-out folds; the final fit's test logits after so many
    steps are returned.

    Args:
        basis: of the training images.
        outcomes: 0 or 1.
        folds: of the training images; images of one group share a fold.
        train_logits: of the linear probe, each from a fit without the image's fold.
        test_logits: of the linear probe.
        seed: of the initialisation.
        options: see ``MlpOptions``.
    """
    options = options or MlpOptions()
    best_loss, best_logits = np.inf, test_logits.copy()
    available = basis.train.shape[1]
    for num in sorted({min(num, available) for num in options.num_components if available}):
        loss, logits = _train(basis, num, outcomes, folds, train_logits, test_logits, seed, options)
        if loss < best_loss:
            best_loss, best_logits = loss, logits
    return best_logits


def _train(
    basis: EigenBasis,
    num: int,
    outcomes: ndarray,
    folds: ndarray,
    train_logits: ndarray,
    test_logits: ndarray,
    seed: int,
    options: MlpOptions,
) -> tuple[float, Float[ndarray, " N2"]]:
    """Lowest summed cross-entropy over the left-out folds in nats, and the test logits after as many steps."""
    # One scale for all components keeps their relative variance: whitened to equal variance, the few that carry the
    # interaction drown in the others (XOR of two of 60 equal directions is out of reach of 800 images).
    scale = np.sqrt(basis.eigenvalues[:num].mean() / len(basis.train))
    train = torch.from_numpy((basis.train[:, :num] / scale).astype(np.float32))
    test = torch.from_numpy((basis.test[:, :num] / scale).astype(np.float32))
    wanted = torch.from_numpy(outcomes.astype(np.float32))
    left_out = torch.from_numpy(np.stack([folds == fold for fold in np.unique(folds)]).astype(np.float32))
    fitted = torch.cat([1 - left_out, torch.ones(1, len(wanted))])
    offset = torch.from_numpy(train_logits.astype(np.float32))

    networks = _Perceptrons(len(fitted), num, options.num_hidden, seed)
    optimiser = torch.optim.AdamW(networks.parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    best_loss, best_step, best_logits = np.inf, 0, test_logits
    for step in range(options.num_steps + 1):
        with torch.enable_grad():
            output = networks(train) + offset
            losses = functional.binary_cross_entropy_with_logits(output, wanted.expand_as(output), reduction="none")
            loss = ((losses * fitted).sum(dim=1) / fitted.sum(dim=1)).sum()
        held_out = float((losses[:-1].detach() * left_out).sum())
        if held_out < best_loss:
            best_loss, best_step = held_out, step
            with torch.no_grad():
                best_logits = test_logits + networks(test, last=True)[0].double().numpy()
        elif step - best_step >= options.patience:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return best_loss, best_logits


class _Perceptrons:
    """Several perceptrons of one shape and one initialisation, run side by side; the output layer starts at zero."""

    def __init__(self, num: int, num_inputs: int, num_hidden: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(num_inputs, num_hidden, generator=generator) * (2.0 / num_inputs) ** 0.5
        self.first = first.repeat(num, 1, 1).requires_grad_()
        self.first_bias = torch.zeros(num, 1, num_hidden).requires_grad_()
        self.second = torch.zeros(num, num_hidden, 1).requires_grad_()
        self.second_bias = torch.zeros(num, 1, 1).requires_grad_()
        self.parameters = [self.first, self.first_bias, self.second, self.second_bias]

    def __call__(self, inputs: Tensor, *, last: bool = False) -> Tensor:
        first, first_bias, second, second_bias = (value[-1:] if last else value for value in self.parameters)
        hidden = torch.relu(torch.matmul(inputs, first) + first_bias)
        return (torch.matmul(hidden, second) + second_bias).squeeze(-1)
