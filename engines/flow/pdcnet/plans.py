"""Files of plans, which is what TensorRT calls networks that are built: safetensors files, each with what it is for."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save


class StalePlanError(ValueError):
    """A plan file that is damaged, or of something else than what is wanted. Building it anew helps.

    fields: those of the stamp that differ; empty for a damaged file.
    """

    def __init__(self, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields


class Tensor(BaseModel):
    """An input or output. dtype: as torch names it, `float32`. shape: as in the graph, -1 where it may vary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: str
    shape: tuple[int, ...]


TENSORS = TypeAdapter(tuple[Tensor, ...])


@dataclass(frozen=True)
class Built:
    """A plan, which is what TensorRT calls a built graph in bytes, with the tensors that it takes and gives."""

    plan: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Stamp(BaseModel):
    """What a plan was built from, with, and for: all that makes it fit or not.

    graph: SHA-256 of the ONNX file. size: of the pictures, height and width, pixels. batches: least, usual, most.
    gpu: as `gpu` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph: str
    size: tuple[int, int]
    precision: str
    library: str
    version: str
    gpu: str
    batches: tuple[int, int, int]


def save_plan(path: Path, built: Built, stamp: Stamp) -> None:
    """Writes a safetensors file: the plan as `plan`, uint8, and all else in the metadata. Raises OSError.

    It is written beside its place and moved there: a reader finds the old file or the new one, whole.
    """
    metadata = {
        "stamp": stamp.model_dump_json(),
        "inputs": TENSORS.dump_json(built.inputs).decode(),
        "outputs": TENSORS.dump_json(built.outputs).decode(),
        "sha256": sha256(built.plan).hexdigest(),
    }
    with TemporaryDirectory(prefix=".plan-", dir=path.parent) as folder:
        beside = Path(folder) / path.name
        # safetensors itself writes files that nobody else may read, such as the daemon.
        beside.write_bytes(save({"plan": np.frombuffer(built.plan, np.uint8)}, metadata))
        beside.replace(path)


def load_plan(path: Path, wanted: Stamp | None = None) -> tuple[Built, Stamp]:
    """What `save_plan` wrote; wanted: what its stamp has to be.

    Raises StalePlanError for a damaged file or another stamp, OSError for one that is missing or cannot be read.
    A plan is code for the GPU, and TensorRT trusts it: load no file from elsewhere. The checksum is against
    accidents.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            found = Stamp.model_validate_json(metadata.get("stamp", ""))
            _must_fit(path, found, wanted)
            inputs, outputs = (TENSORS.validate_json(metadata.get(each, "")) for each in ("inputs", "outputs"))
            plan = file.get_tensor("plan").tobytes()
    except ValidationError as error:
        raise StalePlanError(
            f"{str(path)!r} is no plan: {error.title} is missing from its metadata, or wrong"
        ) from error
    except SafetensorError as error:
        raise StalePlanError(f"{str(path)!r} is damaged, or no plan: {error}") from error
    if sha256(plan).hexdigest() != metadata.get("sha256"):
        raise StalePlanError(f"{str(path)!r} is damaged: its plan has another checksum")
    return Built(plan, inputs, outputs), found


def _must_fit(path: Path, found: Stamp, wanted: Stamp | None) -> None:
    """Raises StalePlanError, with each field that differs, unless this is the stamp that is wanted."""
    if wanted is None or found == wanted:
        return
    pairs = {each: (getattr(wanted, each), getattr(found, each)) for each in Stamp.model_fields}
    differ = {each: pair for each, pair in pairs.items() if pair[0] != pair[1]}
    said = "; ".join(f"{each}: {want!r} is wanted, {got!r} was found" for each, (want, got) in differ.items())
    raise StalePlanError(f"{str(path)!r} was built for something else: {said}", tuple(differ))
