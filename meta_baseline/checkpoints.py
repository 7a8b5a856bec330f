"""The one reader and the one writer of checkpoints: from a file that may be hostile to a network that says what it is.

A file's structure is checked first (``checkpoint_archive``), then ``torch.load(weights_only=True)`` reads it, and
nothing else ever does. Architecture, head and input size come from the metadata of checkpoints that this package wrote,
and from names and shapes for all others; whatever had to be assumed is a note in the network's provenance.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from meta_baseline.architectures import Architecture, infer_architecture
from meta_baseline.checkpoint_archive import check_structure, printable
from meta_baseline.checkpoint_metadata import (
    STAND_INS,
    OwnMetadata,
    TrainingValue,
    parse_metadata,
    plain_values,
    write_metadata,
)
from meta_baseline.commits import hash_file, write_atomic
from meta_baseline.errors import CheckpointError, EnvironmentProblem
from meta_baseline.models import ConvNet, DecisionRule, Preprocessing, Scaling
from meta_baseline.results import Provenance

Condition = Literal["meta", "baseline"]

_WRAPPERS = ("model_state_dict", "state_dict", "maml_state_dict")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,120}")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LEARNT_RATES = ("lr_conv.", "lr_fc.", "lr_classifier")
_SAVE_AGAIN = "Save it again with torch.save(model.state_dict(), path)"
# What torch.load and safetensors raise on damaged or refused input.
_READ_ERRORS = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    AssertionError,
    OverflowError,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds, before it is made into a network.

    Attributes:
        state: weights and buffers by their published names, float32 (counters int64), prefixes removed.
        storage_dtype: of the weights in the file, e.g. "float16"; several are joined by commas.
        wrapper: the key that held the state dict, or "bare".
        meta_trained: a ``maml_state_dict`` is in the file, so it was written by published meta-training.
        metadata: plain values that stood beside it: epoch, accuracies, ``args``, or a safetensors header's strings.
        own: architecture, preprocessing and training of a checkpoint that this package wrote; else None.
        notes: what a reader of numbers about this network should know.
    """

    path: Path
    sha256: str
    state: dict[str, Tensor]
    storage_dtype: str
    wrapper: str
    meta_trained: bool
    metadata: dict[str, object]
    own: OwnMetadata | None
    notes: tuple[str, ...]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The state dict in a file of any of the known formats, with what stands beside it; no code in it can run.

    Raises:
        CheckpointError: when the file is missing, damaged, unsafe, or holds no state dict.
    """
    path = Path(path)
    names = frozenset(name for _, name in STAND_INS)
    container = check_structure(path, extra_names=names)
    content, metadata = _read_safetensors(path) if container == "safetensors" else (_read_torch(path, container), {})
    wrapper, raw, notes = _unwrap(path, content)
    if container != "safetensors" and wrapper != "bare":
        metadata = plain_values({key: value for key, value in content.items() if key not in _WRAPPERS})
    state = _without_prefixes(path, raw)
    if rates := [name for name in state if name.startswith(_LEARNT_RATES)]:
        notes.append(f"Learnt inner-loop learning rates are stored ({rates[0]}, ...) and not analysed.")
        state = {name: tensor for name, tensor in state.items() if name not in rates}
    dtypes = Counter(str(t.dtype).removeprefix("torch.") for t in state.values() if t.is_floating_point())
    notes.extend(_value_notes(state, dtypes))
    return Checkpoint(
        path=path,
        sha256=hash_file(path),
        state={name: _as_stored(tensor) for name, tensor in state.items()},
        storage_dtype=", ".join(sorted(dtypes)),
        wrapper=wrapper,
        meta_trained="maml_state_dict" in content,
        metadata=metadata,
        own=parse_metadata(metadata, str(path)),
        notes=tuple(notes),
    )


def load_network(
    path: str | Path, *, input_scaling: Scaling | None = None, condition: Condition | None = None
) -> ConvNet:
    """The network in a checkpoint, in evaluation mode, with ``.provenance`` that states everything assumed about it.

    Args:
        path: the checkpoint.
        input_scaling: overrides what the file says, or what would be assumed.
        condition: which side of a comparison it is given for; it settles the decision rule of a published network
            whose head is found on both sides.

    Raises:
        CheckpointError: as ``read_checkpoint``, and when shapes fit no network of the family.
    """
    checkpoint = read_checkpoint(path)
    own = checkpoint.own
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.state.items()}
    if own is not None:
        architecture, notes = own.architecture, []
        preprocessing, rule = own.preprocessing, own.decision_rule
        parameters = own.describe_parameters()
        if condition == "meta" and own.training.get("algorithm") == "baseline":
            notes.append("Given as the meta network, but trained conventionally according to its own metadata.")
    else:
        architecture, inferred = infer_architecture(shapes, str(checkpoint.path))
        notes = [*inferred, *_name_notes(checkpoint, architecture)]
        preprocessing = _assumed_preprocessing(architecture)
        rule, reason = _assumed_rule(checkpoint, architecture, condition)
        parameters = "initialisation (theta0)" if checkpoint.meta_trained else "as stored"
        notes.extend(reason)
        if input_scaling is None:
            notes.append(f"The file does not say how images were scaled: {preprocessing.describe()}.")
    if input_scaling is not None:
        preprocessing = dataclasses.replace(preprocessing, scaling=input_scaling, assumed=False)
    model = _build(checkpoint, architecture, preprocessing, rule)
    model.provenance = Provenance(
        path=str(checkpoint.path),
        sha256=checkpoint.sha256,
        architecture=architecture.describe(),
        parameters=parameters,
        decision_rule=rule,
        input_scaling=preprocessing.describe(),
        notes=(*checkpoint.notes, *notes),
    )
    return model


def load_models(meta: str | Path, baseline: str | Path, device: str = "cpu") -> tuple[nn.Module, nn.Module]:
    """The meta-learned and the baseline network, in this order, in evaluation mode on ``device``.

    Raises:
        CheckpointError: as ``load_network``.
        EnvironmentProblem: when the device does not exist here.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EnvironmentProblem(f"No CUDA device for {device!r}. Use device 'cpu' (--device cpu).")
    models = load_network(meta, condition="meta"), load_network(baseline, condition="baseline")
    try:
        return models[0].to(device), models[1].to(device)
    except RuntimeError as error:
        raise EnvironmentProblem(f"Cannot use device {device!r}: {printable(error)}. Use 'cpu' or 'cuda'.") from error


