"""Networks over images: one pass each, reduced inside the hooks, so that memory does not grow with the raw maps.

collection    collect_store, collect_stores: the passes of a study
plain         collect_activations, collect_grams: plain arrays of any modules, for scripts
fusing        the same network with less work, for the time of a pass
store         what a pass leaves behind: LayerActivations, ActivationStore, Stores
streams       the reductions of one layer, batch by batch
rows          arrays that come batch by batch, in memory or in a file
objects       where in a map the objects of an image are
flattened     Gram matrices of whole maps, exact, within a bound of memory
archive       a store on disk, known by what it was made from
positions     which cells of a map are worth keeping
recording     hooks on named modules; eval mode; batches as loaders give them
untrained     the controls: step-0 weights and fresh initialisations, ready for a pass
"""

from meta_baseline.activations.collection import collect_store, collect_stores
from meta_baseline.activations.plain import collect_activations, collect_grams
from meta_baseline.activations.recording import recording
from meta_baseline.activations.store import GRID, ActivationStore, LayerActivations, Stores

__all__ = [
    "GRID",
    "ActivationStore",
    "LayerActivations",
    "Stores",
    "collect_activations",
    "collect_grams",
    "collect_store",
    "collect_stores",
    "recording",
]
