"""Activation matching: the order of units in which two networks' layers answer most alike to the same images.

An alternative to weight matching that needs images and no correspondence of the layers before: each layer is one linear
assignment of the correlations between its units (Li et al. 2016, arXiv:1511.07543, section 3.2; Ainsworth, Hayase &
Srinivasa 2023, arXiv:2209.04836, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from meta_baseline.activations.recording import Batch, as_input, evaluating, images_of, recording
from meta_baseline.alignment import PermutationSpec, derive_permutations
from meta_baseline.errors import UsageError
from meta_baseline.layers import list_layers


@dataclass(frozen=True, kw_only=True)
class ActivationAlignment:
    """Unit ``permutations[role][i]`` of the baseline answers most like unit i of the meta network.

    Attributes:
        before, after: [U] by role, the correlation over images and positions of the units paired in the given order,
            and in the order found; 0 for units that never change.
    """

    permutations: dict[str, Int[np.ndarray, " U"]]
    before: dict[str, Float[np.ndarray, " U"]]
    after: dict[str, Float[np.ndarray, " U"]]


def match_activations(
    meta: nn.Module, baseline: nn.Module, batches: Iterable[Batch], *, spec: PermutationSpec | None = None
) -> ActivationAlignment:
    """Pair the units of every hidden layer by the correlation of their outputs on the same images.

    Sums are kept, not activations, so memory does not grow with the number of images. Maps of a pair must have one
    size. With ``spec``, a group is matched at the last layer whose outputs belong to it.

    Raises:
        UsageError: when there are no images, or the maps of a pair differ in size.
    """
    points = [_record_at(model, spec) for model in (meta, baseline)]
    roles = [role for role in points[0] if role in points[1]]
    sums: dict[str, _Sums] = {}
    device = next(meta.parameters()).device
    for batch in batches:
        outputs: list[dict[str, Tensor]] = []
        for model, names in zip((meta, baseline), points):
            with evaluating(model), recording(model, [names[role] for role in roles]) as recorded:
                model(as_input(model, images_of(batch), device))
                outputs.append({role: _by_unit(recorded[names[role]]) for role in roles})
        for role in roles:
            first, second = outputs[0][role], outputs[1][role]
            if first.shape != second.shape:
                raise UsageError(
                    f"{role} gives {tuple(first.shape)} units and positions in the meta and {tuple(second.shape)} in "
                    "the baseline network. Match networks of one architecture, or their weights."
                )
            sums.setdefault(role, _Sums(len(first))).add(first, second)
    if not sums:
        raise UsageError("Matching by activations needs images and a hidden layer in both networks; found none.")
    correlations = {role: total.correlate() for role, total in sums.items()}
    permutations = {role: linear_sum_assignment(values, maximize=True)[1] for role, values in correlations.items()}
    return ActivationAlignment(
        permutations=permutations,
        before={role: np.diag(values).copy() for role, values in correlations.items()},
        after={role: values[np.arange(len(values)), permutations[role]] for role, values in correlations.items()},
    )


class _Sums:
    """Running first and second moments of the units of one layer of two networks."""

    def __init__(self, num_units: int) -> None:
        self.count = 0
        self.means = [np.zeros(num_units), np.zeros(num_units)]
        self.squares = [np.zeros(num_units), np.zeros(num_units)]
        self.products = np.zeros((num_units, num_units))

    def add(self, first: Tensor, second: Tensor) -> None:
        self.count += first.shape[1]
        for i, values in enumerate((first, second)):
            self.means[i] += values.sum(dim=1).double().cpu().numpy()
            self.squares[i] += values.square().sum(dim=1).double().cpu().numpy()
        self.products += (first @ second.T).double().cpu().numpy()

    def correlate(self) -> Float[np.ndarray, "U U"]:
        means = [total / self.count for total in self.means]
        variances = [np.maximum(s / self.count - m**2, 0.0) for s, m in zip(self.squares, means)]
        # Sums in single precision leave a variance of rounding size where nothing varies.
        sizes = [np.sqrt(v) * (v > 1e-5 * (s / self.count + 1e-30)) for v, s in zip(variances, self.squares)]
        scale = sizes[0][:, None] * sizes[1][None, :]
        covariance = self.products / self.count - np.outer(means[0], means[1])
        return np.where(scale > 0, covariance / np.where(scale > 0, scale, 1.0), 0.0)


def _record_at(model: nn.Module, spec: PermutationSpec | None) -> dict[str, str]:
    """By role or group, the module after whose non-linearity its units are compared."""
    known = derive_permutations(model) if spec is None else spec
    points: dict[str, str] = {}
    for group in known.groups:
        owned = {axis.tensor for axis in group.axes if axis.axis == 0}
        for layer in list_layers(model):
            if f"{layer.name}.weight" in owned:
                points[group.role] = layer.activation
    return points


def _by_unit(output: Tensor) -> Tensor:
    """[N, U, ...] as [U, N * positions]."""
    return output.transpose(0, 1).flatten(1).float()
