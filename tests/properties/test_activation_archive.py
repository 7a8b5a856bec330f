"""Passes kept on disk: equal to those in memory, not made twice, and made again when anything they rest on changes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from activation_world import make_images, make_loader, make_network, make_stimuli

from meta_baseline.activations import archive, collect_store, collect_stores
from meta_baseline.datasets import read_stimuli
from meta_baseline.errors import EnvironmentProblem
from meta_baseline.layers import list_layers
from meta_baseline.models import architecture_of, build_network
from meta_baseline.stimuli import write_svrt_folder


def collect(model, images, **options):
    return collect_store(
        model,
        make_loader(images),
        list_layers(model),
        network="untrained 2",
        stimuli=make_stimuli(len(images)),
        rng=np.random.default_rng(0),
        gram_images=5,
        **options,
    )


def assert_equal(first, second):
    for field in dataclasses.fields(first):
        before, after = getattr(first, field.name), getattr(second, field.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype and before.shape == after.shape, field.name
            np.testing.assert_array_equal(before, after, err_msg=field.name)
        elif field.name == "layers":
            assert list(before) == list(after)
            for role in before:
                assert_equal(before[role], after[role])
        elif field.name == "latents":
            assert before.equals(after)
        else:
            assert before == after


@pytest.mark.parametrize("places", [0, 24])
def test_a_pass_on_disk_holds_the_bytes_of_one_in_memory(tmp_path, places):
    model, images = make_network(), make_images()
    in_memory = collect(model, images, positions_per_image=places)
    on_disk = collect(model, images, positions_per_image=places, folder=tmp_path)
    assert_equal(in_memory, on_disk)
    again = archive.read_store(tmp_path, make_stimuli(14))
    assert_equal(in_memory, again)
    assert isinstance(again.layers["conv1"].grid, np.memmap)
    assert again.layers["fc1"].positions is again.layers["fc1"].pooled
    torch.from_numpy(again.layers["conv1"].grid)  # takes it without a warning
    again.layers["conv1"].grid[:] = -1  # stays in memory
    assert_equal(in_memory, archive.read_store(tmp_path, make_stimuli(14)))


def test_a_folder_that_is_named_from_where_one_stands_is_as_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    model, images = make_network(), make_images()
    on_disk = collect(model, images, folder=Path("here"))
    assert_equal(collect(model, images), on_disk)
    assert_equal(on_disk, archive.read_store(Path("here"), make_stimuli(14)))


def build(seed):
    architecture = architecture_of("stack4", image_size=32, head="meta")
    return build_network(architecture, torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stimuli")
    images = folder / "results_irregular" / "test"
    images.mkdir(parents=True)
    write_svrt_folder(images, "irregular", num_images=24, seed=0, split="test")
    return read_stimuli(folder, task="irregular")


def test_a_pass_that_is_there_is_not_made_again_and_one_of_other_weights_is(tmp_path, stimuli):
    passes = []

    def count(iterable, desc=""):
        passes.append(desc)
        return iterable

    def collect_all(meta_seed=1, **options):
        passes.clear()
        return collect_stores(
            build(meta_seed),
            build(2),
            stimuli,
            num_untrained=1,
            rng=np.random.default_rng(0),
            progress=count,
            **options,
        )

    in_memory = collect_all()
    assert len(passes) == 3
    first = collect_all(store_dir=tmp_path)
    assert len(passes) == 3
    second = collect_all(store_dir=tmp_path)
    assert passes == []
    for one, other, third in zip(in_memory.networks, first.networks, second.networks):
        assert_equal(one, other)
        assert_equal(one, third)
    collect_all(meta_seed=5, store_dir=tmp_path)
    assert passes == ["activations of meta"]
    collect_all(meta_seed=5, store_dir=tmp_path, gram_images=7)
    assert len(passes) == 3
    damaged = next((tmp_path / "baseline").glob("conv1.grid.bin"))
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\x00\x01\x02\x03")
    collect_all(meta_seed=5, store_dir=tmp_path, gram_images=7)
    assert passes == ["activations of baseline"]


def test_a_disk_that_is_full_is_named(tmp_path):
    from meta_baseline.activations.rows import Rows

    rows = Rows(10, (2,), np.float32, tmp_path / "a.bin")
    rows.append(np.ones((3, 2)))
    assert rows.finish().shape == (3, 2)
    full = Rows(10, (2,), np.float32, tmp_path / "b.bin")
    full._file.close()
    full._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123
    with pytest.raises(EnvironmentProblem, match=r"Cannot write activations to .*b\.bin: No space left on device"):
        full.append(np.ones((10, 2)))
    full._file.close()
