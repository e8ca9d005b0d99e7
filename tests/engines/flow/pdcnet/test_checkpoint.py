"""Checkpoints are read and nothing in them is run: whole, foreign, hostile and damaged ones, in both formats."""

import copyreg
import io
import pickle
import random
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warpaint.engines.flow.pdcnet import checkpoint
from warpaint.engines.flow.pdcnet.checkpoint import check_state, read_checkpoint, weights_sha256
from warpaint.proto.errors import RefusedError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how torch's format of before 2020 begins
Save = Callable[[Any], Path]


@pytest.fixture(params=["zip", "legacy"])
def is_zip(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "zip")


@pytest.fixture
def save(tmp_path: Path, is_zip: bool) -> Save:
    """Writes an object as torch does, in either of its formats."""

    def saved(content: Any) -> Path:
        path = tmp_path / "checkpoint.pth.tar"
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        return path

    return saved


def program_file(path: Path, program: bytes, *, is_zip: bool) -> Path:
    """A torch file with this pickle, and no tensors."""
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/version", b"3\n")
            archive.writestr("archive/byteorder", b"little")
    else:
        before = pickle.dumps(MAGIC, 2) + pickle.dumps(PROTOCOL, 2) + pickle.dumps({}, 2)
        path.write_bytes(before + program + pickle.dumps([], 2))
    return path


class Foreign:
    """Stands for the published code's own classes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Forged:
    """Is pickled as a call of this."""

    def __init__(self, maker: Callable[..., Any], *arguments: Any) -> None:
        self.call = maker, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def forged_tensor(storage: Any, *view: Any) -> Forged:
    """A tensor with a view of one's own: offset, shape, strides."""
    return Forged(torch._utils._rebuild_tensor_v2, storage, *view, False, OrderedDict())


def typed_storage(tensor: torch.Tensor) -> Any:
    return tensor._typed_storage()  # type: ignore[no-untyped-call]


