"""The training pool: the same bytes however it is made, balanced, and refused when it is not whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meta_baseline.errors import EnvironmentProblem, InputError, UsageError
from meta_baseline.stimuli import generate_dataset, generate_pool, open_pool

TASKS = ("irregular", "random_color", "lines")


def test_the_number_of_workers_changes_no_byte(tmp_path: Path):
    for workers in (1, 3):
        generate_pool(TASKS, 1540, 32, 5, tmp_path / str(workers), workers=workers)
    for name in ("images.npy", "labels.npy", "task_ids.npy", "pool.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_tasks_and_classes_are_balanced_and_tasks_lie_together(tmp_path: Path):
    pool = generate_pool(TASKS, 64, 64, 0, tmp_path)
    assert pool.images.shape == (64, 64, 64)
    assert pool.images.dtype == np.uint8
    sizes = [len(pool.labels[pool.task_slice(task)]) for task in TASKS]
    assert sizes == [22, 22, 20]
    for number, task in enumerate(TASKS):
        some = pool.task_slice(task)
        assert (pool.task_ids[some] == number).all()
        assert pool.labels[some].mean() == 0.5
    with pytest.raises(UsageError, match=r"No task 'open' in this pool\. Tasks: irregular"):
        pool.task_slice("open")


def test_pool_images_are_those_of_the_data_set(tmp_path: Path):
    pool = generate_pool(("open",), 20, 32, 9, tmp_path)
    images, labels, _ = generate_dataset("open", num_images=20, seed=9, image_size=32)
    np.testing.assert_array_equal(pool.images, images)
    np.testing.assert_array_equal(pool.labels, labels)


def test_the_images_stay_on_disk(tmp_path: Path):
    pool = generate_pool(("open",), 20, 32, 9, tmp_path)
    assert isinstance(pool.images, np.memmap)
    assert not pool.images.flags.writeable


def test_a_pool_that_is_not_whole_is_refused(tmp_path: Path):
    generate_pool(("open",), 20, 32, 9, tmp_path)
    (tmp_path / "images.npy").write_bytes((tmp_path / "images.npy").read_bytes()[:5000])
    with pytest.raises(InputError, match="No complete training pool"):
        open_pool(tmp_path)
    (tmp_path / "pool.json").unlink()
    with pytest.raises(InputError, match="Generate it again"):
        open_pool(tmp_path)


@pytest.mark.parametrize(
    ("tasks", "num_images", "message"),
    [
        (("open", "open"), 20, "Name each task once"),
        ((), 20, "none"),
        (("open", "lines"), 2, "at least two"),
        (("open",), 21, "even number"),
        (("open", "triangles"), 20, "No task 'triangles'"),
    ],
)
def test_a_pool_of_nothing_sensible_is_refused(tmp_path: Path, tasks: tuple[str, ...], num_images: int, message: str):
    with pytest.raises(UsageError, match=message):
        generate_pool(tasks, num_images, 32, 0, tmp_path / "pool")
    assert not (tmp_path / "pool").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"Cannot write the training images to .*file"):
        generate_pool(("open",), 20, 32, 0, tmp_path / "file" / "pool")
