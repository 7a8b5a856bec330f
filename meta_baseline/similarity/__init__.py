"""How alike two representations of the same images are, from their Gram matrices.

A Gram matrix K = X X' [N, N] holds the inner products of all pairs of images; it does not see the order of units, nor
a rotation of them, so every measure here ignores both. Layers of different widths can be compared.

    measure                says                                          unrelated layers     confound out
    debiased_cka           agreement of the two geometries; the default  0                    partial_cka
    minibatch_cka          the same from batches, for very many images   0
    rbf_cka                agreement of near images only                 0                    confound=
    biased_cka             the usual estimate                            expected_biased_cka
    procrustes_distance    angle left after the best rotation            by control
    rank_agreement         Spearman of the distances of images (RSA)     0                    partial_rank_agreement
    compare_distances      RSA by cosine, corr, whitened, rho-a, ...     by comparison
    neighbour_overlap      share of nearest neighbours in common         chance_overlap
    canonical_correlation  agreement up to linear maps; N >= 10 d        its chance

    cka_interval, rank_interval    over images, or over groups of images left out together
    cka_influence                  which images a CKA rests on
    participation_ratio            how many directions a representation uses, without the bias of few images
    principal_components           exact PCA, however wide the layer

The unbiased estimates rest on one matrix per layer: its U-centred Gram matrix (``centre_unbiased``), of which debiased
CKA is the cosine; so a table of layers by layers costs one matrix per layer (``unit_geometry``, ``align``).
"""

from meta_baseline.similarity.canonical import IMAGES_PER_DIMENSION, CanonicalCorrelation, canonical_correlation
from meta_baseline.similarity.cka import (
    align,
    biased_cka,
    cka_matrix,
    debiased_cka,
    partial_cka,
    partial_correlation,
    partial_out,
    unbiased_hsic,
)
from meta_baseline.similarity.components import principal_components
from meta_baseline.similarity.dimension import participation_ratio
from meta_baseline.similarity.gram import FEWEST_IMAGES, centre_unbiased, gram_matrix, unit_geometry
from meta_baseline.similarity.influence import cka_influence
from meta_baseline.similarity.jackknife import LEVEL, cka_interval
from meta_baseline.similarity.kernels import rbf_cka, rbf_gram
from meta_baseline.similarity.minibatch import MinibatchCKA, minibatch_cka
from meta_baseline.similarity.neighbours import (
    NUM_NEIGHBOURS,
    chance_overlap,
    mark_neighbours,
    neighbour_overlap,
    overlap_of,
)
from meta_baseline.similarity.null import expected_biased_cka
from meta_baseline.similarity.procrustes import procrustes_angle, procrustes_distance, unit_scores
from meta_baseline.similarity.rsa import (
    compare_distances,
    partial_rank_agreement,
    rank_agreement,
    rank_distances,
    rank_interval,
    squared_distances,
)

__all__ = [
    "FEWEST_IMAGES",
    "IMAGES_PER_DIMENSION",
    "LEVEL",
    "NUM_NEIGHBOURS",
    "CanonicalCorrelation",
    "MinibatchCKA",
    "align",
    "biased_cka",
    "canonical_correlation",
    "centre_unbiased",
    "chance_overlap",
    "cka_influence",
    "cka_interval",
    "cka_matrix",
    "compare_distances",
    "debiased_cka",
    "expected_biased_cka",
    "gram_matrix",
    "mark_neighbours",
    "minibatch_cka",
    "neighbour_overlap",
    "overlap_of",
    "partial_cka",
    "partial_correlation",
    "partial_out",
    "partial_rank_agreement",
    "participation_ratio",
    "principal_components",
    "procrustes_angle",
    "procrustes_distance",
    "rank_agreement",
    "rank_distances",
    "rank_interval",
    "rbf_cka",
    "rbf_gram",
    "squared_distances",
    "unbiased_hsic",
    "unit_geometry",
    "unit_scores",
]
