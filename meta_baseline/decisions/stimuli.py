"""The stimuli that are shown: those on which the two networks disagree, and a few that are looked into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import nn

from meta_baseline.datasets import Stimuli, StimulusDataset
from meta_baseline.decisions.attribution import Attribution, attribute, list_windows
from meta_baseline.models import DecisionRule
from meta_baseline.stimuli.canvas import shrink, to_grey

NUM_SHOWN = 8
"""Disagreements of each kind that are shown."""

PICTURE_SIDE = 64


@dataclass(frozen=True, kw_only=True)
class ShownStimulus:
    """One stimulus with what the two networks make of it.

    Attributes:
        image: its number among the stimuli.
        name: of its file.
        label: its class.
        why: why it is shown, e.g. "only meta is right".
        meta_margin, baseline_margin: in sds of that network's margins over all stimuli; class 1 where positive.
        picture: in grey, white 255.
    """

    image: int
    name: str
    label: int
    why: str
    meta_margin: float
    baseline_margin: float
    picture: UInt8[ndarray, "S S"]


@dataclass(frozen=True, kw_only=True)
class AttributedStimulus:
    """One stimulus with the maps of every network, and the ink pixels that each window covers."""

    shown: ShownStimulus
    ink: Float[ndarray, "h w"]
    attributions: tuple[Attribution, ...]


def choose_disagreements(
    meta: Float[ndarray, " N"], baseline: Float[ndarray, " N"], labels: Int[ndarray, " N"], *, only: str
) -> Int[ndarray, " n"]:
    """Images on which ``only`` ("meta" or "baseline") is right, the most decided on both sides first.

    Decided is the smaller of the two margins' sizes, each in sds of its network's margins.
    """
    right = [(margin > 0) == (labels == 1) for margin in (meta, baseline)]
    wanted = right[0] & ~right[1] if only == "meta" else right[1] & ~right[0]
    decided = np.minimum(np.abs(scale(meta)), np.abs(scale(baseline)))
    rows = np.flatnonzero(wanted)
    return rows[np.argsort(-decided[rows], kind="stable")]


def choose_examples(
    meta: Float[ndarray, " N"], baseline: Float[ndarray, " N"], labels: Int[ndarray, " N"]
) -> dict[int, str]:
    """At most four images with the reason: both right, one per class; and the firmest disagreement of each kind.

    Where both are right the image with the median decidedness of its class is taken: a usual case, not a clear one.
    """
    chosen: dict[int, str] = {}
    right = ((meta > 0) == (labels == 1)) & ((baseline > 0) == (labels == 1))
    decided = np.minimum(np.abs(scale(meta)), np.abs(scale(baseline)))
    for label in (1, 0):
        rows = np.flatnonzero(right & (labels == label))
        if len(rows):
            chosen[int(rows[np.argsort(decided[rows], kind="stable")[len(rows) // 2]])] = "both right"
    for only in ("meta", "baseline"):
        for row in choose_disagreements(meta, baseline, labels, only=only)[:1]:
            chosen[int(row)] = f"only {only} right"
    return chosen


def scale(margin: Float[ndarray, " N"]) -> Float[ndarray, " N"]:
    """Margins in their own sds; the sign stays."""
    spread = float(margin.std())
    return margin / spread if spread > 0 else np.sign(margin).astype(float)


def show_stimuli(
    chosen: Mapping[int, str],
    stimuli: Stimuli,
    meta: Float[ndarray, " N"],
    baseline: Float[ndarray, " N"],
) -> tuple[ShownStimulus, ...]:
    """The chosen images, by number with the reason, as they are drawn."""
    dataset = StimulusDataset(stimuli)
    margins = scale(meta), scale(baseline)
    names = stimuli.image_names
    return tuple(
        ShownStimulus(
            image=row,
            name=PurePath(names[row]).name,
            label=int(stimuli.labels[row]),
            why=why,
            meta_margin=float(margins[0][row]),
            baseline_margin=float(margins[1][row]),
            picture=shrink(to_grey(image.numpy()), PICTURE_SIDE),
        )
        for (row, why), (image, _, _) in zip(chosen.items(), dataset.__getitems__(list(chosen)))
    )


def attribute_stimuli(
    shown: tuple[ShownStimulus, ...],
    stimuli: Stimuli,
    networks: Mapping[str, tuple[nn.Module, DecisionRule]],
    device: str | torch.device,
) -> tuple[AttributedStimulus, ...]:
    """Occlusion and gradient maps of every network for every shown stimulus."""
    images = [image for image, _, _ in StimulusDataset(stimuli).__getitems__([one.image for one in shown])]
    return tuple(
        AttributedStimulus(
            shown=one,
            ink=list_windows(image)[1],
            attributions=tuple(
                attribute(model, image, network=name, rule=rule, device=device)
                for name, (model, rule) in networks.items()
            ),
        )
        for one, image in zip(shown, images)
    )
