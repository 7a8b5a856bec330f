"""What stands beside the weights in a checkpoint: our own description of a network, and other people's plain values.

Everything read here comes from an untrusted file. Python objects that published checkpoints carry beside their weights
(``argparse.Namespace``, paths, NumPy numbers) are rebuilt by inert stand-ins, so the real classes are never called.
"""

from __future__ import annotations

import dataclasses
import json
import re
import struct
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from meta_baseline.architectures import Architecture, Head, Norm
from meta_baseline.checkpoint_archive import printable
from meta_baseline.errors import CheckpointError
from meta_baseline.models import DecisionRule, Preprocessing, Scaling

TrainingValue = str | int | float | bool | tuple[str, ...] | None

KEY = "meta_baseline"
MAX_LAYERS = 64
MAX_UNITS = 1 << 16
MAX_KERNEL = 64
MAX_IMAGE_SIZE = 4096
_NUMBER_FORMATS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "u1": "B", "i1": "b", "b1": "?"}


@dataclass(frozen=True, kw_only=True)
class OwnMetadata:
    """What ``write_checkpoint`` writes beside the weights.

    Attributes:
        training: how the network came to be: algorithm, seed, tasks, num_images (seen so far), initial.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    decision_rule: DecisionRule
    training: dict[str, TrainingValue] = field(default_factory=dict)

    def describe_parameters(self) -> str:
        """Which parameters these are, in words: step 0, a meta-learned initialisation, or trained weights."""
        algorithm, num_images = self.training.get("algorithm"), self.training.get("num_images")
        if num_images == 0:
            return "untrained: step 0 of the run"
        after = f" after {num_images} images" if isinstance(num_images, int) else ""
        if algorithm is None:
            return f"as stored{after}"
        if algorithm == "baseline":
            return f"trained weights{after} (baseline)"
        return f"initialisation (theta0){after} ({algorithm})"


def write_metadata(own: OwnMetadata) -> dict[str, str]:
    """The header strings of a checkpoint of ours."""
    return {KEY: json.dumps({"version": 1, **dataclasses.asdict(own)}, sort_keys=True)}


def parse_metadata(metadata: Mapping[str, object], source: str) -> OwnMetadata | None:
    """Our own description of the network from a header, checked field by field; None when there is none.

    Raises:
        CheckpointError: when there is one and it cannot be used.
    """
    text = metadata.get(KEY)
    if not isinstance(text, str):
        return None
    try:
        fields = json.loads(text)
        own = OwnMetadata(
            architecture=_architecture(fields["architecture"]),
            preprocessing=_preprocessing(fields["preprocessing"]),
            decision_rule=_choice(fields["decision_rule"], DecisionRule),
            training={str(key): _training_value(value) for key, value in fields["training"].items()},
        )
        _check_agreement(own)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{source}: its description of the network cannot be used ({printable(error)}). "
            "Write it again with this version."
        ) from error
    return own


def plain_values(content: Mapping[object, object], depth: int = 2) -> dict[str, object]:
    """Numbers, strings and short lists of them, by name; ``args`` may be a dict or a namespace; no tensors."""
    values: dict[str, object] = {}
    for key, value in content.items():
        if isinstance(value, _Arguments):
            value = value.values
        if _is_scalar(value):
            values[str(key)] = value
        elif isinstance(value, list | tuple) and len(value) <= MAX_LAYERS and all(map(_is_scalar, value)):
            values[str(key)] = tuple(value)
        elif isinstance(value, Mapping) and depth > 1 and (inner := plain_values(value, depth - 1)):
            values[str(key)] = inner
    return values


def _architecture(fields: Mapping[str, object]) -> Architecture:
    name = fields["name"]
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        raise ValueError(f"name {name!r}")
    architecture = Architecture(
        name=name,
        head=_choice(fields["head"], Head),
        widths=_counts(fields["widths"], 1),
        kernels=_counts(fields["kernels"], 1, MAX_KERNEL),
        paddings=_counts(fields["paddings"], 0, MAX_KERNEL),
        pool=_pool(_counts(fields["pool"], 0, MAX_KERNEL)),
        hidden=_counts(fields["hidden"], 1),
        num_logits=_count(fields["num_logits"], 1),
        in_channels=_count(fields["in_channels"], 1),
        image_size=_count(fields["image_size"], 1, MAX_IMAGE_SIZE),
        norm=_choice(fields["norm"], Norm),
        running_statistics=fields["running_statistics"] is True,
        fc_dropout=_fraction(fields["fc_dropout"]),
        spatial_dropout=_fraction(fields["spatial_dropout"]),
    )
    if len({len(architecture.widths), len(architecture.kernels), len(architecture.paddings)}) != 1:
        raise ValueError("widths, kernels and paddings differ in number")
    if min(architecture.map_sizes) < 1:
        raise ValueError(f"{architecture.image_size} px images are too small for it")
    return architecture


def _check_agreement(own: OwnMetadata) -> None:
    wanted = own.architecture.image_size, own.architecture.in_channels
    if (own.preprocessing.image_size, own.preprocessing.in_channels) != wanted:
        raise ValueError("images are prepared in another size than the network reads")
    if own.decision_rule == "argmax" and own.architecture.num_logits != 2:
        raise ValueError("it decides by argmax over other than 2 logits")


def _preprocessing(fields: Mapping[str, object]) -> Preprocessing:
    return Preprocessing(
        image_size=_count(fields["image_size"], 1, MAX_IMAGE_SIZE),
        in_channels=_count(fields["in_channels"], 1),
        scaling=_choice(fields["scaling"], Scaling),
        assumed=fields["assumed"] is True,
    )


def _choice(value: object, choices: typing.Any) -> typing.Any:
    if value not in typing.get_args(choices):
        raise ValueError(f"{str(value)[:40]!r} is none of {', '.join(typing.get_args(choices))}")
    return value


def _training_value(value: object) -> TrainingValue:
    if isinstance(value, list) and len(value) <= MAX_LAYERS:
        return tuple(str(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{str(value)[:40]!r} is no plain value")


def _count(value: object, least: int, most: int = MAX_UNITS) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value


def _counts(value: object, least: int, most: int = MAX_UNITS) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LAYERS:
        raise ValueError(f"{str(value)[:40]!r} is no list of counts")
    return tuple(_count(item, least, most) for item in value)


def _pool(values: tuple[int, ...]) -> tuple[int, int, int]:
    kernel, stride, padding = values
    if kernel < 1 or stride < 1 or padding > kernel // 2:
        raise ValueError(f"pool {values}")
    return kernel, stride, padding


def _fraction(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{str(value)[:40]!r} is no probability")
    return float(value)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


class _Arguments:
    """Stands in for ``argparse.Namespace``: keeps the dict of values and nothing else."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[object, object] = {}

    def __new__(cls, *_: object) -> _Arguments:
        arguments = super().__new__(cls)
        arguments.values = {}
        return arguments

    def __setstate__(self, state: object) -> None:
        self.values = dict(state) if type(state) is dict else {}


class _NumberType:
    """Stands in for ``numpy.dtype``: keeps the code, e.g. "f8", and the byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object) -> None:
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.order = ">"


def _number(kind: object, data: object) -> float | int | bool | None:
    """Stands in for NumPy's constructor of scalars: a Python number, or None for anything but a plain number."""
    if not isinstance(kind, _NumberType) or kind.code not in _NUMBER_FORMATS or not isinstance(data, bytes):
        return None
    layout = kind.order + _NUMBER_FORMATS[kind.code]
    return struct.unpack(layout, data)[0] if len(data) == struct.calcsize(layout) else None


def _path(*parts: object) -> str:
    """Stands in for the classes of ``pathlib``: the path as text."""
    return "/".join(str(part)[:1000].rstrip("/") for part in parts[:100])


# (stand-in, dotted name in the pickle), as torch.serialization.safe_globals takes them.
STAND_INS: tuple[tuple[typing.Any, str], ...] = (
    (_Arguments, "argparse.Namespace"),
    (_number, "numpy._core.multiarray.scalar"),
    (_number, "numpy.core.multiarray.scalar"),
    (_NumberType, "numpy.dtype"),
    *(
        (_path, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path")
    ),
)
