"""Networks over images: one pass each, reduced inside the hooks, so that memory does not grow with the raw maps.

collection    collect_store, collect_stores, collect_activations: the passes
store         what a pass leaves behind: LayerActivations, ActivationStore, Stores
streams       the reductions of one layer, batch by batch
positions     which cells of a map are worth keeping
recording     hooks on named modules; eval mode; batches as loaders give them
untrained     the controls: step-0 weights and fresh initialisations, ready for a pass
"""

from meta_baseline.activations.collection import collect_activations, collect_store, collect_stores
from meta_baseline.activations.recording import recording
from meta_baseline.activations.store import GRID, ActivationStore, LayerActivations, Stores

__all__ = [
    "GRID",
    "ActivationStore",
    "LayerActivations",
    "Stores",
    "collect_activations",
    "collect_store",
    "collect_stores",
    "recording",
]
