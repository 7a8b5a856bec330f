"""Networks of the family as modules: building, input scaling, and THE decision rule.

A network is ``[conv -> norm -> ReLU -> max pool] x depth``, flattened channel by channel, then fully connected layers
and a classifier; ``architectures`` lists the members. Submodules carry the names of the published state dicts.
Non-linearities and pools are submodules too, so that a hook can sit after each of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from meta_baseline.architectures import HEADS, MEMBERS, Architecture, Head, Norm, architecture_of
from meta_baseline.errors import UsageError
from meta_baseline.results import Provenance

__all__ = [
    "HEADS",
    "MEMBERS",
    "SCALINGS",
    "Architecture",
    "ConvNet",
    "DecisionRule",
    "Head",
    "Norm",
    "Preprocessing",
    "Scaling",
    "architecture_of",
    "build_network",
    "decide",
    "decision_margin",
    "prepare_images",
    "recalibrate_batch_norm",
    "untrained_copy",
]

Scaling = Literal["unit", "signed", "imagenet", "ink"]
DecisionRule = Literal["logit", "argmax"]
ModelT = TypeVar("ModelT", bound=nn.Module)

SCALINGS: tuple[Scaling, ...] = ("unit", "signed", "imagenet", "ink")
CLASSIFIER_SD = 0.01
_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma, as Pillow's and OpenCV's own conversions
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_SD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From stored images to network inputs, applied by calling it; the same for training and for every analysis.

    Attributes:
        image_size: side of the network's input in pixels; other images are resized by area averaging.
        in_channels: 1 (grey: ITU-R BT.601 luma of colour images) or 3.
        scaling: "unit" to [0, 1]; "signed" to [-1, 1]; "imagenet" standardises with the ImageNet mean and sd;
            "ink" is 1 for black and 0 for white.
        assumed: True when the file did not say and the scaling was chosen for it.
    """

    image_size: int
    in_channels: int
    scaling: Scaling
    assumed: bool = False

    def __call__(self, images: UInt8[Tensor, "N ..."]) -> Float[Tensor, "N C H W"]:
        """Images [N, H, W], [N, H, W, 3] or [N, 3, H, W] in 0..255 as float32 network inputs."""
        if images.dtype != torch.uint8 or images.ndim not in (3, 4):
            raise UsageError(
                f"Images must be uint8 of shape [N, H, W], [N, H, W, 3] or [N, 3, H, W]; found {images.dtype} of shape "
                f"{tuple(images.shape)}. Pass them as they are stored, in 0..255."
            )
        if images.ndim == 3:
            images = images.unsqueeze(1)
        elif images.shape[-1] in (1, 3):
            images = images.permute(0, 3, 1, 2)
        values = self._channels(images.float())
        if values.shape[-2:] != (self.image_size, self.image_size):
            values = nn.functional.interpolate(values, size=(self.image_size, self.image_size), mode="area")
        return self._scaled(values / 255).contiguous()

    def describe(self) -> str:
        """The scaling in words, e.g. ``signed [-1, 1] (assumed)``."""
        words = {
            "unit": "unit [0, 1]",
            "signed": "signed [-1, 1]",
            "imagenet": "ImageNet mean and sd",
            "ink": "ink (black 1, white 0)",
        }
        return words[self.scaling] + (" (assumed)" if self.assumed else "")

    def _channels(self, values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D H W"]:
        if values.shape[1] == self.in_channels:
            return values
        if self.in_channels == 1 and values.shape[1] == 3:
            weights = values.new_tensor(_GREY_WEIGHTS).view(1, 3, 1, 1)
            return (values * weights).sum(dim=1, keepdim=True)
        if values.shape[1] == 1:
            return values.expand(-1, self.in_channels, -1, -1)
        raise UsageError(f"Images have {values.shape[1]} channels. Pass grey or RGB images.")

    def _scaled(self, values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        if self.scaling == "signed":
            return values * 2 - 1
        if self.scaling == "ink":
            return 1 - values
        if self.scaling == "imagenet":
            mean, sd = values.new_tensor(_IMAGENET_MEAN), values.new_tensor(_IMAGENET_SD)
            if self.in_channels == 1:
                mean, sd = mean.mean(), sd.mean()
            return (values - mean.view(1, -1, 1, 1)) / sd.view(1, -1, 1, 1)
        return values


def decision_margin(logits: Float[Tensor, "N K"], rule: DecisionRule) -> Float[Tensor, " N"]:
    """How far each image is on the "class 1" side; positive exactly where ``decide`` says True.

    "logit" is the last logit alone (published meta-training puts binary cross-entropy on logit 1, and logit 0 is never
    trained); "argmax" is logit 1 minus logit 0.

    Raises:
        UsageError: for "argmax" on anything but two logits.
    """
    if rule == "logit":
        return logits[:, -1]
    if logits.shape[1] != 2:
        raise UsageError(f"The rule 'argmax' needs 2 logits, this network has {logits.shape[1]}. Use 'logit'.")
    return logits[:, 1] - logits[:, 0]


def decide(logits: Float[Tensor, "N K"], rule: DecisionRule) -> Bool[Tensor, " N"]:
    """True where the network answers "class 1" under ``rule``."""
    return decision_margin(logits, rule) > 0


class ConvNet(nn.Module):
    """One network of the family: images [N, C, H, W] in, logits [N, K] out.

    Submodules, in the order in which they act: ``conv{i}, bn{i}, relu{i}, pool{i}, dropout{i}`` with i = 1..depth, then
    ``fc_layers.{j}, layer_norms.{j}, fc_relus.{j}, fc_dropouts.{j}`` with j = 0.. (meta heads) or ``fc{j}, fc_relu{j},
    fc_dropout{j}`` with j = 1.. (baseline head), and ``classifier``.
    """

    temperature: nn.Parameter | None

    def __init__(
        self,
        architecture: Architecture,
        *,
        preprocessing: Preprocessing | None = None,
        decision_rule: DecisionRule | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.preprocessing = preprocessing or Preprocessing(
            image_size=architecture.image_size,
            in_channels=architecture.in_channels,
            scaling="ink" if architecture.in_channels == 1 else "signed",
        )
        self.decision_rule: DecisionRule = decision_rule or _usual_rule(architecture)
        self.provenance = Provenance(
            path="",
            sha256="",
            architecture=architecture.describe(),
            parameters="made in memory",
            decision_rule=self.decision_rule,
            input_scaling=self.preprocessing.describe(),
        )
        channels = (architecture.in_channels, *architecture.widths)
        for i in range(1, architecture.depth + 1):
            kernel, padding = architecture.kernels[i - 1], architecture.paddings[i - 1]
            self.add_module(f"conv{i}", nn.Conv2d(channels[i - 1], channels[i], kernel, padding=padding))
            self.add_module(f"bn{i}", _norm(architecture, channels[i]))
            self.add_module(f"relu{i}", nn.ReLU())
            self.add_module(f"pool{i}", nn.MaxPool2d(*architecture.pool))
            self.add_module(f"dropout{i}", _dropout(nn.Dropout2d, architecture.spatial_dropout))
        self._add_head(architecture)
        self.register_parameter("temperature", nn.Parameter(torch.ones(1)) if architecture.head == "old-meta" else None)

    def _add_head(self, architecture: Architecture) -> None:
        units = (architecture.num_features, *architecture.hidden)
        linears = [nn.Linear(units[j], units[j + 1]) for j in range(len(units) - 1)]
        dropouts = [_dropout(nn.Dropout, architecture.fc_dropout) for _ in linears]
        if architecture.head == "baseline":
            for j, (linear, dropout) in enumerate(zip(linears, dropouts, strict=True), start=1):
                self.add_module(f"fc{j}", linear)
                self.add_module(f"fc_relu{j}", nn.ReLU())
                self.add_module(f"fc_dropout{j}", dropout)
        else:
            self.fc_layers = nn.ModuleList(linears)
            self.layer_norms = nn.ModuleList([nn.LayerNorm(linear.out_features) for linear in linears])
            self.fc_relus = nn.ModuleList([nn.ReLU() for _ in linears])
            self.fc_dropouts = nn.ModuleList(dropouts)
        self.classifier = nn.Linear(units[-1], architecture.num_logits)

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Logits [N, K]; column K - 1 is the one for class 1."""
        values = images
        for stage in self._convolutional():
            values = stage(values)
        values = values.flatten(1)
        for stage in self._fully_connected():
            values = stage(values)
        logits = self.classifier(values)
        return logits if self.temperature is None else logits / self.temperature

    def _convolutional(self) -> Iterator[nn.Module]:
        for i in range(1, self.architecture.depth + 1):
            for stage in ("conv", "bn", "relu", "pool", "dropout"):
                yield self.get_submodule(f"{stage}{i}")

    def _fully_connected(self) -> Iterator[nn.Module]:
        for j in range(len(self.architecture.hidden)):
            if self.architecture.head == "baseline":
                names = (f"fc{j + 1}", f"fc_relu{j + 1}", f"fc_dropout{j + 1}")
            else:
                names = (f"fc_layers.{j}", f"layer_norms.{j}", f"fc_relus.{j}", f"fc_dropouts.{j}")
            for name in names:
                yield self.get_submodule(name)


def build_network(
    architecture: Architecture,
    generator: torch.Generator | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    decision_rule: DecisionRule | None = None,
) -> ConvNet:
    """A fresh network in training mode; the same generator state gives the same weights, None is seed 0.

    Weights are drawn by Kaiming's rule with fan-in (He et al. 2015, arXiv:1502.01852, eq. 10), the classifier with
    sd 0.01: the published fan-out initialisation of the last layer starts at a loss of 67 and kills most units.
    """
    with torch.device("meta"):  # so that torch's own initialisation neither costs time nor moves the global generator
        model = ConvNet(architecture, preprocessing=preprocessing, decision_rule=decision_rule)
    model = model.to_empty(device="cpu")
    _initialise(model, generator)
    return model


def untrained_copy(model: ModelT, generator: torch.Generator | None = None) -> ModelT:
    """The same network with fresh weights, in evaluation mode, on the same device: the control for every analysis.

    Raises:
        UsageError: for a module that holds parameters and is no convolution, linear or normalisation layer.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    fresh = copy.deepcopy(model).to("cpu")
    _initialise(fresh, generator)
    if isinstance(fresh, ConvNet):
        fresh.provenance = Provenance(
            path="",
            sha256="",
            architecture=fresh.architecture.describe(),
            parameters="untrained: a fresh initialisation",
            decision_rule=fresh.decision_rule,
            input_scaling=fresh.preprocessing.describe(),
        )
    return fresh.to(device).eval()


@torch.no_grad()
def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch norm by the mean of the batches' own; nothing else changes.

    Every batch counts the same, so pass batches of one size. Images in uint8 are preprocessed first.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]  # pyright: ignore[reportPrivateUsage]
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's cumulative average
        norm.train()
    for batch in batches:
        model(prepare_images(model, batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, training in modes.items():
        module.training = training


def prepare_images(model: nn.Module, images: Tensor) -> Float[Tensor, "N C H W"]:
    """Network inputs: uint8 images through the model's own preprocessing, floating-point tensors unchanged.

    A module that carries no preprocessing gets its uint8 images in [-1, 1] at their own size, with as many channels as
    its first convolution reads.
    """
    if images.is_floating_point():
        return images
    preprocessing = getattr(model, "preprocessing", None)
    if not isinstance(preprocessing, Preprocessing):
        first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
        preprocessing = Preprocessing(
            image_size=images.shape[2] if images.shape[-1] != 3 else images.shape[1],
            in_channels=first.in_channels if first is not None else 3,
            scaling="signed",
            assumed=True,
        )
    return preprocessing(images)


def _usual_rule(architecture: Architecture) -> DecisionRule:
    return "argmax" if architecture.head == "baseline" and architecture.num_logits == 2 else "logit"


def _norm(architecture: Architecture, channels: int) -> nn.Module:
    if architecture.norm == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=architecture.running_statistics)
    return nn.GroupNorm(math.gcd(8, channels), channels) if architecture.norm == "group" else nn.Identity()


def _dropout(kind: type[nn.Dropout] | type[nn.Dropout2d], probability: float) -> nn.Module:
    return kind(probability) if probability > 0 else nn.Identity()


@torch.no_grad()
def _initialise(model: nn.Module, generator: torch.Generator | None) -> None:
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    modules: list[tuple[str, nn.Module]] = list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]
    classifier = next((module for _, module in reversed(modules) if isinstance(module, nn.Linear)), None)
    for name, module in modules:
        if module is classifier and isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=CLASSIFIER_SD, generator=generator)
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm):  # pyright: ignore[reportPrivateUsage]
            module.reset_parameters()
        else:
            _initialise_other(name, module)
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.bias is not None:
            module.bias.zero_()


def _initialise_other(name: str, module: nn.Module) -> None:
    own = dict(module.named_parameters(recurse=False))
    temperature = own.pop("temperature", None)
    if temperature is not None:
        temperature.fill_(1.0)
    if own:
        raise UsageError(
            f"Cannot draw fresh weights for {name or 'the model'}, a {type(module).__name__}. "
            "Pass an untrained network of your own as the control."
        )
