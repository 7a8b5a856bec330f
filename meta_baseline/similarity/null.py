"""What the biased CKA gives for layers that have nothing to do with each other."""

from __future__ import annotations

import math


def expected_biased_cka(num_images: int, first_width: int, second_width: int) -> float:
    """Biased linear CKA of two independent layers of white noise, p and q units wide, over N images.

    sqrt(p q / ((p + m + 1) (q + m + 1))) with m = N - 1, from the expected traces of Wishart matrices:
    E tr(K L) = m p q and E tr(K K) = m p (p + m + 1). Close to 1 for layers wide beside N (on the bias: Murphy et al.
    2024, arXiv:2405.01012).
    """
    m = num_images - 1
    return math.sqrt(first_width * second_width / ((first_width + m + 1) * (second_width + m + 1)))
