"""How well a network does during training on images that it is never trained on; nothing of it changes."""

from __future__ import annotations

import numpy as np
import torch

from meta_baseline.activations.recording import evaluating
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet, decide
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training.pool_images import channels_last

_BATCH_SIZE = 100


def measure_by_task(network: ConvNet, pool: TrainingPool, *, precision: Precision) -> dict[str, float]:
    """Accuracy in [0, 1] on each task of the pool, in evaluation mode, without adaptation."""
    device = next(network.parameters()).device
    right: list[np.ndarray] = []
    with evaluating(network), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for start in range(0, len(pool.labels), _BATCH_SIZE):
            rows = slice(start, start + _BATCH_SIZE)
            images = network.preprocessing(torch.from_numpy(np.array(pool.images[rows])).to(device))
            answers = decide(network(channels_last(images)).float(), network.decision_rule)
            right.append(answers.cpu().numpy() == pool.labels[rows].astype(bool))
    correct = np.concatenate(right)
    return {task: float(correct[pool.task_slice(task)].mean()) for task in pool.tasks}
