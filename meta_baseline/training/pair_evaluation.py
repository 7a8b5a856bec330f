"""Every arm of every seed tested, a process for each arm; what was tested once is not tested again.

An arm's accuracy is committed beside its checkpoints, under a key made of the checkpoint and the test. So a test that
was interrupted goes on, and seeds that join later cost their own tests only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from meta_baseline.checkpoints import load_network
from meta_baseline.commits import committing, hash_file, hash_values, is_committed
from meta_baseline.errors import EnvironmentProblem
from meta_baseline.inner_loop import Precision
from meta_baseline.results import load_result, save_result
from meta_baseline.stimuli.generation import prepare_tasks
from meta_baseline.stimuli.registry import get_task
from meta_baseline.training.arm_accuracy import Arm, ArmAccuracy, ArmsTest, measure_arm
from meta_baseline.training.disk_images import read_task_images
from meta_baseline.training.evaluation_stimuli import generate_task_images
from meta_baseline.training.learnt_adaptation import adaptation_path, read_adaptation

_FORMAT = 3
"""To be raised when the same checkpoint and test would give other numbers."""


@dataclass(frozen=True, kw_only=True)
class ArmToTest:
    """One arm of one seed.

    Attributes:
        seed: of the pair; all arms of it see the same images.
        checkpoint: of the network; what it learned beside its weights is read from beside it.
        folder: that its accuracy is written to.
        tasks, trained_tasks: by name; all, and those it was trained on.
        data_dir: folder whose test split is asked about; None draws fresh images.
    """

    seed: int
    checkpoint: Path
    folder: Path
    tasks: tuple[str, ...]
    trained_tasks: tuple[str, ...]
    image_size: int
    test: ArmsTest
    precision: Precision
    data_dir: str | None = None
    device: str = "cpu"

    @property
    def key(self) -> str:
        """What the accuracy depends on."""
        beside = adaptation_path(self.checkpoint)
        learnt = hash_file(beside) if beside.exists() else ""
        settings = (
            self.seed,
            self.tasks,
            self.trained_tasks,
            self.image_size,
            asdict(self.test),
            self.precision,
            *(() if self.data_dir is None else (self.data_dir,)),
            _FORMAT,
        )
        return hash_values(hash_file(self.checkpoint), learnt, *settings)


def measure_arms(
    arms: Sequence[ArmToTest],
    *,
    processes: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> list[ArmAccuracy]:
    """The accuracy of each arm, in their order; ``processes`` arms are tested at a time, with one thread each.

    Raises:
        EnvironmentProblem: a process was ended from outside.
        MetaBaselineError: a checkpoint cannot be read.
    """
    missing = [arm for arm in arms if not is_committed(arm.folder, arm.key)]
    if missing:
        if missing[0].data_dir is None:
            prepare_tasks(map(get_task, missing[0].tasks))
        context = get_context("forkserver")
        with ProcessPoolExecutor(min(processes, len(missing)), mp_context=context) as pool:
            try:
                for _ in progress(pool.map(_measure, missing), desc="accuracy of the arms", total=len(missing)):
                    pass
            except BrokenProcessPool as error:
                raise EnvironmentProblem(
                    "A process that tests a network was ended from outside, perhaps for memory. Use fewer --processes."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
    return [load_result(arm.folder) for arm in arms]


def _measure(arm: ArmToTest) -> None:
    torch.set_num_threads(1)
    wanted: dict[str, Any] = {
        "images_per_task": arm.test.images_per_task,
        "image_size": arm.image_size,
        "seed": arm.seed,
    }
    if arm.data_dir is None:
        images = generate_task_images(arm.tasks, **wanted)
    else:
        images = read_task_images(arm.data_dir, arm.tasks, **wanted)
    learnt = read_adaptation(arm.checkpoint)
    network = load_network(arm.checkpoint).to(arm.device)
    subject = Arm(network=network, learnt=learnt.to(arm.device) if learnt else None)
    accuracy = measure_arm(
        subject, images, trained_tasks=arm.trained_tasks, seed=arm.seed, test=arm.test, precision=arm.precision
    )
    with committing(arm.folder, arm.key) as temporary:
        save_result(accuracy, temporary)
