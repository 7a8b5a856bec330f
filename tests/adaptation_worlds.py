"""Tasks in which it is known which layer has to adapt, and networks that are short of just that layer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from meta_baseline.adaptation import AdaptationSettings, Subject, TaskStimuli

World = Literal["head", "first layer", "nothing to learn"]

ROLES = ("fc1", "fc2", "classifier")
QUICK = AdaptationSettings(
    steps=(0, 5),
    support_sizes=(10,),
    layer_steps=5,
    num_queries=20,
    max_episodes=10,
    control_episodes=10,
    thorough_every=1,
    learning_rate=0.3,
)
_WIDTH, _INPUTS = 6, 4


def make_subject(world: World, name: str = "meta", seed: int = 0) -> Subject:
    """Two hidden layers that pass their inputs on, and a head; pixel 0 of an image holds its label.

    head: the head is zero. first layer: pixel 0 does not enter, but the layers above read where it would arrive.
    """
    first, second, head = nn.Linear(_INPUTS, _WIDTH), nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (first, second, head):
            layer.bias.zero_()
        first.bias.add_(1.0)
        first.weight.copy_(0.3 * torch.randn(_WIDTH, _INPUTS, generator=generator))
        first.weight[:, 0] = 0.0
        second.weight.copy_(torch.eye(_WIDTH))
        head.weight.zero_()
        if world == "head":
            first.weight[0, 0], first.weight[1, 0] = 1.0, -1.0
        else:
            head.weight[0, 0], head.weight[0, 1] = 2.0, -2.0
            first.weight[:2] = 0.0
    chain = OrderedDict(flatten=nn.Flatten(), fc1=first, relu1=nn.ReLU(), fc2=second, relu2=nn.ReLU(), classifier=head)
    network = nn.Sequential(cast("OrderedDict[str, nn.Module]", chain))
    return Subject(name=name, network=network.eval(), loss=mean_loss, rule="logit")


def make_task(
    world: World, num: int = 320, seed: int = 0, num_groups: int | None = None, held_out: bool = False
) -> TaskStimuli:
    """Images [N, 1, 2, 2] of noise; pixel 0 is 1 or -1 by the label, unless there is nothing to learn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    images = rng.normal(0.0, 1.0, (num, 1, 2, 2)).astype(np.float32)
    if world != "nothing to learn":
        images[:, 0, 0, 0] = 0.3 * images[:, 0, 0, 0] + 2.0 * labels - 1.0
    groups = np.arange(num) if num_groups is None else np.arange(num) // 2 % num_groups

    def read(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images[rows])

    return TaskStimuli(name=world, labels=labels.astype(np.int64), groups=groups, read=read, held_out=held_out)


def mean_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the last logit."""
    return functional.binary_cross_entropy_with_logits(logits[:, -1], labels.to(logits.dtype))
