"""Whether two networks grow more or less alike by adaptation, layer by layer: is their difference there at theta_0?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.adaptation_space.change import compare_geometries


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Inner products of one episode's queries in each layer of one network, before and after adaptation."""

    before: Float[ndarray, "L N N"]
    after: Float[ndarray, "L N N"]


@dataclass(frozen=True, kw_only=True)
class Resemblance:
    """Debiased CKA of two networks' activations of the same queries, by episode and by layer that both have."""

    networks: tuple[str, str]
    roles: tuple[str, ...]
    before: Float[ndarray, "E L"]
    after: Float[ndarray, "E L"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one network makes of the queries of all episodes."""

    name: str
    roles: tuple[str, ...]
    episodes: tuple[Geometry, ...]


def compare_networks(first: Seen, second: Seen) -> Resemblance:
    """How much alike two networks see the same queries, each before its own adaptation and after it."""
    roles = tuple(role for role in first.roles if role in second.roles)
    places = [(first.roles.index(role), second.roles.index(role)) for role in roles]
    before, after = (
        np.array(
            [
                [compare_geometries(getattr(own, which)[i], getattr(other, which)[j])[0] for i, j in places]
                for own, other in zip(first.episodes, second.episodes, strict=True)
            ]
        )
        for which in ("before", "after")
    )
    return Resemblance(networks=(first.name, second.name), roles=roles, before=before, after=after)


def compare_pairs(seen: Sequence[Seen], trained: Sequence[str]) -> tuple[Resemblance, ...]:
    """Meta and baseline; then, as their control, untrained networks of one architecture with each other."""
    by_name = {own.name: own for own in seen}
    pairs = [("meta", "baseline")] if {"meta", "baseline"} <= set(by_name) else []
    controls = [own for own in seen if own.name not in trained]
    pairs += [
        (own.name, other.name)
        for number, own in enumerate(controls)
        for other in controls[number + 1 :]
        if own.name.rpartition(" ")[0] == other.name.rpartition(" ")[0]
    ]
    return tuple(compare_networks(by_name[own], by_name[other]) for own, other in pairs)
