"""One arm of a comparison as a process of its own: work as JSON on stdin, progress in JSON lines, log on stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import torch

from meta_baseline.errors import MetaBaselineError
from meta_baseline.stimuli import open_pool
from meta_baseline.training.loop import TrainingStatus, train
from meta_baseline.training.recipes import decode_recipe


def main() -> int:
    """Train what stdin asks for; the exit code is that of the error tree."""
    work = json.load(sys.stdin)
    torch.set_num_threads(1)

    def report(status: TrainingStatus) -> None:
        sys.stdout.write(json.dumps(asdict(status)) + "\n")
        sys.stdout.flush()

    try:
        recipe, pool = decode_recipe(work["recipe"]), open_pool(work["pool"])
        validation = open_pool(work["validation"]) if work.get("validation") else None
        train(recipe, pool, work["output_dir"], device=work["device"], report=report, validation=validation)
    except MetaBaselineError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
