"""Files that are no checkpoint, or worse: one line each that says what to do, and nothing in them runs."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import warnings
import zipfile

import numpy as np
import pytest
import torch
from published_checkpoints import published_state, write_published
from safetensors.torch import save_file

from meta_baseline.checkpoints import load_network, read_checkpoint
from meta_baseline.errors import CheckpointError

SMALL = {"image_size": 32, "units": (8, 8, 8)}


def _refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        load_network(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert message.endswith(".")
    return message


class _Payload:
    """Unpickled by Python, it calls ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _payloads(marker):
    command = f"touch {marker}"
    return {
        "posix.system": _Payload(os.system, command),
        "builtins.eval": _Payload(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.exec": _Payload(exec, f"open({str(marker)!r}, 'w')"),
        "subprocess.Popen": _Payload(subprocess.Popen, ["touch", str(marker)]),
        "builtins.open": _Payload(open, str(marker), "w"),
        "torch.load": _Payload(torch.load, str(marker)),
    }


@pytest.mark.parametrize("name", _payloads("x"))
@pytest.mark.parametrize("container", ["zip", "legacy", "pickle"])
def test_a_pickle_that_tries_to_run_code_is_refused_by_name_and_does_not_run(tmp_path, name, container):
    marker, path = tmp_path / "it_ran", tmp_path / "m.pt"
    content = {"model_state_dict": published_state("conv2", "meta", **SMALL), "epoch": _payloads(marker)[name]}
    if container == "pickle":
        path.write_bytes(pickle.dumps(content["epoch"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
    message = _refused(path, "could run code; nothing was run")
    assert name.rpartition(".")[2] in message
    assert not marker.exists()


def test_the_payload_of_these_tests_does_run_when_unpickled_carelessly(tmp_path):
    """The negative twin: without it the test above could pass on a dud."""
    pickle.loads(pickle.dumps(_payloads(tmp_path / "it_ran")["posix.system"]))
    assert (tmp_path / "it_ran").exists()


def _raw_pickle(path, program):
    """A checkpoint archive around a hand-written pickle program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("m/version", "3\n")
        archive.writestr("m/byteorder", "little")


def _text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


_COMMAND = _text("touch it_ran")
_NAMESPACE = b"cargparse\nNamespace\n"


@pytest.mark.parametrize(
    "program",
    [
        # A namespace whose state would become its class, its __setstate__ or its __reduce__.
        _NAMESPACE + b")\x81}" + _text("__class__") + b"ccollections\nOrderedDict\nsb",
        _NAMESPACE + b")\x81}" + _text("__setstate__") + b"ccollections\nOrderedDict\nsb" + _COMMAND + b"b",
        _NAMESPACE + b")\x81N}" + _text("__setstate__") + b"c_codecs\nencode\ns\x86b" + _COMMAND + b"b",
        _NAMESPACE + b"(" + _COMMAND + b"tR",
        _NAMESPACE + b"(" + _COMMAND + b"t\x81",
        _NAMESPACE + b")\x81" + _COMMAND + b"b",
        # The class itself, and calling an instance.
        _NAMESPACE + b"}" + _text("a") + b"K\x01sb",
        _NAMESPACE + b")\x81(" + _COMMAND + b"tR",
        # NumPy numbers of a kind that would carry objects.
        b"cnumpy\ndtype\n(" + _text("O8") + b"\x89\x88tR",
        b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(" + _text("O8") + b"\x89\x88tR" + _COMMAND + b"tR",
    ],
)
def test_the_stand_ins_for_harmless_objects_run_nothing(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.pt"
    _raw_pickle(path, b"}" + _text("args") + program + b"s")
    _refused(path, "no|damaged or unsafe|not a tensor")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(" + _COMMAND + b"tR",
        b"(" + _COMMAND + b"ios\nsystem\n",
        _text("os") + _text("system") + b"\x93(" + _COMMAND + b"tR",
        b"\x82\x01",
        b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR",
        b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n",
    ],
)
def test_every_opcode_that_imports_is_looked_at(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    _raw_pickle(tmp_path / "m.pt", program)
    _refused(tmp_path / "m.pt", "could run code|weights must be dense")
    assert not (tmp_path / "it_ran").exists()


def test_a_whole_pickled_model_is_refused_with_the_way_to_save_it(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    _refused(tmp_path / "m.pt", r"torch.nn.modules.linear.Linear.*model\.state_dict\(\)")


def _zip_copy(source, target, compression=zipfile.ZIP_STORED, **replaced):
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", compression) as copy:
        for entry in archive.infolist():
            leaf = entry.filename.rpartition("/")[2].replace(".", "_")
            copy.writestr(entry.filename, replaced.get(leaf, archive.read(entry)))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"conv1.weight": torch.zeros(10_000_000)}, tmp_path / "big.pt")
    _zip_copy(tmp_path / "big.pt", tmp_path / "m.pt", zipfile.ZIP_DEFLATED)
    (tmp_path / "big.pt").unlink()
    assert (tmp_path / "m.pt").stat().st_size < 200_000
    _refused(tmp_path / "m.pt", r"is compressed \(\d+ bytes that declare 400\d+\)")


def test_a_stretched_tensor_is_refused_before_it_is_copied(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1).expand(1 << 40)}, tmp_path / "m.pt")
    _refused(tmp_path / "m.pt", "claims .*more than is stored")


def test_a_torchscript_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/constants.pkl", b"\x80\x02).")
        archive.writestr("m/code/__torch__.py", "op_version_set = 1")
    _refused(tmp_path / "m.pt", "TorchScript")


def test_any_other_zip_file_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    _refused(tmp_path / "m.pt", "no checkpoint: it has no data.pkl")


@pytest.mark.parametrize("wrapper", ["model_state_dict", "safetensors"])
@pytest.mark.parametrize("kept", [0.0001, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, wrapper, kept):
    write_published(tmp_path / "m.pt", "conv2", "meta", wrapper, **SMALL)
    data = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(data[: int(len(data) * kept)])
    _refused(tmp_path / "m.pt", "truncated|damaged|no checkpoint|copy or save")


def test_a_truncated_legacy_file_is_refused(tmp_path):
    state = published_state("conv2", "meta", **SMALL)
    torch.save(state, tmp_path / "whole.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "whole.pt").read_bytes()
    for kept in (10, 200, len(data) // 2, len(data) - 1):
        (tmp_path / "m.pt").write_bytes(data[:kept])
        _refused(tmp_path / "m.pt", "truncated|damaged|not one of torch.save")


def test_what_is_no_file_of_weights_is_named_for_what_it_is(tmp_path):
    _refused(tmp_path / "missing.pt", "No checkpoint at .*Check the path")
    _refused(tmp_path, "is a folder")
    for name, content, match in [
        ("empty.pt", b"", "is empty"),
        ("text.pt", b"epoch,accuracy\n1,0.5\n", "a text or data file"),
        ("noise.pt", bytes(range(200, 256)), "no known kind of file"),
        ("page.safetensors", b"<html><body>404</body></html>", "header claims"),
        ("short.safetensors", b"\x01", "header claims"),
        ("pickle.pt", pickle.dumps({"epoch": 3}), "not one of torch.save"),
    ]:
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name, match)


@pytest.mark.parametrize("length", [0, 1 << 20, (1 << 63) - 1, (1 << 64) - 1])
def test_a_safetensors_header_of_absurd_length_is_refused(tmp_path, length):
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", length) + b'{"a": 1}' + b"\0" * 64)
    _refused(tmp_path / "m.safetensors", "its header claims")


@pytest.mark.parametrize(
    "header",
    [
        b"[1, 2]",
        b"{not json",
        b"[" * 100_000,
        json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 8]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 50]}}).encode(),
        json.dumps({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}).encode(),
    ],
)
def test_a_damaged_safetensors_header_is_refused(tmp_path, header):
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    _refused(tmp_path / "m.safetensors", "is damaged")


def _unusual_tensors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "sparse": torch.eye(4).to_sparse(),
            "csr": torch.eye(4).to_sparse_csr(),
            "quantised": torch.quantize_per_tensor(torch.eye(4), 0.1, 0, torch.qint8),
            "complex": torch.eye(4, dtype=torch.complex64),
            "int8": torch.eye(4, dtype=torch.int8),
            "int64": torch.eye(4, dtype=torch.int64),
            "bool": torch.eye(4, dtype=torch.bool),
            "float8": torch.eye(4).to(torch.float8_e4m3fn),
            "meta": torch.empty(4, 4, device="meta"),
        }


@pytest.mark.parametrize("kind", _unusual_tensors())
def test_tensors_that_are_no_dense_real_weights_are_refused(tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"conv1.weight": _unusual_tensors()[kind]}, tmp_path / "m.pt")
    _refused(tmp_path / "m.pt", "dense|weights are one of|is no weight")


def test_unusual_dtypes_in_safetensors_are_refused(tmp_path):
    for dtype in (torch.int8, torch.int64, torch.bool, torch.float8_e5m2):
        save_file({"conv1.weight": torch.eye(4).to(dtype)}, tmp_path / "m.safetensors")
        _refused(tmp_path / "m.safetensors", "weights are one of")


@pytest.mark.parametrize(
    "content",
    [
        [],
        torch.eye(3),
        {},
        {"model_state_dict": {}},
        {"conv1.weight": "a"},
        {"state_dict": None, "epoch": 1},
        {"module.conv1.weight": torch.zeros(6, 3, 2, 2), "conv1.weight": torch.ones(6, 3, 2, 2)},
    ],
)
def test_a_safe_pickle_without_a_usable_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "m.pt")
    _refused(tmp_path / "m.pt", "not a state dict|holds no weights|not a tensor|holds two different")


def test_reading_leaves_no_name_allowed_that_was_not_allowed_before(tmp_path):
    write_published(tmp_path / "m.pt", "conv2", "meta", "model_state_dict", namespace=True, **SMALL)
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(tmp_path / "m.pt")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("name", ["conv1.weight\nerror: all is well", "\x1b[2J", "a" * 5000, "", "b\u202ex", "../x"])
def test_names_in_a_file_cannot_write_on_the_terminal(tmp_path, name):
    torch.save({name: torch.zeros(1)}, tmp_path / "m.pt")
    message = _refused(tmp_path / "m.pt", "no weight|neither of fc_layers.0")
    assert message.isprintable()
    assert len(message) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_a_file_with_flipped_bytes_loads_or_is_refused_in_one_line(tmp_path, container):
    state, path = published_state("conv2", "meta", **SMALL), tmp_path / "m.pt"
    if container == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=container == "zip")
    data = path.read_bytes()
    ends = [(0, 4000)] if container != "zip" else [(0, 4000), (len(data) - 3000, len(data))]
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        start, stop = ends[rng.integers(len(ends))]
        damaged[rng.integers(start, stop)] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            load_network(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
            num_refused += 1
    assert num_refused > 5