def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(7)}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refusal(path: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        read_checkpoint(path)
    sentence = str(caught.value)
    assert sentence.startswith(repr(str(path)))
    assert sentence.isprintable()
    return sentence


# What it holds


def test_a_state_dict_alone_is_read(save: Save) -> None:
    assert same(read_checkpoint(save(state())), state())


def test_a_state_dict_beside_other_things_is_read(save: Save) -> None:
    assert same(read_checkpoint(save({"epoch": 3, "state_dict": state()})), state())


def test_a_trainers_file_is_read(save: Save) -> None:
    """With an optimiser's state, numbers of numpy, and objects of classes that are not known."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    path = save(
        {
            "constructor": Foreign(module=Foreign, tensor=torch.ones(3), nested=[Foreign(x={1, 2})]),
            "network": network,
            "optimizer": optimizer.state_dict(),
            "stats": OrderedDict(loss=np.float64(0.5), history=np.ones(3), path=Path("x")),
            "state_dict": network.state_dict(),
        }
    )
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert same(read_checkpoint(path), network.state_dict())


def test_parameters_come_as_plain_tensors(save: Save) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    for others in ({}, {"foreign": Foreign()}):
        [read] = read_checkpoint(save({"state_dict": {"weight": weight}, **others})).values()
        assert type(read) is torch.Tensor
        assert not read.requires_grad


def test_tensors_that_share_memory_are_read(save: Save) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    views = {"whole": whole, "part": whole[1:, ::2], "turned": whole.T, "none": whole[:0], "one": whole[2, 3]}
    assert same(read_checkpoint(save({"state_dict": views, "foreign": Foreign()})), views)


@pytest.mark.parametrize("others", [{}, {"x": Foreign()}], ids=["safe", "foreign"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "holds a state dict without tensors"),
        ([torch.ones(1)], "holds no state dict, but a list"),
        ({"weight": [1, 2]}, "'weight' is a list, not a plain tensor"),
        ({1: torch.ones(1)}, "one of its names is a int"),
        ({"weight": torch.ones(2).to_sparse()}, "'weight' is a "),
        ({"weight": torch.ones(1).expand(10**12)}, "'weight' is a Tensor, not a plain tensor"),
        ({"weight": torch.ones(2, device="meta")}, "'weight' is a "),
        ({"\x1b[2J" + "x" * 5000: 0}, r"'\x1b[2Jxxx"),
    ],
)
def test_what_is_no_state_dict_is_named(save: Save, content: Any, others: dict[str, Any], sentence: str) -> None:
    message = refusal(save({"state_dict": content, **others}))
    assert sentence in message
    assert len(message) < 500


def test_a_foreign_object_is_named(save: Save) -> None:
    path = save({"state_dict": {"weight": Forged(Foreign)}})
    assert "test_checkpoint.Foreign', not a plain tensor" in refusal(path)
    assert "holds no state dict, but a 'pathlib." in refusal(save(Path("x")))


# Nothing is run


def test_code_beside_the_weights_is_not_run(save: Save, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = save({"x": Forged(Path.touch, marker), "state_dict": state()})
    assert same(read_checkpoint(path), state())
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file would have been harmless"


def test_code_in_place_of_a_tensor_is_not_run(save: Save, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = save({"state_dict": {"weight": Forged(Path.touch, marker)}})
    assert "not a plain tensor" in refusal(path)
    assert not marker.exists()


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was called of a module `armed`, whose function `fire` and class `Armed` tell all that is done with them."""
    calls: list[str] = []

    def fire(*_: Any) -> None:
        calls.append("fire")

    class Armed:
        def __new__(cls, *_: Any, **__: Any) -> Any:
            calls.append("new")
            return super().__new__(cls)

        def told(self, *_: Any) -> None:
            calls.append("told")

        __call__ = __setstate__ = __setitem__ = append = extend = add = told

    module = ModuleType("armed")
    vars(module).update(fire=fire, Armed=Armed)
    monkeypatch.setitem(sys.modules, "armed", module)
    copyreg.add_extension("armed", "fire", 200)
    yield calls
    copyreg.remove_extension("armed", "fire", 200)


ARMED = b"\x80\x02carmed\nArmed\n"
PROGRAMS = {
    "reduce": b"carmed\nfire\n(tR.",
    "inst": b"(iarmed\nfire\n.",
    "obj": b"(carmed\nfire\nI1\no.",
    "named on the stack": b"\x80\x04\x8c\x05armed\x8c\x04fire\x93)R.",
    "newobj": ARMED + b")\x81.",
    "newobj with keywords": b"\x80\x04carmed\nArmed\n)}\x92.",
    "build": ARMED + b")\x81}b.",
    "item": ARMED + b")\x81I1\nI2\ns.",
    "items": ARMED + b")\x81(I1\nI2\nu.",
    "append": ARMED + b")\x81I1\na.",
    "appends": ARMED + b")\x81(I1\nI2\ne.",
    "add": b"\x80\x04carmed\nArmed\n)\x81(I1\n\x90.",
    "called twice": ARMED + b")\x81)R.",
    "extension": b"\x80\x02\x82\xc8)R.",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_no_instruction_runs_anything(tmp_path: Path, is_zip: bool, fired: list[str], program: bytes) -> None:
    assert "holds no state dict" in refusal(program_file(tmp_path / "x", program, is_zip=is_zip))
    assert fired == []
    pickle.loads(program)
    assert fired, "the program would have been harmless"


def test_the_shell_is_not_called(tmp_path: Path, is_zip: bool) -> None:
    marker = tmp_path / "marker"
    program = b"cos\nsystem\n(V: > '" + str(marker).encode() + b"'\ntR."
    refusal(program_file(tmp_path / "x", program, is_zip=is_zip))
    assert not marker.exists()
    pickle.loads(program)
    assert marker.exists(), "the program would have been harmless"


def test_no_module_is_imported(tmp_path: Path, is_zip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "telltale.py").write_text("Storage = 1")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (b"x", b"Storage", b"Storage.x"):
        refusal(program_file(tmp_path / "x", b"ctelltale\n" + name + b"\n.", is_zip=is_zip))
    assert "telltale" not in sys.modules


@pytest.mark.parametrize("known", [b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"])
def test_what_is_known_cannot_be_changed(tmp_path: Path, is_zip: bool, known: bytes) -> None:
    """BUILD with a pair sets attributes, of whatever it is given."""
    program = b"\x80\x02carmed\nArmed\n0" + known + b"N}X\x05\0\0\0extraI1\ns\x86b."
    refusal(program_file(tmp_path / "x", program, is_zip=is_zip))
    for each in (OrderedDict, torch._utils._rebuild_tensor_v2, *checkpoint.KNOWN.values()):
        assert not hasattr(each, "extra")


def test_the_source_of_a_class_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a class, torch's older format holds its source; where it differs, torch may write a file."""
    monkeypatch.setattr("torch.serialization.get_source_lines_and_file", None)
    program = b"\x80\x02(X\x06\0\0\0modulecarmed\nArmed\nX\x01\0\0\0fX\x01\0\0\0stQ."
    assert "holds no state dict, but a 'armed.Armed'" in refusal(program_file(tmp_path / "x", program, is_zip=False))


def test_torchscript_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: loaded.append(1))
    path = program_file(tmp_path / "x", b"carmed\nfire\n.", is_zip=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", b"N.")
    assert "is a TorchScript archive, a program" in refusal(path)
    monkeypatch.setattr(checkpoint, "_check_archive", lambda *_: None)  # were an archive made to fool it
    assert "is no torch file" in refusal(path)
    assert not loaded


def test_the_oldest_format_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extracted: list[Any] = []
    monkeypatch.setattr(tarfile.TarFile, "extract", lambda *_, **__: extracted.append(1))
    path = tmp_path / "x"
    for first, sentence in (("pickle", "is a tar archive"), ("\udc80", "is no torch file")):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in (first, "storages", "tensors"):
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        assert sentence in refusal(path)
    assert not extracted


# What would take the machine's memory


@pytest.mark.parametrize(
    "view",
    [
        *((0, (10**10,), (1,)), (0, (2, 2), (10**9, 1)), (5, (4,), (1,)), (10**12, (1,), (1,)), (9, (), ())),
        *((-1, (1,), (1,)), (0, (2,), (-1,)), (0, (-1,), (1,)), (0, (2,), (1, 1)), (0, (1.5,), (1,))),
        *((0, (10**30, 0), (1, 1)), (0, None, None)),
    ],
)
def test_a_tensor_past_its_storage_is_refused(save: Save, view: tuple[Any, ...]) -> None:
    tensor = forged_tensor(typed_storage(torch.ones(8)), *view)
    assert "is no torch file" in refusal(save({"x": Foreign(), "state_dict": {"weight": tensor}}))


def test_no_storage_grows() -> None:
    """Torch lets a tensor make its storage larger; the file says by how much."""
    memory = typed_storage(torch.ones(8))
    for shape, strides in (((9,), (1,)), ((2, 2), (7, 1)), ((10**10,), (1,))):
        with pytest.raises(pickle.UnpicklingError, match="reaches past its storage"):
            checkpoint._tensor(memory, 0, shape, strides)
    assert checkpoint._tensor(memory, 1, (2, 2), (5, 1)).untyped_storage().nbytes() == 32


def test_a_tensor_of_no_storage_is_refused(save: Save) -> None:
    assert "is no torch file" in refusal(save({"x": Foreign(), "weight": forged_tensor(Foreign(), 0, (), ())}))


@pytest.mark.parametrize("others", [{}, {"x": Foreign()}], ids=["safe", "foreign"])
def test_a_storage_larger_than_the_file_is_refused(tmp_path: Path, is_zip: bool, others: dict[str, Any]) -> None:
    path = tmp_path / "x"
    torch.save({**others, "weight": torch.ones(777)}, path, _use_new_zipfile_serialization=is_zip)
    whole, many = b"M\x09\x03", b"J\xff\xff\xff\x7f"  # 777, and 2**31 - 1
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, record in records.items():
                archive.writestr(name, record.replace(whole, many) if name.endswith(".pkl") else record)
    else:
        path.write_bytes(path.read_bytes().replace(whole, many))
    assert "is no torch file" in refusal(path)


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    assert "is compressed, as no torch file is" in refusal(path)


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x05carmed\nArmed\n\x96\xff\xff\xff\xff\x7f\0\0\0.",  # a bytearray of half a terabyte
        b"\x80\x02carmed\nArmed\nr\xff\xff\xff\xff.",  # the place of number 4 milliards, of which C's reader has all
        b"\x80\x04\x95\xff\xff\xff\xff\xff\0\0\0carmed\nArmed\n.",  # a frame of a terabyte
        b"\x80\x02carmed\nArmed\n\x8b\xff\xff\xff\x7f.",  # a number of two gigabytes
    ],
)
def test_lengths_are_not_believed(tmp_path: Path, is_zip: bool, program: bytes) -> None:
    refusal(program_file(tmp_path / "x", program, is_zip=is_zip))


def test_bytearrays_are_not_read(tmp_path: Path, is_zip: bool) -> None:
    """Room for them is made, and filled, before they are read."""
    program = b"\x80\x05carmed\nArmed\n0\x96\x03\0\0\0\0\0\0\0abc."
    assert "is no torch file" in refusal(program_file(tmp_path / "x", program, is_zip=is_zip))


# Files that are none


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 9\n", "is a pointer of git-lfs"),
        (b"\n<!DOCTYPE html><html>", "is a web page that was saved under this name"),
        (b"<html lang=en>", "is a web page"),
        (b"\x40\0\0\0\0\0\0\0{", "is a safetensors file"),
        (b"\x80\0\0\0\0\0\0\0{", "is a safetensors file"),
        (b"\x1f\x8b\x08", "is no torch file"),
        (b"hello", "is no torch file"),
        (b"PK\x03\x04 and no more", "is no torch file, or one that is cut short"),
        (b"\x80", "is no torch file, or one that is cut short"),
        (b"\x80\x02K\x01.", "is no torch file, or one that is cut short"),
    ],
)
@pytest.mark.parametrize("name", ["x.pth.tar", "x.safetensors"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert sentence in refusal(path)


def test_a_path_without_a_file_is_named(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refusal(tmp_path / "x")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("others", [{}, {"x": Foreign()}], ids=["safe", "foreign"])
def test_damage_raises_nothing_else(save: Save, tmp_path: Path, others: dict[str, Any]) -> None:
    whole, dice = save({**others, "state_dict": state()}).read_bytes(), random.Random(1)
    path, refusals = tmp_path / "damaged", 0
    for _ in range(80):
        damaged = bytearray(whole if dice.random() < 0.6 else whole[: dice.randrange(len(whole))])
        for _ in range(dice.choice([0, 1, 3, 30])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except RefusedError:
            refusals += 1
    assert refusals > 20


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_program_is_refused(tmp_path: Path, is_zip: bool, program: bytes) -> None:
    refusal(program_file(tmp_path / "x", b"carmed\nfire\n0" + program, is_zip=is_zip))


# Whether it is the network's


def expected() -> dict[str, torch.Tensor]:
    return {name: tensor.to("meta") for name, tensor in state().items()}


def fault(of: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor] | None = None) -> str:
    with pytest.raises(RefusedError) as caught:
        check_state(of, expected() if wanted is None else wanted)
    return str(caught.value)


def test_the_networks_own_state_passes() -> None:
    check_state(state(), expected())
    check_state(dict(reversed(state().items())), expected())


def test_each_fault_is_named() -> None:
    wrong = {"a.weight": torch.ones(3, 2), "b": torch.ones(1)}
    assert fault(wrong) == (
        "the state dict is not that of the network: it lacks: 'a.steps'; it has too many: 'b'; "
        "it has others: 'a.weight' (3, 2) float32, not (2, 3) float32"
    )
    assert "'a.steps' () int32, not () int64" in fault(state() | {"a.steps": torch.tensor(7, dtype=torch.int32)})


def test_of_many_faults_some_are_named() -> None:
    many = {f"n{index}": torch.ones(1) for index in range(9)}
    assert fault({}, many).endswith("it lacks: 'n0', 'n1', 'n2', 'n3' and 5 more")
    assert fault(many, {}).endswith("it has too many: 'n0', 'n1', 'n2', 'n3' and 5 more")
    assert "and 5 more" in fault(many, {name: torch.ones(2) for name in many})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    damaged = state()
    damaged["a.weight"][1, 2] = number
    assert fault(damaged).endswith("it has numbers that are not finite: 'a.weight'")


forms = st.dictionaries(
    st.sampled_from("abc"),
    st.tuples(st.lists(st.integers(0, 2), max_size=2), st.sampled_from([torch.float32, torch.int64])),
)


@given(forms, forms)
def test_a_state_passes_where_all_forms_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    tensors = {name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in one.items()}
    wanted = {name: torch.zeros(shape, dtype=dtype, device="meta") for name, (shape, dtype) in other.items()}
    if one == other:
        check_state(tensors, wanted)
    else:
        fault(tensors, wanted)


# Its sum


def test_the_sum_is_of_the_weights_alone() -> None:
    whole = weights_sha256(state())
    assert whole == weights_sha256(dict(reversed(state().items())))
    turned = state()
    turned["a.weight"] = turned["a.weight"].T.contiguous().T
    assert whole == weights_sha256(turned)


@pytest.mark.parametrize(
    "change",
    [
        {"a.weight": torch.arange(6.0).reshape(3, 2)},
        {"a.weight": torch.zeros(2, 3)},
        {"a.steps": torch.tensor(7.0)},
        {"b": torch.tensor(7)},
    ],
)
def test_the_sum_tells_any_change(change: dict[str, torch.Tensor]) -> None:
    assert weights_sha256(state() | change) != weights_sha256(state())
