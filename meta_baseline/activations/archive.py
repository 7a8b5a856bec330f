"""A pass on disk: the arrays of a store as plain files with an index, mapped into memory when they are read.

What a folder holds is known by its key, a hash of everything the pass depends on: weights, buffers, preprocessing,
stimuli, what is recorded where, and the code that does it. The folder is committed whole (``commits.committing``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from meta_baseline.activations.rows import cannot_write, map_array
from meta_baseline.activations.store import ActivationStore, LayerActivations
from meta_baseline.commits import hash_file, hash_values
from meta_baseline.datasets import Stimuli

_INDEX = "store.json"
_OF_STIMULI = ("labels", "groups")


def hash_pass(model: nn.Module, stimuli_hash: str, *options: object) -> str:
    """The key of a pass of ``model``: it changes when weights, stimuli, options, torch or the code of passes do."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    settings = [repr(getattr(model, name, None)) for name in ("architecture", "preprocessing", "decision_rule")]
    return hash_values(digest.hexdigest(), str(model), settings, stimuli_hash, options, torch.__version__, _hash_code())


def write_store(store: ActivationStore, folder: Path) -> None:
    """Write what is not yet in ``folder`` (rows that a pass spilled are), and the index of all of it.

    Raises:
        EnvironmentProblem: when it cannot be written.
    """
    layers = []
    try:
        for layer in store.layers.values():
            arrays: dict[str, Any] = {}
            for name, array in _arrays_of(layer).items():
                same = next((n for n in arrays if getattr(layer, n) is array), None)
                arrays[name] = same or _write(array, folder / f"{layer.role}.{name}.bin")
            layers.append({"role": layer.role, "name": layer.name, "map_shape": layer.map_shape, "arrays": arrays})
        own = {
            name: _write(array, folder / f"{name}.bin")
            for name, array in _arrays_of(store).items()
            if name not in _OF_STIMULI
        }
        index = {"network": store.network, "notes": store.notes, "arrays": own, "layers": layers}
        (folder / _INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder, error) from error


def read_store(folder: Path, stimuli: Stimuli) -> ActivationStore:
    """The store of a committed folder; its arrays are read from disk when they are looked at."""
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    layers = {}
    for entry in index["layers"]:
        arrays: dict[str, Any] = {}
        for name, where in entry["arrays"].items():
            arrays[name] = arrays[where] if isinstance(where, str) else _map(folder, where)
        layers[entry["role"]] = LayerActivations(
            role=entry["role"], name=entry["name"], map_shape=tuple(entry["map_shape"]), **arrays
        )
    return ActivationStore(
        network=index["network"],
        labels=np.asarray(stimuli.labels, dtype=np.int64),
        groups=np.asarray(stimuli.groups, dtype=np.int64),
        latents=stimuli.latents,
        layers=layers,
        notes=tuple(index["notes"]),
        **{name: _map(folder, where) for name, where in index["arrays"].items()},
    )


def _arrays_of(value: LayerActivations | ActivationStore) -> dict[str, ndarray]:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: array for name, array in fields.items() if isinstance(array, np.ndarray)}


def _write(array: ndarray, path: Path) -> list[Any]:
    # To write a map onto its own file would empty the file first; its name is absolute where ``path`` may not be.
    own = isinstance(array, np.memmap) and array.filename is not None and Path(array.filename) == path.resolve()
    if not (own and path.stat().st_size == array.nbytes):
        path.write_bytes((np.array(array, order="C") if own else np.ascontiguousarray(array)).data)
    return [path.name, array.dtype.str, array.shape]


def _map(folder: Path, where: list[Any]) -> ndarray:
    name, dtype, shape = where
    return map_array(folder / name, dtype, tuple(shape))


@cache
def _hash_code() -> str:
    package = Path(__file__).parents[1]
    files = [*sorted((package / "activations").glob("*.py")), package / "models.py", package / "layers.py"]
    return hash_values([(path.name, hash_file(path)) for path in files])
