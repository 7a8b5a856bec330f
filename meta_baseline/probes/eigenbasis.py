"""A layer's features, standardised and rotated into the eigenbasis of the training part.

Ridge and L2 logistic regression see their inputs through inner products alone, so nothing is lost by describing N
images in at most N_train directions. One eigendecomposition per layer and training split then serves every target,
fold and penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

BLOCK = 2048
"""Features standardised at a time, so that the float64 copy of a wide layer never exists as a whole."""


@dataclass(frozen=True, kw_only=True)
class EigenBasis:
    """Coordinates of the training and the test images, in order of decreasing variance.

    Attributes:
        train: coordinates; columns are centred and orthogonal.
        test: coordinates of images that had no part in scaling or rotation.
        eigenvalues: sums of squares of the columns of ``train``.
        mean_square: mean squared norm of a training image, which is the number of features that vary.
    """

    train: Float[ndarray, "N1 Q"]
    test: Float[ndarray, "N2 Q"]
    eigenvalues: Float[ndarray, " Q"]
    mean_square: float


def rotate(features: Float[ndarray, "N D"], train: Bool[ndarray, " N"]) -> EigenBasis:
    """Standardise with the training images' means and standard deviations, then rotate.

    Features whose training standard deviation is below 1e-5 of their root mean square are left out: dead units, and
    constant ones whose rounding errors would be blown up to unit variance.
    """
    num_train = int(train.sum())
    if features.shape[1] < num_train:
        scaled = standardise(features, train)
        values, vectors = np.linalg.eigh(scaled[train].T @ scaled[train])
        keep = _significant(values)
        coordinates = scaled @ vectors[:, keep][:, ::-1]
    else:
        gram = np.zeros((len(features), len(features)))
        for start in range(0, features.shape[1], BLOCK):
            block = standardise(features[:, start : start + BLOCK], train)
            gram += block @ block.T
        values, vectors = np.linalg.eigh(gram[np.ix_(train, train)])
        keep = _significant(values)
        coordinates = gram[:, train] @ (vectors[:, keep] / np.sqrt(values[keep]))[:, ::-1]
    eigenvalues = values[keep][::-1].copy()
    return EigenBasis(
        train=coordinates[train],
        test=coordinates[~train],
        eigenvalues=eigenvalues,
        mean_square=float(eigenvalues.sum() / num_train),
    )


def standardise(features: Float[ndarray, "N D"], train: Bool[ndarray, " N"]) -> Float[ndarray, "N D2"]:
    """Features that vary on the training images, with mean 0 and variance 1 there, in float64.

    Every value is clipped to the range of its feature on the training images. A unit that fired weakly on one of them
    has a standard deviation near zero, and a test image on which it fires in earnest would lie thousands of deviations
    out: one unit of one image would then decide the score of a layer.
    """
    values = np.asarray(features, dtype=np.float64)
    values = values.clip(values[train].min(axis=0, initial=np.inf), values[train].max(axis=0, initial=-np.inf))
    mean, sd = values[train].mean(axis=0), values[train].std(axis=0)
    varies = sd > 1e-5 * np.sqrt(mean**2 + sd**2)
    return (values[:, varies] - mean[varies]) / sd[varies]


def _significant(values: Float[ndarray, " Q"]) -> Bool[ndarray, " Q"]:
    # An empty layer (every unit dead) has no largest eigenvalue.
    return values > 1e-10 * max(values.max(initial=0.0), 1e-300)
