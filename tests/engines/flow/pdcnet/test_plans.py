"""Files of plans: what is written comes back; what is damaged, or for something else, is said to be so."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from warpaint.engines.flow.pdcnet.plans import Built, StalePlanError, Stamp, Tensor, load_plan, save_plan

BUILT = Built(
    bytes(range(256)) * 5,
    (Tensor(name="picture", dtype="float32", shape=(-1, 3, 8, 16)),),
    (Tensor(name="flow", dtype="float16", shape=(-1, 2, 8, 16)), Tensor(name="scale", dtype="float32", shape=())),
)
STAMP = Stamp(
    graph="0" * 64,
    size=(8, 16),
    precision="mixed",
    library="tensorrt_rtx",
    version="1.7.1.116",
    gpu="any",
    batches=(1, 2, 4),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "match.safetensors"
    save_plan(path, BUILT, STAMP)
    return path


def test_a_plan_comes_back(path: Path) -> None:
    assert load_plan(path) == (BUILT, STAMP)
    assert load_plan(path, STAMP) == (BUILT, STAMP)


def test_it_is_a_safetensors_file_that_lies_alone(path: Path) -> None:
    plan = load_file(path)["plan"]
    assert plan.dtype == np.uint8
    assert plan.tobytes() == BUILT.plan
    assert list(path.parent.iterdir()) == [path]


def test_an_old_file_is_replaced(path: Path) -> None:
    other = Built(b"other", BUILT.inputs, BUILT.outputs)
    save_plan(path, other, STAMP)
    assert load_plan(path) == (other, STAMP)


def test_the_old_file_stays_if_the_new_one_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("warpaint.engines.flow.pdcnet.plans.save", full)
    with pytest.raises(OSError, match="no space left"):
        save_plan(path, Built(b"new", (), ()), STAMP)
    assert load_plan(path) == (BUILT, STAMP)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("graph", "1" * 64),
        ("size", (16, 8)),
        ("precision", "fp32"),
        ("library", "tensorrt"),
        ("version", "1.8.0.1"),
        ("gpu", "NVIDIA GeForce RTX 4090, 8.9"),
        ("batches", (1, 1, 8)),
    ],
)
def test_a_stamp_that_differs_is_named_by_its_field(path: Path, field: str, value: object) -> None:
    with pytest.raises(StalePlanError) as caught:
        load_plan(path, STAMP.model_copy(update={field: value}))
    assert caught.value.fields == (field,)
    assert f"{field}: {value!r} is wanted, {getattr(STAMP, field)!r} was found" in str(caught.value)


def test_all_fields_that_differ_are_named(path: Path) -> None:
    with pytest.raises(StalePlanError) as caught:
        load_plan(path, STAMP.model_copy(update={"size": (4, 4), "gpu": "none"}))
    assert caught.value.fields == ("size", "gpu")


def test_a_file_that_is_cut_short_is_damaged(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StalePlanError, match="is damaged, or no plan") as caught:
            load_plan(path, STAMP)
        assert caught.value.fields == ()


def test_a_plan_with_another_bit_is_damaged(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StalePlanError, match="another checksum"):
        load_plan(path, STAMP)


def test_a_file_of_other_tensors_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(StalePlanError, match="is no plan: Stamp is missing"):
        load_plan(path)


def test_a_stamp_with_a_field_that_is_not_known_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "later.safetensors"
    stamp = STAMP.model_dump_json().replace('"size"', '"kind":1,"size"')
    save_file({"plan": np.zeros(3, np.uint8)}, path, {"stamp": stamp, "inputs": "[]", "outputs": "[]"})
    with pytest.raises(StalePlanError, match="is no plan"):
        load_plan(path)


def test_a_file_without_the_plan_itself_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    save_file({}, path, {"stamp": STAMP.model_dump_json(), "inputs": "[]", "outputs": "[]"})
    with pytest.raises(StalePlanError, match="plan"):
        load_plan(path)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path / "none.safetensors")
