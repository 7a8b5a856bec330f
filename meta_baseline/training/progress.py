"""How far training is, on the terminal: one bar per arm with loss, accuracy and images per second."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from meta_baseline.training.loop import TrainingStatus


class TrainingBars:
    """Progress bars on stderr for arms that train at once; silent where stderr is no terminal.

    Used as ``with TrainingBars(("meta", "baseline"), num_images) as bars: train_pair(..., report=bars.show)``.
    """

    def __init__(self, arms: Sequence[str], num_images: int) -> None:
        width = max(map(len, arms))
        self._bars = {
            arm: tqdm(
                desc=f"training {arm:<{width}}",
                total=num_images,
                position=position,
                unit=" images",
                disable=None,
                leave=False,
                dynamic_ncols=True,
                file=sys.stderr,
            )
            for position, arm in enumerate(arms)
        }

    def show(self, arm: str, status: TrainingStatus) -> None:
        """Move one arm's bar to what it has reached."""
        bar = self._bars[arm]
        worst = f", worst task {min(status.by_task.values()):.0%}" if status.by_task else ""
        bar.set_postfix_str(f"loss {status.loss:.3f}, accuracy {status.accuracy:.1%}{worst}", refresh=False)
        bar.update(status.images - bar.n)

    def __enter__(self) -> TrainingBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            bar.close()
