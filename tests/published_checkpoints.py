"""Checkpoints as laboratories have them, built from the published table alone: no code of the package is used here.

``published_state`` makes a state dict of any member, ``write_published`` saves it in any wrapper, prefix and dtype, and
``reference_logits`` computes what such a network answers, with plain functional calls.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

MEMBERS = (
    ("conv2", "meta"),
    ("conv2", "baseline"),
    ("conv4", "meta"),
    ("conv4", "baseline"),
    ("conv6", "meta"),
    ("conv6", "baseline"),  # also the "legacy" meta conv6
    ("old-conv4", "old-meta"),
    ("old-conv6", "old-meta"),
)
WRAPPERS = ("bare", "model_state_dict", "state_dict", "maml_state_dict", "both", "safetensors")
PREFIXES = ("", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

# Convolutions as (channels, kernel, padding), then what the last map must be at 128 px.
_CONVOLUTIONS = {
    ("conv2", "meta"): [(6, 2, 1), (12, 2, 1)],
    ("conv2", "baseline"): [(6, 2, 1), (12, 2, 1)],
    ("conv4", "meta"): [(12, 4, 2), (24, 2, 1), (48, 2, 1), (96, 2, 1)],
    ("conv4", "baseline"): [(12, 4, 1), (24, 2, 1), (48, 2, 1), (96, 2, 1)],
    ("conv6", "meta"): [(18, 6, 2), (36, 2, 1), (72, 2, 1), (144, 2, 1), (288, 2, 1), (576, 2, 1)],
    ("conv6", "baseline"): [(18, 6, 2), (36, 2, 1), (72, 2, 1), (144, 2, 1), (288, 2, 1), (576, 2, 1)],
    ("old-conv4", "old-meta"): [(32 * 2**i, 3, 1) for i in range(4)],
    ("old-conv6", "old-meta"): [(32 * 2**i, 3, 1) for i in range(6)],
}
FLATTENED_AT_128 = {"conv2": 13068, "conv4": 7776, "conv6": 5184, "old-conv4": 16384, "old-conv6": 4096}
_UNITS = {"old-conv4": (512, 256, 128), "old-conv6": (1024, 512, 256)}


def published_state(
    member: str,
    head: str,
    *,
    seed: int = 0,
    image_size: int = 128,
    in_channels: int = 3,
    units: tuple[int, ...] | None = None,
) -> dict[str, Tensor]:
    """A state dict with the published names and shapes, and weights under which a signal reaches the logits."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int, sd: float = 1.0, mean: float = 0.0) -> Tensor:
        return mean + sd * torch.randn(*shape, generator=generator)

    state: dict[str, Tensor] = {}
    side, channels = image_size, in_channels
    for i, (width, kernel, padding) in enumerate(_CONVOLUTIONS[member, head], start=1):
        state[f"conv{i}.weight"] = noise(width, channels, kernel, kernel, sd=(2 / (channels * kernel**2)) ** 0.5)
        state[f"conv{i}.bias"] = noise(width, sd=0.1)
        state[f"bn{i}.weight"] = noise(width, sd=0.1, mean=1.0)
        state[f"bn{i}.bias"] = noise(width, sd=0.1)
        state[f"bn{i}.running_mean"] = noise(width, sd=0.1)
        state[f"bn{i}.running_var"] = noise(width).abs() + 0.5
        state[f"bn{i}.num_batches_tracked"] = torch.tensor(100 + i)
        side = side + 2 * padding - kernel + 1
        side = side // 2 if member.startswith("old") else (side - 1) // 2 + 1
        channels = width
    inputs = channels * side**2
    for j, width in enumerate(units or _UNITS.get(member, (1024, 1024, 1024))):
        name = f"fc{j + 1}" if head == "baseline" else f"fc_layers.{j}"
        state[f"{name}.weight"] = noise(width, inputs, sd=(2 / inputs) ** 0.5)
        state[f"{name}.bias"] = noise(width, sd=0.1)
        if head != "baseline":
            state[f"layer_norms.{j}.weight"] = noise(width, sd=0.1, mean=1.0)
            state[f"layer_norms.{j}.bias"] = noise(width, sd=0.1)
        inputs = width
    state["classifier.weight"] = noise(2, inputs, sd=inputs**-0.5)
    state["classifier.bias"] = noise(2, sd=0.1)
    if head == "old-meta":
        state["temperature"] = torch.tensor([1.7])
    return state


