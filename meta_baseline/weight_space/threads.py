"""Networks and layers measured side by side, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from meta_baseline.cores import map_in_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_threads(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """``function`` of every item, in order."""
    return map_in_threads(function, items, workers=workers, progress=_in_silence, desc="") if items else []


def _in_silence(items: Iterable[Result], **_: object) -> Iterable[Result]:
    return items
