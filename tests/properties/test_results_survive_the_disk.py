from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from meta_baseline.errors import InputError
from meta_baseline.results import Check, Estimate, Finding, load_result, save_result
from meta_baseline.weight_analysis import WeightSpaceResult

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
    kinds = {field.name for field in dataclasses.fields(WeightSpaceResult)}
    assert {"estimates", "checks", "findings"} <= kinds
    arrays = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.array([True, False]), "c": np.array(["x", "y"])}
    save_result(_Holder(arrays=arrays), tmp_path)
    with pytest.raises(InputError):  # the holder is a class of this test, not of the package
        load_result(tmp_path)


@dataclasses.dataclass(frozen=True)
class _Holder:
    arrays: dict[str, np.ndarray]
