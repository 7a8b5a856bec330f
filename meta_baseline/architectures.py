"""The family of networks on paper: which architectures there are, and which one a state dict is.

The published members conv2, conv4 and conv6 (Gupta et al. 2025, arXiv:2503.23212) have two heads; their older
meta-learned form has a learnt temperature; stack4 and stack5 are the small networks of this package's own training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from meta_baseline.errors import CheckpointError, UsageError

Head = Literal["meta", "baseline", "old-meta"]
Norm = Literal["batch", "group", "none"]

HEADS: tuple[Head, ...] = ("meta", "baseline", "old-meta")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything that fixes the function computed by a network of the family, except its weights.

    Attributes:
        name: the member, or "custom".
        head: "meta" has a LayerNorm before each fully connected non-linearity, "baseline" has none, "old-meta" is
            "meta" with logits divided by a learnt temperature.
        widths, kernels, paddings: channels, kernel side and padding of each convolution (stride 1).
        pool: kernel, stride and padding of every max pool.
        hidden: units of each fully connected layer before the classifier.
        image_size: side of the square input, pixels.
        running_statistics: False for batch norm that uses the statistics of the batch in evaluation too.
        fc_dropout, spatial_dropout: probabilities, after fully connected layers and after pools; training only.
    """

    name: str
    head: Head
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    paddings: tuple[int, ...]
    pool: tuple[int, int, int]
    hidden: tuple[int, ...]
    num_logits: int = 2
    in_channels: int = 3
    image_size: int = 128
    norm: Norm = "batch"
    running_statistics: bool = True
    fc_dropout: float = 0.0
    spatial_dropout: float = 0.0

    @property
    def depth(self) -> int:
        """Number of convolutions."""
        return len(self.widths)

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """Side of the map after each block's pool, in pixels; 0 where the input is too small."""
        pool_kernel, stride, pool_padding = self.pool
        sides: list[int] = []
        side = self.image_size
        for kernel, padding in zip(self.kernels, self.paddings, strict=True):
            convolved = side + 2 * padding - kernel + 1 if side > 0 else 0
            side = (convolved + 2 * pool_padding - pool_kernel) // stride + 1 if convolved > 0 else 0
            sides.append(side)
        return tuple(sides)

    @property
    def num_features(self) -> int:
        """Inputs of the first fully connected layer: channels times the area of the last map."""
        return self.widths[-1] * self.map_sizes[-1] ** 2

    def describe(self) -> str:
        """In words, e.g. ``conv6, baseline head, 128 px, RGB``."""
        colour = {1: "grey", 3: "RGB"}.get(self.in_channels, f"{self.in_channels} channels")
        name = self.name if self.name != "custom" else "custom " + "-".join(map(str, self.widths))
        return f"{name}, {self.head} head, {self.image_size} px, {colour}"


@dataclass(frozen=True, kw_only=True)
class _Member:
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    paddings: tuple[int, ...]
    pool: tuple[int, int, int]
    hidden: tuple[int, ...]
    heads: tuple[Head, ...]
    num_logits: int = 2
    in_channels: int = 3
    image_size: int = 128


def _published(first_width: int, depth: int, first_kernel: int, first_padding: int) -> _Member:
    # Only the first convolution is large; all later ones are 2 x 2 with padding 1, and channels double.
    return _Member(
        widths=tuple(first_width * 2**i for i in range(depth)),
        kernels=(first_kernel, *[2] * (depth - 1)),
        paddings=(first_padding, *[1] * (depth - 1)),
        pool=(3, 2, 1),
        hidden=(1024, 1024, 1024),
        heads=("meta", "baseline"),
    )


def _stack(
    widths: tuple[int, ...], hidden: tuple[int, ...], heads: tuple[Head, ...], num_logits: int, channels: int, size: int
) -> _Member:
    return _Member(
        widths=widths,
        kernels=(3,) * len(widths),
        paddings=(1,) * len(widths),
        pool=(2, 2, 0),
        hidden=hidden,
        heads=heads,
        num_logits=num_logits,
        in_channels=channels,
        image_size=size,
    )


