"""Which layer of one network corresponds to which layer of another: by role, not by name.

A role is a layer's place on the way from the image to the answer: conv1, conv2, ..., fc1, fc2, ..., classifier. Layers
of one role are paired even where their state dicts name them differently; where the pair computes different functions,
a reason says that their weights are not to be compared number by number, though what they represent may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from torch import nn

from meta_baseline.errors import InputError
from meta_baseline.results import Check

Network = Literal["meta", "baseline"]

_NORMS = (
    nn.modules.batchnorm._BatchNorm,  # pyright: ignore[reportPrivateUsage]
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm2d,
)
_NON_LINEARITIES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Softplus,
    nn.Tanh,
    nn.Sigmoid,
)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer with weights, and the points around it where its output can be recorded.

    Attributes:
        role: "conv1", ..., "fc1", ..., "classifier".
        name: module that owns the weights.
        norm: module that normalises its output before the non-linearity; None when there is none.
        activation: module whose output is after the non-linearity; the classifier's is the classifier itself.
        pooled: module whose output the next layer reads (in evaluation); ``activation`` where there is no pool.
        shape: of the weights, outputs first.
    """

    role: str
    name: str
    kind: Literal["conv", "linear"]
    norm: str | None
    activation: str
    pooled: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerPair:
    """The layers of one role in both networks; ``reason`` says why their weights are not comparable, or is empty."""

    role: str
    meta: Layer
    baseline: Layer
    comparable_weights: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class UnpairedLayer:
    """A layer that only one network has."""

    role: str
    network: Network
    reason: str


