"""The training loss: cross-entropy of the very decision by which the network is judged.

A network that answers by its last logit is trained on its last logit, one that answers by the larger of two on both
(``models.decide``). In the published pair the two came apart: logit 1 was trained, both logits decided.
"""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from meta_baseline.inner_loop import Loss
from meta_baseline.models import DecisionRule, decide, decision_margin


def classification_loss(rule: DecisionRule) -> Loss:
    """The mean cross-entropy, in nats, of answering by ``rule``.

    Both rules say "class 1" where a margin is positive, and the binary cross-entropy of that margin is the loss: for
    two logits their difference, which is the softmax cross-entropy; for one, the logit itself.
    """

    def mean_loss(logits: Float[Tensor, "N K"], labels: Int64[Tensor, " N"]) -> Float[Tensor, ""]:
        margin = decision_margin(logits, rule)
        return functional.binary_cross_entropy_with_logits(margin, labels.to(margin.dtype))

    return mean_loss


def count_correct(logits: Float[Tensor, "N K"], labels: Int64[Tensor, " N"], rule: DecisionRule) -> int:
    """Number of images whose answer is their label."""
    return int((decide(logits.detach(), rule) == labels.bool()).sum())
