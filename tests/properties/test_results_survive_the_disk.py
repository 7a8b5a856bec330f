from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from meta_baseline.activations import LayerActivations
from meta_baseline.errors import InputError
from meta_baseline.results import Check, Estimate, Finding, load_result, save_result

ESTIMATE = Estimate(name="conv1.norm", label="norm", value=float("nan"), low=None, high=2.0, n=3, n_unit="filters")


@pytest.mark.parametrize(
    "result",
    [
        ESTIMATE,
        Check(code="layers.pairing", verdict="note", sentence='quotes " and ünïcode <b>'),
        Finding(sentence="A differs from B.", importance=0.5, estimates=("a", "b")),
    ],
)
def test_a_result_is_read_back_equal(result: object, tmp_path: Path):
    save_result(result, tmp_path)
    again = load_result(tmp_path)
    assert type(again) is type(result)
    assert repr(again) == repr(result)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path):
    for name in ("first", "second"):
        save_result(ESTIMATE, tmp_path / name)
    for file in ("result.json", "result.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_class_of_another_package_is_never_built(tmp_path: Path):
    save_result(ESTIMATE, tmp_path)
    tree = json.loads((tmp_path / "result.json").read_text())
    for name in ("os:system", "subprocess:Popen", "meta_baseline.results:json", "meta_baseline.nowhere:X"):
        tree["__class__"] = name
        (tmp_path / "result.json").write_text(json.dumps(tree))
        with pytest.raises(InputError, match="Unknown kind of result"):
            load_result(tmp_path)


def test_a_folder_without_a_result_says_so(tmp_path: Path):
    with pytest.raises(InputError, match="No saved result"):
        load_result(tmp_path)


def test_arrays_keep_their_type_and_shape(tmp_path: Path):
    layer = LayerActivations(
        role="conv1",
        name="pool1",
        map_shape=(2, 1, 3),
        pooled=np.arange(6, dtype=np.float32).reshape(3, 2),
        grid=np.zeros((3, 6), dtype=np.float32)[:, ::-1],
        positions=np.ones((4, 2), dtype=np.float32),
        position_image=np.arange(4),
        position_row=np.zeros(4, dtype=np.int64),
        position_column=np.zeros(4, dtype=np.int64),
        position_foreground=np.array([True, False, True, True]),
        channel_mean=np.array([np.nan, np.inf]),
        channel_sd=np.zeros(2),
        channel_zero_fraction=np.zeros(2),
        channel_max=np.zeros(2),
    )
    save_result(layer, tmp_path)
    again = load_result(tmp_path)
    for field in dataclasses.fields(layer):
        before, after = getattr(layer, field.name), getattr(again, field.name)
        assert type(before) is type(after)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after)
        else:
            assert before == after


def test_a_result_of_a_foreign_class_is_refused_when_it_is_read(tmp_path: Path):
    save_result(_Foreign(value=1), tmp_path)
    with pytest.raises(InputError, match="Unknown kind of result"):
        load_result(tmp_path)


@dataclasses.dataclass(frozen=True)
class _Foreign:
    value: int
