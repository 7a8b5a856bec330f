"""Stimuli that nobody vouches for: counted and named, or one line and exit 3; never a crash, never another file."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from stimulus_files import (
    alternate,
    draw,
    draw_many,
    encode_png,
    make_example,
    make_record,
    write_episodes,
    write_pngs,
    write_tfrecords,
)

from meta_baseline.datasets import StimulusDataset, hdf5_process, read_stimuli
from meta_baseline.datasets.crc32c import masked_crc32c
from meta_baseline.datasets.hdf5_process import BrokenContainer, Hdf5Process
from meta_baseline.datasets.images import UnreadableImage, decode_png
from meta_baseline.errors import InputError, StimulusError
from meta_baseline.stimuli import TASKS

NAME = "irregular_support4_test.h5"


def sentence(stimuli, code: str) -> str:
    return next(check.sentence for check in stimuli.checks if check.code == code)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, pixels: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


BAD_IMAGES = {
    "an empty file": (b"", "no PNG file"),
    "a JPEG": (encode_png(draw(0), "JPEG"), "no PNG file"),
    "a GIF": (encode_png(draw(0), "GIF"), "no PNG file"),
    "a TIFF": (encode_png(draw(0), "TIFF"), "no PNG file"),
    "half a file": (encode_png(draw(0))[:90], "damaged or truncated"),
    "a header alone": (encode_png(draw(0))[:33], "damaged or truncated"),
    "a wrong checksum": (encode_png(draw(0)).replace(b"IDAT", b"IDAU"), "damaged or truncated"),
    "noise as pixels": (make_png(16, 16, b"\xff" * 64), "damaged or truncated"),
    "too few pixels": (make_png(16, 16, zlib.compress(b"\0" * 40)), "damaged or truncated"),
    "another size": (encode_png(draw(0, 24)), "24 x 24 px, not 16 x 16"),
    "a huge canvas": (make_png(60_000, 60_000, zlib.compress(b"\0" * 1000)), "60000 x 60000 px, more than 4096"),
    "no width": (make_png(0, 16, zlib.compress(b"")), "0 x 16 px"),
    "an unknown depth": (make_png(16, 16, zlib.compress(b"\0" * 999), depth=7), "damaged or truncated"),
    "a compressed text of a gigabyte": (
        make_png(16, 16, b"", extra=chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**26)))),
        "damaged or truncated",
    ),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
@pytest.mark.parametrize("container", ["folder", "tfrecords"])
def test_an_image_that_is_none_is_counted_and_named(tmp_path: Path, kind: str, container: str):
    data, reason = BAD_IMAGES[kind]
    images = [encode_png(draw(i)) for i in range(8)]
    images[3] = data
    if container == "folder":
        folder = tmp_path / "results_problem_1"
        folder.mkdir()
        for index, image in enumerate(images):
            (folder / f"sample_{index % 2}_{index:04d}.png").write_bytes(image)
    else:
        records = [make_record(make_example(image, i % 2)) for i, image in enumerate(images)]
        (tmp_path / "svrt1_test.tfrecords").write_bytes(b"".join(records))
    stimuli = read_stimuli(tmp_path, 1)
    assert len(stimuli) == 7
    name = "sample_1_0003.png" if container == "folder" else "svrt1_test.tfrecords#3"
    text = sentence(stimuli, "data.unusable")
    assert text.startswith(f"1 images could not be used and were left out ({name}: ") and reason in text


def test_no_change_of_a_few_bytes_of_a_png_is_more_than_an_unreadable_image():
    rng = np.random.default_rng(0)
    kinds = [Image.fromarray(draw(1)), Image.fromarray(draw(1)).convert("P"), Image.fromarray(draw(1)).convert("RGBA")]
    whole = []
    for image in kinds:
        whole.append(encode_png(np.asarray(image)) if image.mode != "P" else _save(image))
    for number in range(3000):
        data = bytearray(whole[number % len(whole)])
        for place in rng.integers(8, len(data), 1 + number % 4):
            data[place] = rng.integers(256)
        if number % 3 == 0:
            _repair_checksums(data)
        with contextlib.suppress(UnreadableImage):
            assert decode_png(bytes(data)).dtype == np.uint8


def _save(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _repair_checksums(data: bytearray) -> None:
    place = 8
    while place + 12 <= len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        end = place + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4


def secret(tmp_path: Path) -> Path:
    """A file outside the data folder, with episodes that must never be read."""
    return write_episodes(tmp_path / "outside" / "secret.h5")


def _external_link(file: h5py.File, elsewhere: Path) -> None:
    del file["query_images"]
    file["query_images"] = h5py.ExternalLink(str(elsewhere), "/query_images")


def _soft_link_loop(file: h5py.File, elsewhere: Path) -> None:
    del file["query_images"]
    file["query_images"] = h5py.SoftLink("/a")
    file["a"] = h5py.SoftLink("/query_images")


def _virtual_set(file: h5py.File, elsewhere: Path) -> None:
    shape = file["query_images"].shape
    layout = h5py.VirtualLayout(shape=shape, dtype=np.uint8)
    layout[:] = h5py.VirtualSource(str(elsewhere), "query_images", shape=shape)
    del file["query_images"]
    file.create_virtual_dataset("query_images", layout)


def _external_storage(file: h5py.File, elsewhere: Path) -> None:
    shape = file["query_images"].shape
    del file["query_images"]
    file.create_dataset("query_images", shape, np.uint8, external=[(str(elsewhere), 0, h5py.h5f.UNLIMITED)])


def _float_images(file: h5py.File, elsewhere: Path) -> None:
    values = file["query_images"][()].astype(np.float32)
    del file["query_images"]
    file["query_images"] = values


def _text_labels(file: h5py.File, elsewhere: Path) -> None:
    del file["query_labels"]
    file["query_labels"] = np.array([[b"same"] * 3] * 5)


def _huge_shape(file: h5py.File, elsewhere: Path) -> None:
    del file["query_images"]
    file.create_dataset("query_images", (5, 2**31, 128, 128, 3), np.uint8, chunks=(1, 1, 128, 128, 3))


def _bomb(file: h5py.File, elsewhere: Path) -> None:
    # One chunk is stored; the others are never written and would come back as zeros.
    for part in ("support", "query"):
        del file[f"{part}_images"]
        images = file.create_dataset(
            f"{part}_images", (10_000, 8, 512, 512, 3), np.uint8, chunks=(1, 8, 512, 512, 3), compression="gzip"
        )
        images[0] = 0
        del file[f"{part}_labels"]
        file[f"{part}_labels"] = alternate((10_000, 8))


def _huge_chunk(file: h5py.File, elsewhere: Path) -> None:
    del file["query_images"]
    file.create_dataset("query_images", (5, 3, 16, 16, 3), np.uint8, chunks=(5, 3, 4096, 4096, 3), maxshape=(None,) * 5)


def _labels_of_another_shape(file: h5py.File, elsewhere: Path) -> None:
    del file["query_labels"]
    file["query_labels"] = alternate((5, 2))


def _no_labels(file: h5py.File, elsewhere: Path) -> None:
    del file["query_labels"]


def _images_are_a_group(file: h5py.File, elsewhere: Path) -> None:
    del file["query_images"]
    file.create_group("query_images")


def _flat_images(file: h5py.File, elsewhere: Path) -> None:
    del file["query_images"]
    file["query_images"] = np.zeros((5, 3), np.uint8)


def _fewer_episodes(file: h5py.File, elsewhere: Path) -> None:
    for kind in ("images", "labels"):
        values = file[f"query_{kind}"][:4]
        del file[f"query_{kind}"]
        file[f"query_{kind}"] = values


def _nothing_known(file: h5py.File, elsewhere: Path) -> None:
    for name in list(file):
        del file[name]
    file["weights\n\x1b[31m"] = np.zeros(3)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_external_link, "query_images is an external link, which is not followed"),
        (_soft_link_loop, "query_images is a soft link, which is not followed"),
        (_virtual_set, "virtual data set"),
        (_external_storage, "stored in another file"),
        (_float_images, "query_images has dtype float32, not uint8"),
        (_text_labels, r"query_labels has dtype \|S4, not a number"),
        (_huge_shape, "declares shape .* but holds 0 bytes"),
        (_bomb, "declares shape .* but holds"),
        (_huge_chunk, "chunks of more than 256 MiB"),
        (_labels_of_another_shape, r"query_labels has shape \(5, 2\), which does not fit"),
        (_no_labels, "query_labels is missing"),
        (_images_are_a_group, "query_images is no data set"),
        (_flat_images, "not one of images"),
        (_fewer_episodes, "different numbers of episodes"),
        (_nothing_known, r"holds neither episodes .* found: 'weights\\n\\x1b\[31m'"),
    ],
)
def test_hdf5_that_is_not_what_it_says_is_refused_in_one_line(tmp_path: Path, spoil: Callable, says: str):
    elsewhere = secret(tmp_path)
    path = write_episodes(tmp_path / "data" / NAME, seed=77)
    with h5py.File(path, "a") as file:
        spoil(file, elsewhere)
    read_before = elsewhere.stat().st_atime_ns
    with pytest.raises(StimulusError, match=says) as caught:
        read_stimuli(path.parent)
    assert NAME in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 3
    assert elsewhere.stat().st_atime_ns == read_before


def test_a_link_as_an_episode_is_refused_too(tmp_path: Path):
    elsewhere = secret(tmp_path)
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["episode_000000"] = h5py.ExternalLink(str(elsewhere), "/")
    with pytest.raises(StimulusError, match="is an external link"):
        read_stimuli(tmp_path / "test.h5")


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\xff" * 4000])
def test_what_is_no_hdf5_is_one_line(tmp_path: Path, content: bytes):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(StimulusError, match=rf"{NAME} cannot be used: "):
        read_stimuli(tmp_path)


def test_damaged_chunks_cost_their_images_only(tmp_path: Path):
    path = write_episodes(tmp_path / NAME, episodes=20, chunks=True, compression="gzip")
    with h5py.File(path, "a") as file:
        del file["support_images"]
        images = file.create_dataset(
            "support_images", (20, 4, 16, 16, 3), np.uint8, chunks=(1, 4, 16, 16, 3), fletcher32=True
        )
        images[:] = draw_many((20, 4))
        place = images.id.get_chunk_info(5).byte_offset
    with path.open("r+b") as stream:
        stream.seek(place + 100)
        stream.write(b"damage")
    stimuli = read_stimuli(path)
    assert len(stimuli) == 136
    assert f"4 images could not be used and were left out ({NAME}#35: damaged" in sentence(stimuli, "data.unusable")


def test_a_truncated_hdf5_file_is_one_line(tmp_path: Path):
    path = write_episodes(tmp_path / NAME)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StimulusError, match="cannot be used"):
        read_stimuli(path)


def test_no_change_of_a_few_bytes_of_hdf5_is_more_than_an_input_error(tmp_path: Path):
    rng = np.random.default_rng(1)
    whole = write_episodes(tmp_path / "whole.h5", episodes=2).read_bytes()
    path = tmp_path / NAME
    for _ in range(12):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 4000), 6):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            StimulusDataset(read_stimuli(path))[0]
        except InputError as error:
            assert len(str(error).splitlines()) == 1


def test_the_process_that_parses_hdf5_can_open_no_file_and_little_memory(tmp_path: Path):
    process = Hdf5Process(write_episodes(tmp_path / NAME))
    process.describe()
    limits = Path(f"/proc/{process._process.pid}/limits").read_text()
    assert re.search(r"Max open files +0 +0", limits)
    assert re.search(rf"Max address space +{2 * 2**30} ", limits)
    assert re.search(r"Max file size +0 +0", limits)
    process.close()
    assert not process.close.alive


def test_a_process_that_dies_or_hangs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stimuli = read_stimuli(write_episodes(tmp_path / NAME))
    assert stimuli.source is not None
    stimuli.source._process._process.kill()
    with pytest.raises(StimulusError, match=r"ends the process that parses it \(code -9\)"):
        StimulusDataset(stimuli)[0]
    assert StimulusDataset(stimuli)[0][0].shape == (16, 16, 3)  # a new process is started
    monkeypatch.setattr(hdf5_process, "MAX_SECONDS", 0.0)
    started = time.monotonic()
    with pytest.raises(BrokenContainer, match="longer than"):
        Hdf5Process(tmp_path / NAME).describe()
    assert time.monotonic() - started < 5


def test_a_file_that_changes_while_it_is_read_is_one_line(tmp_path: Path):
    path = write_episodes(tmp_path / NAME)
    stimuli = read_stimuli(path)
    path.unlink()
    write_episodes(path, size=24)
    stimuli.source.__dict__["_process"] = None
    with pytest.raises(StimulusError, match="changed while it was read"):
        StimulusDataset(stimuli)[0]


def _bad_data_checksum(records: list[bytes]) -> bytes:
    records[2] = records[2][:60] + bytes([records[2][60] ^ 1]) + records[2][61:]
    return b"".join(records)


def _bad_length_checksum(records: list[bytes]) -> bytes:
    records[6] = records[6][:8] + b"\0\0\0\0" + records[6][12:]
    return b"".join(records)


def _cut_off(records: list[bytes]) -> bytes:
    return b"".join(records)[:-20]


def _huge_length(records: list[bytes]) -> bytes:
    records[6] = make_record(b"")  # a right checksum over a length that no file has
    length = struct.pack("<Q", 2**62)
    return b"".join([*records[:6], length, struct.pack("<I", masked_crc32c(length)), b"x" * 100])


def _no_example(records: list[bytes]) -> bytes:
    records[2] = make_record(b"\xff" * 40)
    return b"".join(records)


def _no_image(records: list[bytes]) -> bytes:
    records[2] = make_record(b"")
    return b"".join(records)


@pytest.mark.parametrize(
    ("spoil", "left", "says"),
    [
        (_bad_data_checksum, 7, "record 2: checksum does not match"),
        (_bad_length_checksum, 6, "nothing can be read from byte"),
        (_cut_off, 7, "the file ends before a record of"),
        (_huge_length, 6, f"the file ends before a record of {2**62} bytes"),
        (_no_example, 7, "record 2: a number is too long"),
        (_no_image, 7, "record 2: no image_raw"),
    ],
)
def test_damaged_tfrecords_are_counted_and_named(tmp_path: Path, spoil: Callable, left: int, says: str):
    records = [make_record(make_example(encode_png(draw(i)), i % 2)) for i in range(8)]
    (tmp_path / "regular_test.tfrecords").write_bytes(spoil(records))
    stimuli = read_stimuli(tmp_path)
    assert len(stimuli) == left
    assert says in sentence(stimuli, "data.records")


def test_tfrecords_without_a_usable_record_are_one_line(tmp_path: Path):
    path = tmp_path / "regular_test.tfrecords"
    for content, says in (
        (b"", "it is empty"),
        (b"\x1f\x8b" * 20, "is compressed"),
        (b"x" * 99, "nothing can be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(StimulusError, match=says):
            read_stimuli(path)
    path.write_bytes(b"".join(make_record(make_example(encode_png(draw(i)), None)) for i in range(4)))
    with pytest.raises(StimulusError, match=r"No images of class 0 or 1 .* Found classes: nan"):
        read_stimuli(path)


def test_no_change_of_a_few_bytes_of_tfrecords_is_more_than_an_input_error(tmp_path: Path):
    rng = np.random.default_rng(2)
    path = tmp_path / "regular_test.tfrecords"
    examples = [make_example(encode_png(draw(i)), i % 2) for i in range(4)]
    for _ in range(150):
        spoiled = [bytearray(example) for example in examples]
        for data in spoiled:
            for place in rng.integers(0, 60, 2):
                data[place] = rng.integers(256)
        path.write_bytes(b"".join(make_record(bytes(data)) for data in spoiled))
        try:
            read_stimuli(path)
        except InputError as error:
            assert len(str(error).splitlines()) == 1


def _save_npz(path: Path, **arrays: object) -> None:
    content = {"images": draw_many((8,)), "labels": np.arange(8) % 2, **arrays}
    np.savez(path, **{name: np.asarray(values) for name, values in content.items() if values is not None})


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"labels": None}, "it has no array 'labels'"),
        ({"labels": np.array([{}] * 8, dtype=object)}, "labels is object"),
        ({"labels": np.zeros(7)}, "not one number for each of 8 images"),
        ({"images": np.zeros((8, 16, 16), np.float32)}, "images are float32"),
        ({"images": np.zeros((8, 5000, 1), np.uint8)}, "of 4096 px a side"),
        ({"latent_x1": np.array(["a"] * 8)}, "latent_x1 is <U1"),
    ],
)
def test_archives_that_do_not_fit_are_refused_and_never_unpickled(tmp_path: Path, arrays: dict, says: str):
    _save_npz(tmp_path / "irregular_test.npz", **arrays)
    with pytest.raises(StimulusError, match=says):
        read_stimuli(tmp_path)


def test_archives_that_declare_more_than_they_hold_are_refused(tmp_path: Path):
    path = tmp_path / "irregular_test.npz"
    _save_npz(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(8, 16, 16, 3)", b"(8, 16, 99, 3)"))
    with pytest.raises(StimulusError, match="which is not what"):
        read_stimuli(path)
    for content in (b"", b"PK\x03\x04", whole[:500], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(StimulusError, match="cannot be used"):
            read_stimuli(path)


def test_no_change_of_a_few_bytes_of_an_archive_is_more_than_an_input_error(tmp_path: Path):
    rng = np.random.default_rng(3)
    path = tmp_path / "irregular_test.npz"
    _save_npz(path)
    whole = path.read_bytes()
    headers = [place for place in range(len(whole)) if whole[place : place + 2] == b"PK"]
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.choice(headers, 2) + rng.integers(0, 120, 2):
            if place < len(data):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_stimuli(path)
        except InputError as error:
            assert len(str(error).splitlines()) == 1


def test_a_link_out_of_the_folder_is_not_followed_in_any_format(tmp_path: Path):
    elsewhere = secret(tmp_path)
    write_tfrecords(tmp_path / "outside" / "x.tfrecords")
    data = tmp_path / "data"
    data.mkdir()
    (data / NAME).symlink_to(elsewhere)
    (data / "regular_test.tfrecords").symlink_to(tmp_path / "outside" / "x.tfrecords")
    (data / "loop").symlink_to("loop")
    with pytest.raises(StimulusError, match="not followed, because it leads out of the folder"):
        read_stimuli(data)
    write_pngs(data / "results_problem_1")
    assert read_stimuli(data).name == "SVRT problem 1"


def test_latents_of_the_folder_above_are_read_for_class_folders_only(tmp_path: Path):
    (tmp_path / "latents.csv").write_text(
        "file,size1\n" + "".join(f"sample_{i % 2}_{i:04d}.png,{i}\n" for i in range(8))
    )
    folder = write_pngs(tmp_path / "set", 8)
    assert "there is no latents.csv" in sentence(read_stimuli(folder), "data.latents")


def test_nothing_but_the_format_decides_how_a_file_is_read(tmp_path: Path):
    np.savez(tmp_path / "a.npz", images=draw_many((4,)), labels=np.arange(4) % 2)
    (tmp_path / NAME).write_bytes((tmp_path / "a.npz").read_bytes())
    with pytest.raises(StimulusError, match="cannot be used"):
        read_stimuli(tmp_path / NAME)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(StimulusError, match="neither a folder nor a file"):
        read_stimuli(tmp_path / "pipe.h5")
    with pytest.raises(StimulusError, match="a file of no known kind"):
        read_stimuli(write_pngs(tmp_path / "set", 2) / "sample_0_0000.png")


def test_memory_stays_bounded_on_the_largest_honest_and_dishonest_images(tmp_path: Path):
    folder = write_pngs(tmp_path / "results_problem_1", 6)
    large = zlib.compress(bytes(4096 * (4096 * 3 + 1)), 9)
    (folder / "sample_0_0100.png").write_bytes(make_png(4096, 4096, large))
    (folder / "sample_0_0101.png").write_bytes(make_png(4096, 4096, zlib.compress(bytes(2**28), 9)))
    with zipfile.ZipFile(tmp_path / "bomb_test.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(2**26))
        archive.writestr("labels.npy", b"")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(read_stimuli(tmp_path, 1)) == 6
    with pytest.raises(StimulusError, match="cannot be used"):
        read_stimuli(tmp_path, task="bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024


def test_every_task_has_a_name_that_a_file_can_carry(tmp_path: Path):
    for name in TASKS:
        path = tmp_path / f"{name}_test.npz"
        np.savez(path, images=draw_many((2,)), labels=np.arange(2))
        assert len(read_stimuli(tmp_path, task=name)) == 2
