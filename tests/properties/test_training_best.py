"""The best checkpoint is that of the highest validation accuracy, and validation changes nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_training import RECIPE, arm, make_pool

from meta_baseline.checkpoints import load_network
from meta_baseline.training import loop
from meta_baseline.training.loop import BEST, LAST, METRICS, train
from meta_baseline.training.validation import measure_by_task


@pytest.mark.parametrize("algorithm", ["baseline", "fomaml"])
def test_the_best_network_is_the_one_that_scored_highest_and_watching_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    monkeypatch.setattr(loop, "METRICS_EVERY", 128)
    monkeypatch.setattr(loop, "VALIDATE_EVERY", 128)
    recipe = arm(algorithm, num_images=1_024)
    watched = replace(RECIPE, tasks=(*RECIPE.tasks, *RECIPE.held_out), held_out=())
    validation = make_pool(watched, seed=9)
    train(recipe, make_pool(recipe), tmp_path / "watched", validation=validation)
    train(recipe, make_pool(recipe), tmp_path / "alone")
    assert (tmp_path / "watched" / LAST).read_bytes() == (tmp_path / "alone" / LAST).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "watched" / METRICS).read_text().splitlines()]
    scores = [line["trained_accuracy"] for line in lines]
    assert len(set(scores)) > 1
    assert {"outlines", "blocks", "crosses"} == set(lines[0]["validation"])
    best = measure_by_task(load_network(tmp_path / "watched" / BEST), validation, precision=recipe.precision)
    assert (best["outlines"] + best["blocks"]) / 2 == max(scores)
    assert not (tmp_path / "alone" / BEST).exists()
