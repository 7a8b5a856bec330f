"""The family of networks on paper: which architectures there are, and which one a state dict is.

The published members conv2, conv4 and conv6 (Gupta et al. 2025, arXiv:2503.23212) have two heads; their older
meta-learned form has a learnt temperature; stack4 and stack5 are the small networks of this package's own training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from meta_baseline.errors import UsageError

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
        """Side of the map after each block's pool, in pixels; 0 or less where the input is too small."""
        pool_kernel, stride, pool_padding = self.pool
        sides: list[int] = []
        side = self.image_size
        for kernel, padding in zip(self.kernels, self.paddings, strict=True):
            side = side + 2 * padding - kernel + 1
            side = (side + 2 * pool_padding - pool_kernel) // stride + 1 if side > 0 else 0
            sides.append(side)
        return tuple(sides)

    @property
    def num_features(self) -> int:
        """Inputs of the first fully connected layer: channels times the area of the last map."""
        return self.widths[-1] * max(self.map_sizes[-1], 0) ** 2

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
