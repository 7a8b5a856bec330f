"""Hidden units have no order and filters before batch norm no size: both are settled here before weights are compared.

``permutations`` says which units may change places, ``scaling`` which sizes mean nothing, ``matching`` finds the order
that brings one network closest to another, ``given`` does so for symmetries that were given, ``rescaling`` moves what
size a ReLU lets stand in either of two places to one of them.
"""

from meta_baseline.alignment.matching import Alignment, match_weights
from meta_baseline.alignment.permutations import (
    PermutationSpec,
    PermutedAxis,
    UnitGroup,
    apply_permutation,
    check_permutations,
    derive_permutations,
    expand_permutation,
)
from meta_baseline.alignment.rescaling import move_sizes_to_readers
from meta_baseline.alignment.scaling import ScaledLayer, fold_batch_norm, normalises_filters, scale_layer

__all__ = [
    "Alignment",
    "PermutationSpec",
    "PermutedAxis",
    "ScaledLayer",
    "UnitGroup",
    "apply_permutation",
    "check_permutations",
    "derive_permutations",
    "expand_permutation",
    "fold_batch_norm",
    "match_weights",
    "move_sizes_to_readers",
    "normalises_filters",
    "scale_layer",
]
