"""Many L2-penalised logistic regressions over the same inputs, solved together to optimality.

Column b minimises  sum_{i in rows b} log(1 + exp(-t_i (z_i w + c))) + (penalty_b / 2) |w|^2  with t = 2 y - 1 and the
intercept c left unpenalised. In scikit-learn's terms ``C = 1 / penalty``. Solving the folds and penalties of a
cross-validation as columns turns matrix-vector products into matrix-matrix ones.

The solver is L-BFGS (Nocedal & Wright 2006, algorithm 7.5), one history per column. In the eigenbasis of the inputs
the Hessian is bounded by the diagonal matrix eigenvalue / 4 + penalty (Boehning & Lindsay 1988,
doi:10.1007/BF00049423); that bound is the preconditioner, so badly scaled inputs cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.special import expit

HISTORY = 10
"""Past steps that L-BFGS remembers."""


@dataclass(frozen=True, kw_only=True)
class LogisticSolutions:
    """The optimum of every column: logits are ``inputs @ weights + intercepts``."""

    weights: Float[ndarray, "Q B"]
    intercepts: Float[ndarray, " B"]
    converged: Bool[ndarray, " B"]
    num_iterations: int


def solve_logistic(
    inputs: Float[ndarray, "N Q"],
    eigenvalues: Float[ndarray, " Q"],
    outcomes: Float[ndarray, "N B"],
    rows: Float[ndarray, "N B"],
    penalties: Float[ndarray, " B"],
    *,
    start: tuple[Float[ndarray, "Q B"], Float[ndarray, " B"]] | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
) -> LogisticSolutions:
    """Solve every column until no typical image's logit is further than ``tolerance`` from its optimum.

    The penalty makes the loss strongly convex, so |w - w*| <= |gradient| / penalty is a guarantee, not a guess; it is
    turned into a bound on logits by the root mean squared row norm of the inputs.

    Args:
        inputs: rows in the eigenbasis of their centred Gram matrix (``eigenbasis.EigenBasis.train``); any other inputs
            give the same optimum more slowly.
        eigenvalues: of ``inputs.T @ inputs``, its diagonal.
        outcomes: 0 or 1; a column may be another target, another penalty or another fold.
        rows: 1 where an image belongs to the column's training part, else 0; both classes must be among them.
        penalties: > 0, on the scale of the summed loss.
        start: weights and intercepts to start from; zeros when None.
        tolerance: in logits.
        max_iterations: columns that need more come back with ``converged`` False.
    """
    num_rows, num_directions = inputs.shape
    # Columns that have converged leave, so `living` maps the columns still at work to their place in the answer.
    design = np.concatenate([inputs, np.ones((num_rows, 1))], axis=1)
    answer = np.zeros((num_directions + 1, len(penalties)))
    if start is not None:
        answer[:-1], answer[-1] = start
    ridge = np.broadcast_to(penalties, answer.shape).copy()
    ridge[-1] = 0.0
    bound = np.append(eigenvalues, num_rows)[:, None] * (rows.mean(axis=0) / 4)
    row_norm = float(np.sqrt(eigenvalues.sum() / num_rows))

    work = _Columns(design=design, outcomes=outcomes, rows=rows, ridge=ridge, inverse=1.0 / (bound + ridge))
    living = np.arange(len(penalties))
    converged = np.zeros(len(penalties), dtype=bool)
    point = answer.copy()
    logits = design @ point
    gradient = work.gradient(point, logits)
    steps: list[_Step] = []
    iteration = 0
    while True:
        slope = np.linalg.norm(gradient[:-1], axis=0) * row_norm / work.ridge[0]
        flat = np.abs(gradient[-1]) <= tolerance * work.num_effective(logits)
        done = (slope <= tolerance) & flat
        if done.any():
            answer[:, living[done]] = point[:, done]
            converged[living[done]] = True
            keep = ~done
            living, point, logits, gradient = living[keep], point[:, keep], logits[:, keep], gradient[:, keep]
            work, steps = work.take(keep), [step.take(keep) for step in steps]
        if not len(living) or iteration == max_iterations:
            break
        iteration += 1
        direction = -_apply_inverse_hessian(gradient, steps, work.inverse)
        toward = design @ direction
        length = work.search(point, logits, direction, toward)
        move, logits = length * direction, logits + length * toward
        point = point + move
        before, gradient = gradient, work.gradient(point, logits)
        steps = [*steps[-(HISTORY - 1) :], _Step.between(move, gradient - before)]
    answer[:, living] = point
    return LogisticSolutions(weights=answer[:-1], intercepts=answer[-1], converged=converged, num_iterations=iteration)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One remembered step of every column: the move, the change of the gradient, and 1 / their product."""

    move: Float[ndarray, "Q1 B"]
    change: Float[ndarray, "Q1 B"]
    reciprocal: Float[ndarray, " B"]

    @staticmethod
    def between(move: ndarray, change: ndarray) -> _Step:
        product = _dot(move, change)
        # Strict convexity makes the product positive; rounding close to the optimum may not: such a step is ignored.
        usable = product > 1e-14 * np.sqrt(_dot(move, move) * _dot(change, change))
        reciprocal = np.divide(1.0, product, out=np.zeros_like(product), where=usable)
        return _Step(move=move, change=change, reciprocal=reciprocal)

    def take(self, keep: Bool[ndarray, " B"]) -> _Step:
        return _Step(move=self.move[:, keep], change=self.change[:, keep], reciprocal=self.reciprocal[keep])


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """What the loss of every living column is made of; the last row of design and ridge is the intercept's."""

    design: Float[ndarray, "N Q1"]
    outcomes: Float[ndarray, "N B"]
    rows: Float[ndarray, "N B"]
    ridge: Float[ndarray, "Q1 B"]
    inverse: Float[ndarray, "Q1 B"]

    def gradient(self, point: ndarray, logits: ndarray) -> Float[ndarray, "Q1 B"]:
        return self.design.T @ self.residuals(logits) + self.ridge * point

    def residuals(self, logits: ndarray) -> Float[ndarray, "N B"]:
        return self.rows * (expit(logits) - self.outcomes)

    def num_effective(self, logits: ndarray) -> Float[ndarray, " B"]:
        """Curvature of the loss along the intercept."""
        rate = expit(logits)
        return (self.rows * rate * (1 - rate)).sum(axis=0)

    def take(self, keep: Bool[ndarray, " B"]) -> _Columns:
        return _Columns(
            design=self.design,
            outcomes=self.outcomes[:, keep],
            rows=self.rows[:, keep],
            ridge=self.ridge[:, keep],
            inverse=self.inverse[:, keep],
        )

    def search(self, point: ndarray, logits: ndarray, direction: ndarray, toward: ndarray) -> Float[ndarray, " B"]:
        """Step lengths, 1 where that does not overshoot; found by slopes alone, which stay exact near the optimum."""
        linear = _dot(self.ridge * point, direction)
        quadratic = _dot(self.ridge * direction, direction)

        def slope(length: Float[ndarray, " B"]) -> Float[ndarray, " B"]:
            residuals = self.residuals(logits + length * toward)
            return _dot(residuals, toward) + linear + length * quadratic

        length = np.ones(point.shape[1])
        at_start = slope(np.zeros_like(length))
        lower, below, upper = np.zeros_like(length), at_start, np.full_like(length, np.inf)
        for _ in range(20):
            here = slope(length)
            overshot = here > 0.5 * np.abs(at_start)
            if not overshot.any():
                break
            upper = np.where(overshot, length, upper)
            # Secant between the last point on the falling side and the overshoot; the slope is increasing there.
            share = below / np.where(overshot, below - here, below)
            length = np.where(overshot, lower + np.clip(share, 0.05, 0.95) * (upper - lower), length)
        return length


def _apply_inverse_hessian(gradient: ndarray, steps: list[_Step], inverse: ndarray) -> Float[ndarray, "Q1 B"]:
    vector = gradient.copy()
    factors = []
    for step in reversed(steps):
        factor = step.reciprocal * _dot(step.move, vector)
        vector -= factor * step.change
        factors.append(factor)
    vector *= inverse
    if steps:
        last = steps[-1]
        size = last.reciprocal * _dot(last.change, inverse * last.change)
        vector /= np.where(size > 0, size, 1.0)
    for step, factor in zip(steps, reversed(factors)):
        vector += step.move * (factor - step.reciprocal * _dot(step.change, vector))
    return vector


def _dot(first: ndarray, second: ndarray) -> Float[ndarray, " B"]:
    return np.einsum("qb,qb->b", first, second)