def reference_logits(state: dict[str, Tensor], member: str, head: str, images: Tensor) -> Tensor:
    """Logits [N, 2] of network inputs [N, C, H, W] in evaluation mode, by functional calls in the published order."""
    values = images
    for i, (_, _, padding) in enumerate(_CONVOLUTIONS[member, head], start=1):
        values = F.conv2d(values, state[f"conv{i}.weight"], state[f"conv{i}.bias"], padding=padding)
        scale = state[f"bn{i}.weight"] / torch.sqrt(state[f"bn{i}.running_var"] + 1e-5)
        shift = state[f"bn{i}.bias"] - state[f"bn{i}.running_mean"] * scale
        values = F.relu(values * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1))
        values = F.max_pool2d(values, 2) if member.startswith("old") else F.max_pool2d(values, 3, 2, 1)
    values = values.reshape(len(values), -1)
    for j in range(3):
        name = f"fc{j + 1}" if head == "baseline" else f"fc_layers.{j}"
        values = values @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        if head != "baseline":
            centred = values - values.mean(dim=1, keepdim=True)
            values = centred / torch.sqrt(values.var(dim=1, unbiased=False, keepdim=True) + 1e-5)
            values = values * state[f"layer_norms.{j}.weight"] + state[f"layer_norms.{j}.bias"]
        values = F.relu(values)
    logits = values @ state["classifier.weight"].T + state["classifier.bias"]
    return logits / state["temperature"] if head == "old-meta" else logits


def write_published(
    path: str | Path,
    member: str = "conv4",
    head: str = "meta",
    wrapper: str = "model_state_dict",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    *,
    prefix: str = "",
    image_size: int = 128,
    in_channels: int = 3,
    units: tuple[int, ...] | None = None,
    namespace: bool = False,
) -> dict[str, Tensor]:
    """Save a checkpoint as the published code does; what comes back is the state a reader should find, in float32.

    ``wrapper`` is one of WRAPPERS; "both" holds model_state_dict and maml_state_dict. ``namespace`` makes ``args`` an
    ``argparse.Namespace`` instead of a dict. Small and quick: ``image_size=32, units=(32, 32, 32)``.
    """
    state = published_state(member, head, seed=seed, image_size=image_size, in_channels=in_channels, units=units)
    stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    named = {prefix + name: tensor for name, tensor in stored.items()}
    if wrapper == "safetensors":
        save_file(named, path)
    elif wrapper == "bare":
        torch.save(named, path)
    else:
        torch.save(_wrapped(named, stored, wrapper, seed, namespace), path)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}


def _wrapped(
    named: dict[str, Tensor], stored: dict[str, Tensor], wrapper: str, seed: int, namespace: bool
) -> dict[str, object]:
    weights = [torch.nn.Parameter(tensor) for tensor in stored.values() if tensor.is_floating_point()][:4]
    optimizer = torch.optim.Adam(weights)
    settings = {"seed": seed, "inner_lr": 0.05, "adaptation_steps": 5, "data_dir": "data/pb/pb"}
    content: dict[str, object] = {
        "epoch": 12,
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10).state_dict(),
        "train_acc": 0.91,
        "val_acc": 0.87,
        "val_loss": 0.3,
        "best_val_acc": 0.88,
        "test_acc": 0.85,
        "args": argparse.Namespace(**settings) if namespace else settings,
        "held_out_task": "arrows",
    }
    if wrapper in ("maml_state_dict", "both"):
        content["maml_state_dict"] = {"module." + name: tensor for name, tensor in named.items()}
    if wrapper != "maml_state_dict":
        content["model_state_dict" if wrapper == "both" else wrapper] = named
    return content
