"""One pass of a network over the images, reduced inside the hooks."""

from __future__ import annotations

from meta_baseline.activation_store import GRID, ActivationStore, LayerActivations, Stores

__all__ = ["GRID", "ActivationStore", "LayerActivations", "Stores"]
