"""A task: its rule in words and the function that draws it, many images at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meta_baseline.stimuli.figures import Batch
from meta_baseline.stimuli.scene import Scene

Variation = Callable[..., "tuple[Scene, Scene] | None"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One same-different task.

    Attributes:
        name: as on the command line.
        code: number that keys the random generators; never changes, so that stimuli can be made again.
        rule: the rule in one sentence.
        class_1_means: what label 1 says about an image.
        shortcuts: ways to do better than chance without comparing the two objects.
        identity: what is held fixed when shape identities repeat.
        latents: names of the latents that come with every image.
        colour: whether images are RGB instead of grey.
        needs_compilation: whether the first image waits for a compiler.
        draw_batch: (keys [N], labels [N], identity keys [N] or None) to N images. An image depends on its own key,
            label and identity key alone; images with one identity key show the same shapes at other places.
        vary: by latent, (rng, label, shapes or None) to two images that differ in this latent and what follows from
            it, the first with this label; None where the rule throws the attempt away (always, where given shapes leave
            no room for the change).
    """

    name: str
    code: int
    rule: str
    class_1_means: str
    shortcuts: tuple[str, ...] = ()
    identity: str
    latents: tuple[str, ...]
    colour: bool = False
    needs_compilation: bool = False
    draw_batch: Callable[..., Batch]
    vary: Mapping[str, Variation] = field(default_factory=dict)