MEMBERS: dict[str, _Member] = {
    "conv2": _published(6, 2, 2, 1),
    "conv4": _published(12, 4, 4, 2),
    "conv6": _published(18, 6, 6, 2),
    "old-conv4": _stack((32, 64, 128, 256), (512, 256, 128), ("old-meta",), 2, 3, 128),
    "old-conv6": _stack((32, 64, 128, 256, 512, 1024), (1024, 512, 256), ("old-meta",), 2, 3, 128),
    "stack4": _stack((32, 32, 64, 64), (128,), ("meta", "baseline"), 1, 1, 32),
    "stack5": _stack((16, 32, 64, 64, 64), (128,), ("meta", "baseline"), 1, 1, 64),
}
_DROPOUT: dict[Head, tuple[float, float]] = {"meta": (0.5, 0.0), "baseline": (0.3, 0.1), "old-meta": (0.5, 0.3)}


def architecture_of(
    name: str,
    *,
    head: Head | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    num_logits: int | None = None,
    hidden: Sequence[int] | None = None,
    norm: Norm = "batch",
    running_statistics: bool = True,
    fc_dropout: float | None = None,
    spatial_dropout: float | None = None,
) -> Architecture:
    """A member of the family by name, with what differs from its usual form.

    Raises:
        UsageError: for an unknown name, a head that the member does not have, or an image too small for its depth.
    """
    if name not in MEMBERS:
        raise UsageError(f"No network {name!r} in the family. Choose one of: {', '.join(MEMBERS)}.")
    member = MEMBERS[name]
    head = head or member.heads[0]
    if head not in member.heads:
        raise UsageError(f"{name} has no {head!r} head. Choose one of: {', '.join(member.heads)}.")
    paddings = member.paddings
    if name == "conv4" and head == "baseline":
        paddings = (1, *paddings[1:])  # the one difference between the published conv4 networks before the head
    usual_fc, usual_spatial = (0.0, 0.0) if name.startswith("stack") else _DROPOUT[head]
    architecture = Architecture(
        name=name,
        head=head,
        widths=member.widths,
        kernels=member.kernels,
        paddings=paddings,
        pool=member.pool,
        hidden=tuple(hidden) if hidden is not None else member.hidden,
        num_logits=num_logits or member.num_logits,
        in_channels=in_channels or member.in_channels,
        image_size=image_size or member.image_size,
        norm=norm,
        running_statistics=running_statistics,
        fc_dropout=usual_fc if fc_dropout is None else fc_dropout,
        spatial_dropout=usual_spatial if spatial_dropout is None else spatial_dropout,
    )
    if min(architecture.map_sizes) < 1:
        raise UsageError(f"{name} pools {architecture.image_size} px images away. Choose a larger image size.")
    return architecture


def infer_architecture(shapes: Mapping[str, tuple[int, ...]], source: str) -> tuple[Architecture, tuple[str, ...]]:
    """The member that a state dict belongs to, from names and shapes alone, and notes on what had to be assumed.

    Args:
        shapes: shape of every entry of the state dict, by its published name (no prefixes).
        source: the file, for messages.

    Raises:
        CheckpointError: when names or shapes fit no member.
    """
    convs = [
        _shape(shapes, f"conv{i}.weight", 4, source) for i in range(1, _count(shapes, r"conv(\d{1,3})\.weight") + 1)
    ]
    head, linears = _head_of(shapes, source)
    classifier = _shape(shapes, "classifier.weight", 2, source)
    member, name = _member_of(convs, head, source)
    hidden = tuple(linear[0] for linear in linears)
    inputs = [linear[1] for linear in linears] + [classifier[1]]
    if inputs[1:] != list(hidden):
        raise CheckpointError(
            f"{source}: fully connected layers of {hidden} units read {tuple(inputs[1:])} inputs. {_FIX}"
        )
    if convs[0][1] not in (1, 3) or classifier[0] not in (1, 2):
        raise CheckpointError(
            f"{source} has {convs[0][1]} input channels and {classifier[0]} logits; known are 1 or 3 and 1 or 2. {_FIX}"
        )
    notes: list[str] = []
    if hidden != member.hidden:
        notes.append(f"Fully connected layers have {hidden} units, {name} usually {member.hidden}.")
    architecture = architecture_of(
        name,
        head=head,
        in_channels=convs[0][1],
        num_logits=classifier[0],
        hidden=hidden,
        running_statistics="bn1.running_mean" in shapes,
    )
    if not architecture.running_statistics:
        notes.append(
            "No running statistics are stored: batch norm uses each batch's own, so numbers depend on the batch."
        )
    size, note = _image_size(architecture, member, inputs[0], source)
    return replace(architecture, image_size=size), (*notes, *note)


