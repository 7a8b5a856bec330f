"""Runs that have a name: each a function that returns a full recipe; the command line replaces single fields of one."""

from __future__ import annotations

from meta_baseline.training.recipe import (
    ADAPTING,
    ALGORITHMS,
    ARMS,
    HELD_OUT_TASKS,
    NORM_MODES,
    TRAINED_TASKS,
    Algorithm,
    NormMode,
    Recipe,
    decode_recipe,
    encode_recipe,
)

__all__ = [
    "ADAPTING",
    "ALGORITHMS",
    "ARMS",
    "HELD_OUT_TASKS",
    "NORM_MODES",
    "TRAINED_TASKS",
    "Algorithm",
    "NormMode",
    "Recipe",
    "decode_recipe",
    "demo",
    "demo_32px",
    "encode_recipe",
]


def demo(seed: int = 0) -> Recipe:
    """The demo's pair: 64 px, about three minutes of one core for each arm; accuracies in docs/training.md."""
    return Recipe(seed=seed, precision="bf16")


def demo_32px(seed: int = 0) -> Recipe:
    """The demo's pair for CPUs without bf16 arithmetic: a quarter of the pixels, twice the images."""
    return Recipe(seed=seed, architecture="stack4", image_size=32, precision="fp32", num_images=262_144)
