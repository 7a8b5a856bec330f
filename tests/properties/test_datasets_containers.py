"""Files that hold many images: episodes, naturalistic groups, TFRecords, archives; and folders named same/different."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from stimulus_files import (
    alternate,
    bitwise_crc32c,
    draw,
    draw_many,
    encode_png,
    write_episodes,
    write_groups,
    write_pngs,
    write_tfrecords,
)

from meta_baseline.datasets import StimulusDataset, build_loader, hash_stimuli, read_grey_images, read_stimuli
from meta_baseline.datasets.crc32c import crc32c
from meta_baseline.errors import StimulusError, UsageError


def sentences(stimuli) -> dict[str, str]:
    return {check.code: check.sentence for check in stimuli.checks}


def verdicts(stimuli) -> dict[str, str]:
    return {check.code: check.verdict for check in stimuli.checks}


def pixels(stimuli) -> np.ndarray:
    dataset = StimulusDataset(stimuli)
    return np.stack([dataset[index][0].numpy() for index in range(len(dataset))])


def sorted_by_bytes(images: np.ndarray) -> list[bytes]:
    return sorted(image.tobytes() for image in images)


@pytest.mark.parametrize("query", [2, 3, 8])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_episodes_are_flattened_episode_by_episode_whatever_their_size(tmp_path: Path, query: int, compression):
    path = write_episodes(tmp_path / "irregular_support6_test.h5", support=6, query=query, compression=compression)
    stimuli = read_stimuli(tmp_path, task="irregular")
    with h5py.File(path) as file:
        images = np.concatenate([file["support_images"][()], file["query_images"][()]], axis=1)
        labels = np.concatenate([file["support_labels"][()], file["query_labels"][()]], axis=1)
    np.testing.assert_array_equal(pixels(stimuli), images.reshape(-1, 16, 16, 3))
    np.testing.assert_array_equal(stimuli.labels, labels.ravel())
    assert stimuli.name == "task irregular, test split"
    assert set(stimuli.paths) == {path}
    assert f"6 + {query} images" in sentences(stimuli)["data.episodes"]
    assert "unit" in sentences(stimuli)["data.scaling"] and "signed" in sentences(stimuli)["data.scaling"]
    assert stimuli.image_names[1] == f"{path}#1"


def test_episodes_of_a_problem_are_found_by_the_folder_they_lie_in(tmp_path: Path):
    for number in (1, 7):
        for split, seed in (("train", 0), ("test", 500)):
            write_episodes(tmp_path / f"results_problem_{number}" / f"support4_{split}.h5", seed=seed)
    stimuli = read_stimuli(tmp_path, 7)
    assert stimuli.name == "SVRT problem 7, test split"
    assert read_stimuli(tmp_path, task="svrt7", split="train").name == "SVRT problem 7, train split"
    assert read_stimuli(tmp_path / "results_problem_7").name == stimuli.name
    assert read_stimuli(tmp_path / "results_problem_7" / "support4_test.h5", 7).name == stimuli.name
    with pytest.raises(UsageError, match=r"several sets \(problems: 1, 7\)"):
        read_stimuli(tmp_path)
    with pytest.raises(StimulusError, match=r"No val split in .* Found: test, train"):
        read_stimuli(tmp_path, 7, split="val")
    with pytest.raises(StimulusError, match=r"No images of problem 1 in .*support4_test\.h5\. Found problems: 7"):
        read_stimuli(tmp_path / "results_problem_7" / "support4_test.h5", 1)


def test_of_several_support_sizes_the_smallest_is_taken_and_the_others_are_named(tmp_path: Path):
    for support in (10, 4, 6):
        write_episodes(tmp_path / f"open_support{support}_val.h5", support=support, seed=100 * support)
    stimuli = read_stimuli(tmp_path)
    assert stimuli.paths[0].name == "open_support4_val.h5"
    text = sentences(stimuli)["data.images"]
    assert "passed over: open_support6_val.h5, open_support10_val.h5" in text


def test_tasks_in_one_folder_are_told_apart_by_the_names_of_their_files(tmp_path: Path):
    write_episodes(tmp_path / "filled_support4_test.h5")
    write_episodes(tmp_path / "wider_line_support4_test.h5", seed=50)
    assert read_stimuli(tmp_path, task="wider_line").name == "task wider_line, test split"
    with pytest.raises(StimulusError, match=r"No images of task lines .* Found tasks: filled, wider_line"):
        read_stimuli(tmp_path, task="lines")


def test_naturalistic_groups_are_read_and_brought_to_one_size_where_they_differ(tmp_path: Path):
    alike = read_stimuli(write_groups(tmp_path / "alike" / "test.h5", [16, 16, 16]))
    assert alike.image_shape == (16, 16) and len(alike) == 18 and alike.labels.sum() == 9
    np.testing.assert_array_equal(pixels(alike)[6], draw(1000))
    mixed = read_stimuli(write_groups(tmp_path / "mixed" / "test.h5", [16, 32, 20]).parent)
    assert mixed.image_shape == (128, 128) and len(mixed) == 18
    assert verdicts(mixed)["data.resized"] == "note"
    assert "imagenet" in sentences(mixed)["data.scaling"]
    inside = write_groups(tmp_path / "inside" / "test.h5", [16, 16])
    with h5py.File(inside, "a") as file:
        del file["episode_000001/query_images"]
        file["episode_000001/query_images"] = draw_many((2,), 5, 32)[..., 0]
    stimuli = read_stimuli(inside)
    assert stimuli.image_shape == (128, 128) and len(stimuli) == 12 and "data.resized" in verdicts(stimuli)
    assert len({image.tobytes() for image in pixels(stimuli)}) == 12


def test_tfrecords_are_read_without_tensorflow(tmp_path: Path):
    path = write_tfrecords(tmp_path / "regular_test.tfrecords", 10)
    stimuli = read_stimuli(tmp_path, task="regular")
    assert stimuli.labels.tolist() == [0, 1] * 5
    np.testing.assert_array_equal(pixels(stimuli), np.stack([draw(i) for i in range(10)]))
    assert "standardise" in sentences(stimuli)["data.scaling"]
    assert read_stimuli(path).name == stimuli.name


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 500, 4095, 4096, 4097, 4098, 4100, 9000])
def test_checksums_are_those_of_the_definition(length: int):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == bitwise_crc32c(data)
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 3)])
def test_archives_bring_latents_and_identities(tmp_path: Path, save, shape: tuple[int, ...]):
    images = draw_many((12,))[..., 0] if len(shape) == 2 else draw_many((12,))
    identity = np.arange(12) // 4
    save(
        tmp_path / "svrt1_test.npz",
        images=images, labels=np.arange(12) % 2, identity=identity,
        latent_size1=np.arange(12.0), split=np.array("test"),
    )  # fmt: skip
    stimuli = read_stimuli(tmp_path, 1)
    expected = np.repeat(images[..., np.newaxis], 3, axis=3) if len(shape) == 2 else images
    np.testing.assert_array_equal(pixels(stimuli), expected)
    assert stimuli.groups.tolist() == identity.tolist()
    assert stimuli.latents["size1"].tolist() == list(range(12))
    assert verdicts(stimuli)["data.latents"] == "pass"


def test_episodes_bring_latents_where_they_have_them(tmp_path: Path):
    path = write_episodes(tmp_path / "lines_support4_test.h5")
    with h5py.File(path, "a") as file:
        for part, number in (("support", 4), ("query", 3)):
            values = np.arange(5 * number * 2.0).reshape(5, number, 2)
            file.create_dataset(f"{part}_latents", data=values).attrs["names"] = ["identity", "size1"]
    stimuli = read_stimuli(path)
    assert list(stimuli.latents) == ["size1"]
    assert stimuli.latents["size1"].tolist()[:7] == [1, 3, 5, 7, 1, 3, 5]
    assert stimuli.groups.tolist()[:7] == [0, 2, 4, 6, 0, 2, 4]


@pytest.mark.parametrize("split", ["", "train/", "test/"])
def test_folders_named_same_and_different_hold_images_of_any_name(tmp_path: Path, split: str):
    for number, (folder, name) in enumerate(
        [
            ("same", "a b.png"),
            ("same", "größe;$(x).png"),
            ("different", "0.png"),
            ("different", "--1.PNG"),
            ("same", "._0.png"),
        ]
    ):
        path = tmp_path / "objectsall_2" / f"{split}{folder}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(draw(number)))
    for where in (tmp_path, tmp_path / "objectsall_2"):
        stimuli = read_stimuli(where)
        found = sorted((label, path.name) for path, label in zip(stimuli.paths, stimuli.labels))
        assert found == [(0, "--1.PNG"), (0, "0.png"), (1, "a b.png"), (1, "größe;$(x).png")]


def test_batches_and_grey_images_are_the_same_from_every_format(tmp_path: Path):
    write_pngs(tmp_path / "png" / "results_problem_1", 10)
    write_tfrecords(tmp_path / "tf" / "svrt1_test.tfrecords", 10)
    write_episodes(tmp_path / "h5" / "svrt1_support10_test.h5", episodes=1, support=10, query=2)
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "svrt1_test.npz", images=draw_many((10,)), labels=np.arange(10) % 2)
    greys, latents = [], []
    for name in ("png", "tf", "h5", "npz"):
        stimuli = read_stimuli(tmp_path / name, 1)
        images = torch.cat([batch[0] for batch in build_loader(stimuli, batch_size=4, num_workers=0)])
        assert torch.equal(images[:10], torch.from_numpy(draw_many((10,))))
        greys.append(read_grey_images(stimuli, 8)[:10])
        latents.append(stimuli.latents.iloc[:10].to_numpy())
    for grey, values in zip(greys[1:], latents[1:]):
        np.testing.assert_array_equal(grey, greys[0])
        np.testing.assert_array_equal(values, latents[0])


def test_a_subsample_of_episodes_is_balanced_and_repeatable(tmp_path: Path):
    path = write_episodes(tmp_path / "irregular_support4_train.h5", episodes=12)
    some = read_stimuli(path, max_images=20)
    assert some.labels.sum() == 10 and len(some) == 20
    assert some.positions.tolist() == read_stimuli(path, max_images=20).positions.tolist()
    assert some.positions.tolist() != read_stimuli(path, max_images=20, seed=1).positions.tolist()
    everything = read_stimuli(path)
    np.testing.assert_array_equal(pixels(some), pixels(everything)[some.positions])


def test_the_hash_of_stimuli_changes_with_pixels_choice_and_latents_alone(tmp_path: Path):
    path = write_episodes(tmp_path / "irregular_support4_test.h5")
    first = hash_stimuli(read_stimuli(path))
    assert hash_stimuli(read_stimuli(tmp_path)) == first
    assert hash_stimuli(read_stimuli(path, max_images=10)) != first
    with h5py.File(path, "a") as file:
        file["query_images"][0, 0, 0, 0, 0] = 7
    assert hash_stimuli(read_stimuli(path)) != first
    folder = write_pngs(tmp_path / "png" / "results_problem_1")
    before = hash_stimuli(read_stimuli(folder))
    rows = "".join(f"{image.name},{len(image.name)}\n" for image in folder.iterdir())
    (folder / "latents.csv").write_text("file,size1\n" + rows)
    assert hash_stimuli(read_stimuli(folder)) != before


def test_a_source_goes_to_loading_processes_without_its_process(tmp_path: Path):
    stimuli = read_stimuli(write_episodes(tmp_path / "irregular_support4_test.h5"))
    copied = pickle.loads(pickle.dumps(StimulusDataset(stimuli)))
    assert torch.equal(copied[3][0], StimulusDataset(stimuli)[3][0])


def test_symbolic_sets_are_refused_in_one_line_that_says_so(tmp_path: Path):
    with h5py.File(tmp_path / "problem_07.h5", "w") as file:
        for label in (0, 1):
            file.create_dataset(f"class_{label}/nb_shapes/0", data=2)
    with pytest.raises(StimulusError, match="symbolic data set of pySVRT, shapes and relations without images"):
        read_stimuli(tmp_path, 7)


def test_whitened_images_are_traced_to_the_published_fault(tmp_path: Path):
    path = write_episodes(tmp_path / "random_color_support4_test.h5", episodes=10)
    with h5py.File(path, "a") as file:
        file["support_images"][1:] = 255
        file["query_images"][2:] = 255
    stimuli = read_stimuli(path)
    assert verdicts(stimuli)["data.blank"] == "fail"
    assert "random_color" in sentences(stimuli)["data.blank"] and "60 of 70" in sentences(stimuli)["data.blank"]
    assert "data.duplicates" not in verdicts(stimuli)


def test_images_that_are_in_two_splits_are_found_in_every_format(tmp_path: Path):
    write_episodes(tmp_path / "a" / "irregular_support4_train.h5")
    write_episodes(tmp_path / "a" / "irregular_support4_test.h5", episodes=2)
    write_tfrecords(tmp_path / "b" / "regular_train.tfrecords", 20)
    write_tfrecords(tmp_path / "b" / "regular_test.tfrecords", 6, seed=14)
    write_pngs(tmp_path / "c" / "results_problem_1" / "train", 20)
    write_pngs(tmp_path / "c" / "results_problem_1" / "test", 10, seed=18)
    for folder, number in (("a", 14), ("b", 6), ("c", 2)):
        stimuli = read_stimuli(tmp_path / folder)
        assert verdicts(stimuli)["data.leak"] == "warn"
        assert sentences(stimuli)["data.leak"].startswith(f"{number} of the ")
    write_pngs(tmp_path / "c" / "results_problem_1" / "test", 10, seed=500)
    clean = read_stimuli(tmp_path / "c")
    assert verdicts(clean)["data.leak"] == "pass" and "20 of 20 in train" in sentences(clean)["data.leak"]


def test_repeated_images_are_counted_and_contradictions_named(tmp_path: Path):
    folder = write_pngs(tmp_path / "results_problem_1", 10)
    assert "data.duplicates" not in verdicts(read_stimuli(folder))
    (folder / "sample_1_0001.png").write_bytes((folder / "sample_0_0000.png").read_bytes())
    stimuli = read_stimuli(folder)
    assert verdicts(stimuli)["data.duplicates"] == "warn"
    assert sentences(stimuli)["data.duplicates"].startswith("1 of 10 images repeat the pixels of another one, 1 of")


def test_identities_in_two_splits_are_found_unless_every_split_numbers_its_own(tmp_path: Path):
    def write_table(folder: Path, identities: list[int], indices: list[int] | None) -> None:
        names = sorted(path.name for path in folder.glob("*.png"))
        keys = "" if indices is None else ",seed,index"
        rows = [f"file,identity,size1{keys}"]
        for number, name in enumerate(names):
            key = "" if indices is None else f",0,{indices[number]}"
            rows.append(f"{name},{identities[number]},{number}{key}")
        (folder / "latents.csv").write_text("\n".join(rows) + "\n")

    train = write_pngs(tmp_path / "results_problem_1" / "train", 4)
    test = write_pngs(tmp_path / "results_problem_1" / "test", 4, seed=90)
    write_table(train, [0, 0, 1, 1], None)
    write_table(test, [1, 1, 2, 2], None)
    stimuli = read_stimuli(tmp_path)
    assert sentences(stimuli)["data.identity_leak"].startswith("1 of 2 shape identities are also in the train split")
    write_table(train, [0, 0, 1, 1], [0, 1, 2, 3])
    write_table(test, [1, 1, 2, 2], [4, 5, 6, 7])
    assert "data.identity_leak" in verdicts(read_stimuli(tmp_path))
    write_table(test, [1, 1, 2, 2], [0, 1, 2, 3])
    assert "data.identity_leak" not in verdicts(read_stimuli(tmp_path))


def test_labels_say_what_class_one_means_and_where_they_come_from(tmp_path: Path):
    write_pngs(tmp_path / "results_problem_24")
    text = sentences(read_stimuli(tmp_path))["data.labels"]
    assert "not 'same' in every problem" in text and "sample_1_<index> is class 1" in text
    write_episodes(tmp_path / "straight_lines_support4_test.h5")
    text = sentences(read_stimuli(tmp_path, task="straight_lines"))["data.labels"]
    assert "both lines have the same length" in text and "the file's own labels" in text
    write_pngs(tmp_path / "other" / "mine" / "same", 2)
    write_pngs(tmp_path / "other" / "mine" / "different", 2, seed=9)
    text = sentences(read_stimuli(tmp_path / "other"))["data.labels"]
    assert "same is class 1, different is class 0" in text


def test_images_that_no_name_tells_apart_are_taken_as_asked_and_this_is_said(tmp_path: Path):
    flat = write_pngs(tmp_path / "flat")
    assert read_stimuli(flat).name == "flat"
    asked = read_stimuli(flat, 3)
    assert asked.name == "SVRT problem 3"
    assert verdicts(asked)["data.labels"] == "note"
    assert "taken for SVRT problem 3, as asked" in sentences(asked)["data.labels"]
    path = write_episodes(tmp_path / "some" / "support4_test.h5")
    assert (
        read_stimuli(path, task="open").name == read_stimuli(path.parent, task="open").name == "task open, test split"
    )
    split = write_pngs(tmp_path / "results_problem_5" / "test")
    assert read_stimuli(split).name == "SVRT problem 5"


def test_a_data_folder_too_far_up_is_refused_with_the_one_that_is_meant(tmp_path: Path):
    write_pngs(tmp_path / "svrt" / "data" / "results_problem_1_1659464345" / "test")
    with pytest.raises(StimulusError, match=r"but in .*svrt/data\. Give that folder"):
        read_stimuli(tmp_path, 1)


def test_labels_that_are_no_class_are_left_out_and_named(tmp_path: Path):
    path = write_episodes(tmp_path / "irregular_support4_test.h5")
    with h5py.File(path, "a") as file:
        file["support_labels"][0] = [np.nan, 2, -1, 0.5]
    stimuli = read_stimuli(path)
    assert len(stimuli) == 31
    assert (
        "4 images of classes other than 0 and 1 were left out (labels: -1, 0.5, 2, nan)"
        in sentences(stimuli)["data.other_classes"]
    )
    with h5py.File(path, "a") as file:
        file["support_labels"][()] = np.nan
        file["query_labels"][()] = np.nan
    with pytest.raises(StimulusError, match=r"No images of class 0 or 1 .* Found classes: nan"):
        read_stimuli(path)


def test_flat_images_in_hdf5_are_read_as_well(tmp_path: Path):
    with h5py.File(tmp_path / "mine_test.h5", "w") as file:
        file["images"] = draw_many((9,))[..., :1]
        file["labels"] = alternate((9,)).astype(bool)
    stimuli = read_stimuli(tmp_path)
    np.testing.assert_array_equal(pixels(stimuli)[..., 1], draw_many((9,))[..., 0])