@dataclass(frozen=True, kw_only=True)
class LayerPairing:
    """All pairs in order from the image, what was left over, and where maps of a pair differ in size."""

    pairs: tuple[LayerPair, ...]
    unpaired: tuple[UnpairedLayer, ...]
    map_notes: tuple[str, ...] = ()

    @property
    def same_function(self) -> bool:
        """True when every layer is paired and comparable: one architecture, so weights may be interpolated."""
        return not self.unpaired and not self.map_notes and all(pair.comparable_weights for pair in self.pairs)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The pairing as checks: layers.pairing, layers.weights, and layers.maps where maps differ in size."""
        checks = [self._pairing_check(), self._weights_check()]
        if self.map_notes:
            sentence = "Filters correspond, positions do not: " + "; ".join(self.map_notes) + "."
            checks.append(Check(code="layers.maps", verdict="note", sentence=sentence))
        return tuple(checks)

    def _pairing_check(self) -> Check:
        roles = ", ".join(pair.role for pair in self.pairs)
        if not self.unpaired:
            sentence = f"All {len(self.pairs)} layers are paired by role: {roles}."
            return Check(code="layers.pairing", verdict="pass", sentence=sentence)
        rest = "; ".join(f"{layer.role} of the {layer.network} network ({layer.reason})" for layer in self.unpaired)
        sentence = f"Layers paired by role: {roles}. Left out: {rest}."
        return Check(code="layers.pairing", verdict="warn", sentence=sentence)

    def _weights_check(self) -> Check:
        reasons: dict[str, list[str]] = {}
        for pair in self.pairs:
            if not pair.comparable_weights:
                reasons.setdefault(pair.reason, []).append(pair.role)
        if not reasons:
            sentence = "The weights of all paired layers are comparable."
            return Check(code="layers.weights", verdict="pass", sentence=sentence)
        parts = "; ".join(f"{', '.join(roles)} ({reason})" for reason, roles in reasons.items())
        sentence = f"Weights are not compared number by number in {parts}."
        return Check(code="layers.weights", verdict="warn", sentence=sentence)


def list_layers(model: nn.Module) -> tuple[Layer, ...]:
    """The convolutions, then the linear layers, of any module, with roles by their order of definition.

    Modules are taken to act in the order in which they were defined, parallel ``ModuleList``s of one length in step
    (linear, norm and non-linearity of the first layer, then of the second). The last linear layer is the classifier.
    Non-linearities and pools that are plain function calls have no module and so no point to record: the last module
    before them stands in.
    """
    ordered = list(_in_order("", model))
    starts = [i for i, (_, module) in enumerate(ordered) if isinstance(module, nn.Conv2d | nn.Linear)]
    ends = [*starts[1:], len(ordered)]
    convs: list[Layer] = []
    linears: list[Layer] = []
    last_linear = max((i for i in starts if isinstance(ordered[i][1], nn.Linear)), default=-1)
    for start, end in zip(starts, ends, strict=True):
        if isinstance(ordered[start][1], nn.Conv2d):
            convs.append(_layer(f"conv{len(convs) + 1}", ordered[start:end]))
        elif start == last_linear:
            linears.append(_layer("classifier", ordered[start : start + 1]))
        else:
            linears.append(_layer(f"fc{len(linears) + 1}", ordered[start:end]))
    return (*convs, *linears)


def pair_layers(meta: nn.Module, baseline: nn.Module) -> LayerPairing:
    """Layers of two networks paired by role: conv1 with conv1, fc1 with fc1, classifier with classifier.

    Networks of different depth are paired from the input on; what is left over is named with the reason.

    Raises:
        InputError: when no layer of one network has a counterpart in the other.
    """
    meta_layers = {layer.role: layer for layer in list_layers(meta)}
    baseline_layers = {layer.role: layer for layer in list_layers(baseline)}
    roles = [role for role in meta_layers if role in baseline_layers]
    if not roles:
        raise InputError(
            f"No layers correspond: the meta network has {', '.join(meta_layers) or 'none'}, the baseline network "
            f"{', '.join(baseline_layers) or 'none'}. Pass two networks that both have convolutions or linear layers."
        )
    pairs: list[LayerPair] = []
    map_notes: list[str] = []
    head_reason = _head_reason(tuple(meta_layers.values()), tuple(baseline_layers.values()))
    for role in roles:
        first, second = meta_layers[role], baseline_layers[role]
        reason = _shape_reason(first, second) or _norm_reason(meta, first, baseline, second)
        if not reason and first.kind == "linear":
            reason = head_reason
        pairs.append(LayerPair(role=role, meta=first, baseline=second, comparable_weights=not reason, reason=reason))
        map_notes.extend(_map_notes(role, meta.get_submodule(first.name), baseline.get_submodule(second.name)))
    unpaired = (
        *_left_over("meta", meta_layers, baseline_layers),
        *_left_over("baseline", baseline_layers, meta_layers),
    )
    return LayerPairing(pairs=tuple(pairs), unpaired=unpaired, map_notes=tuple(map_notes))


def _in_order(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    children = list(module.named_children())
    if not children:
        yield name, module
        return
    prefix = f"{name}." if name else ""
    i = 0
    while i < len(children):
        parallel = _parallel_lists([child for _, child in children[i:]])
        length = len(parallel[0]) if parallel else 0
        for step in range(length):
            for offset, members in enumerate(parallel):
                yield from _in_order(f"{prefix}{children[i + offset][0]}.{step}", members[step])
        if not parallel:
            yield from _in_order(prefix + children[i][0], children[i][1])
        i += max(len(parallel), 1)


def _parallel_lists(children: Sequence[nn.Module]) -> list[nn.ModuleList]:
    parallel: list[nn.ModuleList] = []
    for child in children:
        if not isinstance(child, nn.ModuleList) or (parallel and len(child) != len(parallel[0])):
            break
        parallel.append(child)
    return parallel


def _layer(role: str, modules: Sequence[tuple[str, nn.Module]]) -> Layer:
    name, owner = modules[0]
    norm: str | None = None
    activation: str | None = None
    pooled: str | None = None
    for later, module in modules[1:]:
        if activation is None and norm is None and isinstance(module, _NORMS):
            norm = later
        elif activation is None and isinstance(module, _NON_LINEARITIES):
            activation = later
        elif activation is not None and isinstance(module, _POOLS):
            pooled = later
    activation = activation or norm or name
    return Layer(
        role=role,
        name=name,
        kind="conv" if isinstance(owner, nn.Conv2d) else "linear",
        norm=norm,
        activation=activation,
        pooled=pooled or activation,
        shape=tuple(cast(nn.Linear, owner).weight.shape),
    )


def _shape_reason(meta: Layer, baseline: Layer) -> str:
    if meta.shape == baseline.shape:
        return ""
    if meta.kind == "linear" and meta.shape[0] == baseline.shape[0]:
        return f"it reads {meta.shape[1]} inputs in the meta and {baseline.shape[1]} in the baseline network"
    first, second = (" x ".join(map(str, layer.shape)) for layer in (meta, baseline))
    return f"weights are {first} in the meta and {second} in the baseline network"


def _norm_reason(meta: nn.Module, first: Layer, baseline: nn.Module, second: Layer) -> str:
    meta_norm, baseline_norm = (
        type(model.get_submodule(layer.norm)).__name__ if layer.norm else ""
        for model, layer in ((meta, first), (baseline, second))
    )
    if meta_norm == baseline_norm:
        return ""
    if meta_norm and baseline_norm:
        return f"{meta_norm} before the non-linearity in the meta, {baseline_norm} in the baseline network"
    network = "meta" if meta_norm else "baseline"
    return f"{meta_norm or baseline_norm} before the non-linearity in the {network} network only"


def _head_reason(meta: Sequence[Layer], baseline: Sequence[Layer]) -> str:
    """Why no linear layer is comparable although its own shape and norm agree; empty when there is no such reason."""
    first, second = ([layer for layer in layers if layer.kind == "linear"] for layers in (meta, baseline))
    depths = [len(meta) - len(first), len(baseline) - len(second)]
    if depths[0] != depths[1]:
        return f"the layers below do not correspond: {depths[0]} convolutions in the meta, {depths[1]} in the baseline"
    if [layer.norm is None for layer in first] != [layer.norm is None for layer in second]:
        return "the layers below are normalised in one network only"
    return ""


def _map_notes(role: str, meta: nn.Module, baseline: nn.Module) -> Iterator[str]:
    if isinstance(meta, nn.Conv2d) and isinstance(baseline, nn.Conv2d):
        first, second = ((conv.padding, conv.stride) for conv in (meta, baseline))
        if meta.kernel_size == baseline.kernel_size and first != second:
            words = [
                f"padding {_side(padding)}" + (f" and stride {_side(stride)}" if first[1] != second[1] else "")
                for padding, stride in (first, second)
            ]
            yield f"{role} has {words[0]} in the meta and {words[1]} in the baseline network, so maps differ in size"


def _side(value: str | tuple[int, ...]) -> str:
    return value if isinstance(value, str) else " x ".join(map(str, sorted(set(value))))


def _left_over(network: Network, own: dict[str, Layer], other: dict[str, Layer]) -> Iterator[UnpairedLayer]:
    for role, layer in own.items():
        if role not in other:
            kind = "convolutions" if layer.kind == "conv" else "linear layers"
            count = sum(candidate.kind == layer.kind for candidate in other.values())
            yield UnpairedLayer(role=role, network=network, reason=f"the other network has {count} {kind}")