_FIX = "Pass a network of the family: " + ", ".join(MEMBERS) + "."


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    return max((int(match[1]) for key in shapes if (match := re.fullmatch(pattern, key))), default=0)


def _shape(shapes: Mapping[str, tuple[int, ...]], key: str, ndim: int, source: str) -> tuple[int, ...]:
    if key not in shapes:
        present = ", ".join(list(shapes)[:4])
        raise CheckpointError(f"{source} has no {key} (it has {present}, ...). {_FIX}")
    if len(shapes[key]) != ndim:
        raise CheckpointError(f"{source}: {key} has shape {shapes[key]}, not {ndim} dimensions. {_FIX}")
    return shapes[key]


def _head_of(shapes: Mapping[str, tuple[int, ...]], source: str) -> tuple[Head, list[tuple[int, ...]]]:
    num_listed = _count(shapes, r"fc_layers\.(\d{1,3})\.weight") + ("fc_layers.0.weight" in shapes)
    num_plain = _count(shapes, r"fc(\d{1,3})\.weight")
    if bool(num_listed) == bool(num_plain):
        found = "both" if num_listed else "neither"
        raise CheckpointError(f"{source} has {found} of fc_layers.0 (meta head) and fc1 (baseline head). {_FIX}")
    if num_plain:
        return "baseline", [_shape(shapes, f"fc{j}.weight", 2, source) for j in range(1, num_plain + 1)]
    listed = [_shape(shapes, f"fc_layers.{j}.weight", 2, source) for j in range(num_listed)]
    return "old-meta" if "temperature" in shapes else "meta", listed


def _member_of(convs: Sequence[tuple[int, ...]], head: Head, source: str) -> tuple[_Member, str]:
    widths, kernels = tuple(conv[0] for conv in convs), tuple(conv[2] for conv in convs)
    for name, member in MEMBERS.items():
        if (widths, kernels) == (member.widths, member.kernels) and head in member.heads:
            return member, name
    raise CheckpointError(
        f"{source}: convolutions of {widths} channels, kernels {kernels} and a {head} head are no known network. {_FIX}"
    )


def _image_size(
    architecture: Architecture, member: _Member, num_features: int, source: str
) -> tuple[int, tuple[str, ...]]:
    sizes = [size for size in range(8, 1025) if replace(architecture, image_size=size).num_features == num_features]
    if not sizes:
        raise CheckpointError(
            f"{source}: the first fully connected layer reads {num_features} inputs; {architecture.name} gives "
            f"{architecture.num_features} for {architecture.image_size} px and that many for no size. {_FIX}"
        )
    usual = [size for size in (128, member.image_size, 64, 32, 256, 512, 1024) if size in sizes]
    size = usual[0] if usual else next((size for size in sizes if size % 16 == 0), sizes[-1])
    if len(sizes) == 1:
        return size, ()
    return size, (f"Images of {sizes[0]} to {sizes[-1]} px fit these weights; {size} px is assumed.",)