def write_checkpoint(path: str | Path, model: ConvNet, *, training: Mapping[str, TrainingValue]) -> None:
    """Write a network as safetensors that ``load_network`` reads without being told anything; the same bytes each time.

    Args:
        path: the file; it appears whole or not at all.
        model: the network; architecture, preprocessing and decision rule are taken from it.
        training: how it was trained: algorithm, seed, tasks, num_images, and ``initial``, the file of the step-0
            network relative to this one.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    own = OwnMetadata(
        architecture=model.architecture,
        preprocessing=model.preprocessing,
        decision_rule=model.decision_rule,
        training=dict(training),
    )
    write_atomic(path, save(state, metadata=write_metadata(own)))


def find_initial(path: str | Path, model: nn.Module) -> Path | None:
    """The step-0 checkpoint of the run that wrote ``path``: None unless it names one, there is one, and it fits.

    Only files beside the checkpoint or one folder above are considered, whatever the metadata say.
    """
    path = Path(path)
    own = read_checkpoint(path).own
    name = own.training.get("initial") if own is not None else None
    if not isinstance(name, str) or not 0 < len(name) <= 200 or "\0" in name:
        return None
    initial = Path(os.path.normpath(path.parent / name))
    home = Path(os.path.normpath(path.parent.resolve()))
    if initial.resolve().parent not in (home, home.parent) or not initial.is_file() or initial.samefile(path):
        return None
    other = read_checkpoint(initial).own
    fits = other is not None and isinstance(model, ConvNet) and other.architecture == model.architecture
    return initial if fits else None


def _read_torch(path: Path, container: str) -> Mapping[object, object]:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(STAND_INS)):
            warnings.simplefilter("ignore")  # torch warns of pickle protocols and old formats; the reader copes
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=container == "zip")
    except _READ_ERRORS as error:
        raise CheckpointError(f"{path} is damaged or unsafe ({printable(error)}). {_SAVE_AGAIN}.") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict. {_SAVE_AGAIN}.")
    return content


def _read_safetensors(path: Path) -> tuple[dict[object, object], dict[str, object]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata: dict[str, object] = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)
    except _READ_ERRORS as error:
        raise CheckpointError(f"{path} is damaged ({printable(error)}). Copy or save it again.") from error


def _unwrap(path: Path, content: Mapping[object, object]) -> tuple[str, Mapping[object, object], list[str]]:
    found = {key: value for key in _WRAPPERS if isinstance(value := content.get(key), Mapping)}
    if not found:
        return "bare", content, []
    wrapper = next(iter(found))
    notes: list[str] = []
    if {"model_state_dict", "maml_state_dict"} <= found.keys():
        first, second = (_without_prefixes(path, found[key]) for key in ("model_state_dict", "maml_state_dict"))
        differing = [name for name in first if name not in second or not _equal(first[name], second[name])]
        if differing or first.keys() != second.keys():
            where = f" (first at {differing[0]})" if differing else ""
            notes.append(f"model_state_dict and maml_state_dict differ{where}; model_state_dict is used.")
    return wrapper, found[wrapper], notes


def _without_prefixes(path: Path, raw: Mapping[object, object]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for key, value in raw.items():
        name = str(key)
        while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
            name = name.removeprefix(prefix)
        if not _NAME.fullmatch(name):
            raise CheckpointError(f"{path} has an entry named {printable(key)!r}, no weight. {_SAVE_AGAIN}.")
        tensor = _checked(path, name, value)
        if name in state and not _equal(state[name], tensor):
            raise CheckpointError(f"{path} holds two different {name} under two prefixes. {_SAVE_AGAIN}.")
        state[name] = tensor
    if not state:
        raise CheckpointError(f"{path} holds no weights. {_SAVE_AGAIN}.")
    return state


def _checked(path: Path, name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path}: {name} is a {type(value).__name__}, not a tensor. {_SAVE_AGAIN}.")
    counter = name.endswith("num_batches_tracked")
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
        raise CheckpointError(f"{path}: {name} is not a dense real tensor with data. {_SAVE_AGAIN}.")
    if value.dtype not in _DTYPES and not counter:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
        raise CheckpointError(f"{path}: {name} is {value.dtype}; weights are one of {allowed}. {_SAVE_AGAIN}.")
    # A view that repeats a few bytes may claim any size; copying it would fill the memory.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name} claims {tuple(value.shape)}, more than is stored. {_SAVE_AGAIN}.")
    return value.detach()


def _equal(first: Tensor, second: Tensor) -> bool:
    same = first.shape == second.shape and first.dtype == second.dtype
    return same and bool(torch.equal(torch.nan_to_num(first), torch.nan_to_num(second)))


def _as_stored(tensor: Tensor) -> Tensor:
    # A copy in any case: the file is memory-mapped, and may change or vanish later.
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64, copy=True).contiguous()


def _value_notes(state: Mapping[str, Tensor], dtypes: Counter[str]) -> list[str]:
    notes: list[str] = []
    if rest := sorted(set(dtypes) - {"float32"}):
        notes.append(f"Weights are stored as {', '.join(rest)} and analysed in float32.")
    for name, tensor in state.items():
        if num_bad := int((~torch.isfinite(tensor)).sum()):
            notes.append(f"{name} holds {num_bad} values of {tensor.numel()} that are NaN or infinite.")
    temperature = state.get("temperature")
    if temperature is not None and not bool((temperature > 0).all()):
        notes.append("The temperature is not positive; logits are divided by it as it is.")
    return notes


def _name_notes(checkpoint: Checkpoint, architecture: Architecture) -> list[str]:
    """Where the architecture that the file names is not the one that its shapes have."""
    for key in ("architecture", "arch", "model", "model_name"):
        named = checkpoint.metadata.get(key)
        if isinstance(named, str) and named.lower() != architecture.name:
            return [f"The file calls its architecture {named[:40]!r}; its shapes are those of {architecture.name}."]
    return []


def _assumed_preprocessing(architecture: Architecture) -> Preprocessing:
    # The published code reads SVRT images into [-1, 1]; one-channel networks are this package's own.
    return Preprocessing(
        image_size=architecture.image_size,
        in_channels=architecture.in_channels,
        scaling="ink" if architecture.in_channels == 1 else "signed",
        assumed=True,
    )


def _assumed_rule(
    checkpoint: Checkpoint, architecture: Architecture, condition: Condition | None
) -> tuple[DecisionRule, list[str]]:
    if architecture.num_logits == 1:
        return "logit", []
    if architecture.head != "baseline" or checkpoint.meta_trained or condition == "meta":
        why = "published meta-training puts its loss on logit 1 alone"
        first_order = "Published MAML is first-order and merges the tasks of a batch into one adaptation."
        return "logit", [f"The file does not say how it decides: logit 1 > 0 is assumed ({why}).", first_order]
    why = "published baselines are trained by two-way cross-entropy"
    return "argmax", [f"The file does not say how it decides: argmax is assumed ({why})."]


def _build(
    checkpoint: Checkpoint, architecture: Architecture, preprocessing: Preprocessing, rule: DecisionRule
) -> ConvNet:
    # On the meta device nothing is allocated, so a hostile header cannot ask for more than the file holds.
    with torch.device("meta"):
        model = ConvNet(architecture, preprocessing=preprocessing, decision_rule=rule)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = dict(checkpoint.state)
    for name in expected:
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.tensor(0))
    for name, shape in expected.items():
        found = tuple(state[name].shape) if name in state else "nothing"
        if found != shape:
            raise CheckpointError(
                f"{checkpoint.path}: {name} should have shape {shape} in {architecture.describe()}, found {found}. "
                f"{_SAVE_AGAIN}."
            )
    if surplus := [name for name in state if name not in expected]:
        raise CheckpointError(
            f"{checkpoint.path} has {surplus[0]}, which {architecture.describe()} does not have. {_SAVE_AGAIN}."
        )
    model.load_state_dict(state, assign=True)
    return model.eval()
