"""What an analysis gives back: estimates, checks, findings; and any frozen result to a folder and back.

One analysis is one function of values that returns one frozen dataclass. Every such result carries three tuples,
``estimates``, ``checks`` and ``findings``, beside its own arrays, so that the report can be written without knowing
what was analysed. Drawing, tabulating and saving are functions of the result.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from meta_baseline.errors import InputError

Verdict = Literal["pass", "note", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number that may go into a paper, with everything that has to stand beside it.

    Attributes:
        name: dotted and unique within an analysis, e.g. ``conv1.cka.meta_baseline``.
        label: the same in words.
        value: the number; NaN where it is undefined.
        unit: e.g. "accuracy", "fraction of variance", "nats", "" for a pure number.
        low, high: interval at ``level``; None when there is none.
        interval: how the interval was made and over what, e.g. "bootstrap over images"; "" when there is none.
        reference: the null or control value that the number is judged against; None when there is none.
        reference_label: which control that is, e.g. "untrained network, mean of 3 seeds".
        n, n_unit: how many of what the number rests on, e.g. 1000 "images".
        descriptive: True for a number about these two checkpoints alone, from which no population claim follows.
    """

    name: str
    label: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    interval: str = ""
    reference: float | None = None
    reference_label: str = ""
    n: int
    n_unit: str
    descriptive: bool = True


@dataclass(frozen=True, kw_only=True)
class Check:
    """A methodological check: a code such as ``probe.control_task``, a verdict, and one sentence that says why.

    ``pass`` is shown small, ``note`` is worth knowing, ``warn`` limits what may be concluded, ``fail`` forbids it.
    """

    code: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence for the first half page, with its numbers in it.

    ``importance`` in [0, 1] orders findings across analyses: 0.9 and above is for what forbids or overturns the
    comparison, 0.7 for a difference well beyond its control, 0.4 for a difference within it, 0.2 for a description.
    ``estimates`` names the estimates that the sentence rests on. ``beyond_control`` says whether what was found exceeds
    its control; None for a description that was not judged against one. That two networks do *not* differ can be the
    main finding, so importance does not tell.
    """

    sentence: str
    importance: float
    estimates: tuple[str, ...] = ()
    beyond_control: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a network came from and how it was used; it stands beside every number about that network."""

    path: str
    sha256: str
    architecture: str
    parameters: str
    decision_rule: str
    input_scaling: str
    notes: tuple[str, ...] = ()


@runtime_checkable
class Result(Protocol):
    """What every analysis returns: a frozen dataclass with at least these three fields."""

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """Every number that may be cited."""
        ...

    @property
    def checks(self) -> tuple[Check, ...]:
        """Methodological checks of this analysis."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the analysis says in words."""
        ...


def save_result(result: Any, folder: str | Path) -> None:
    """Write any frozen dataclass of this package to ``folder`` as result.json and, for its arrays, result.safetensors.

    Fields may be numbers, strings, booleans, None, NumPy arrays, dataclasses of this package, and tuples and
    string-keyed dicts of these, nested to any depth.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    tree = _encode(result, arrays, "result")
    save_file(arrays, folder / "result.safetensors")
    (folder / "result.safetensors").chmod(0o644)  # like every other file of a result
    (folder / "result.json").write_text(json.dumps(tree, indent=1, allow_nan=True) + "\n", encoding="utf-8")


def load_result(folder: str | Path) -> Any:
    """Read back what ``save_result`` wrote, equal field by field.

    Raises:
        InputError: when the folder holds no result, or one of a class that this package does not define.
    """
    folder = Path(folder)
    try:
        tree = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "result.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"No saved result in {folder}: {error}. Run the analysis again.") from error
    return _decode(tree, arrays)


def _encode(value: Any, arrays: dict[str, NDArray[Any]], key: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {f.name: _encode(getattr(value, f.name), arrays, f"{key}.{f.name}") for f in dataclasses.fields(value)}
        return {"__class__": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    if isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        if array.dtype.kind in "US":
            return {"__strings__": array.tolist()}
        arrays[key] = np.ascontiguousarray(array)
        return {"__array__": key}
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        return {"__tuple__": [_encode(item, arrays, f"{key}.{i}") for i, item in enumerate(items)]}
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {"__dict__": {str(k): _encode(item, arrays, f"{key}.{k}") for k, item in named.items()}}
    if isinstance(value, np.generic):
        return cast("np.generic[Any]", value).item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"A result may not hold a {type(value).__name__} (at {key}).")


def _decode(node: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if not isinstance(node, dict):
        return node
    tree = cast("dict[str, Any]", node)
    if "__class__" in tree:
        kind = _result_class(str(tree["__class__"]))
        return kind(**{name: _decode(item, arrays) for name, item in tree["fields"].items()})
    if "__array__" in tree:
        return arrays[tree["__array__"]]
    if "__strings__" in tree:
        return np.array(tree["__strings__"])
    if "__tuple__" in tree:
        return tuple(_decode(item, arrays) for item in tree["__tuple__"])
    return {name: _decode(item, arrays) for name, item in tree["__dict__"].items()}


def _result_class(name: str) -> type:
    module, _, qualname = name.partition(":")
    # A saved result is untrusted: only dataclasses that this package defines may be built from it.
    if module.split(".")[0] == "meta_baseline":
        try:
            kind = getattr(importlib.import_module(module), qualname, None)
        except ModuleNotFoundError:
            kind = None
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return kind
    raise InputError(f"Unknown kind of result {name!r}. It was saved by another version; run the analysis again.")
