"""What a picture shows, as booru tags, by a model of the wd-v1-4 family; and the prompt that is made with them.

A tagger is a folder with `model.onnx` and `selected_tags.csv` (tag_id, name, category, count: one row an output of the
model, in order). The model takes [N, S, S, 3] float32, BGR, 0..255, padded to a white square, and gives [N, tags]
probabilities. As SmilingWolf's taggers do, from whose inference code this is taken.
"""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ....proto.errors import Code, RefusedError
from ...base import Picture

MODEL, NAMES = "model.onnx", "selected_tags.csv"
COLUMNS = ("name", "category")  # those that are read
RATING = 9  # the category of how decent a picture is: not what it shows

# Pictures that go through the model in one call, where it does not say itself: what they take on the way is bounded.
MOST_AT_ONCE = 8
# Names of at most so many characters are faces, such as o_o: the underscore is the mouth. A longer one, as (o)_(o), is
# a face if it holds no two letters or digits in a row.
FACE = 3
WORD = re.compile(r"[^\W_]{2}")
WHITE = (255, 255, 255)
# Threads that wait for work in a loop take the cores from whatever else paints.
NO_SPINNING = "session.intra_op.allow_spinning", "0"

Floats = NDArray[np.float32]


class Tagger:
    """A tagger that is loaded: on the first GPU if ONNX Runtime can use one, else with `threads` threads.

    Raises RefusedError, UNKNOWN_ENGINE, if the folder holds none, and says what is wrong with it.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        model = _file(folder, MODEL)
        names = _file(folder, NAMES)
        self.nbytes = model.stat().st_size  # of model.onnx: about the memory that the weights occupy
        self._session = _session(model, threads)
        self._input, self._batch, self._size, outputs = _contract(self._session, model)
        self._names = _tag_names(names)
        if len(self._names) != outputs:
            raise _refused(f"{names} names {len(self._names)} tags, and {MODEL} has {outputs} outputs")

    def tags(self, pictures: Sequence[Picture], *, threshold: float) -> list[tuple[str, ...]]:
        """For each picture the tags of at least this probability, 0..1, the most probable first, without ratings.

        pictures: BGR u8 [H, W, 3], each of its own size. Underscores are spaces in tags, except in faces like ^_^.
        """
        found = []
        for start in range(0, len(pictures), self._batch or MOST_AT_ONCE):
            for probabilities in self._probabilities(pictures[start : start + (self._batch or MOST_AT_ONCE)]):
                order = np.argsort(-probabilities, kind="stable")
                sure = (self._names[k] for k in order if probabilities[k] >= threshold)
                found.append(tuple(name for name in sure if name is not None))
        return found

    def _probabilities(self, pictures: Sequence[Picture]) -> Floats:
        """[N, tags], 0..1. A model whose batch is of one size is given empty pictures up to that."""
        batch = np.zeros((self._batch or len(pictures), self._size, self._size, 3), np.float32)
        for place, picture in zip(batch, pictures, strict=False):
            place[:] = _squared(picture, self._size)
        (probabilities,) = self._session.run(None, {self._input: batch})
        return probabilities[: len(pictures)]


def unblocked(tags: Sequence[str], blocked: Collection[str]) -> tuple[str, ...]:
    """The tags without those that are blocked. Upper and lower case, underscores and spaces are alike in this."""
    out = set(map(_folded, blocked))
    return tuple(tag for tag in tags if _folded(tag) not in out)


def prompted(prompt: str, tags: Sequence[str], *, prefix: str) -> str:
    """The prefix, the prompt and the tags, joined by ", ", without tags that were said before.

    Said before: in the prefix or the prompt, in whole words, upper and lower case, underscores and spaces being alike.
    """
    asked = [part for part in (each.strip(", \t\n") for each in (prefix, prompt)) if part]
    said = _folded(", ".join(asked))
    return ", ".join([*asked, *(tag for tag in tags if not _says(said, _folded(tag)))])


def _folded(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())


def _says(text: str, words: str) -> bool:
    """Whether these words stand in the text, and not as a part of longer ones."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _refused(why: str) -> RefusedError:
    return RefusedError(Code.UNKNOWN_ENGINE, why)


def _file(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise _refused(f"there is no folder {folder} for a tagger")
    if not (folder / name).is_file():
        raise _refused(f"{folder} is no tagger: it has no {name}; {MODEL} and {NAMES} are needed")
    return folder / name


def _session(model: Path, threads: int) -> Any:
    """ONNX Runtime's session of this model."""
    import onnxruntime  # a second and 100 MB, for those alone who have a tagger

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry(*NO_SPINNING)
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [each for each in wanted if each in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no other root
        raise _refused(f"{model} is no ONNX model that can be run: {error}") from None


def _contract(session: Any, model: Path) -> tuple[str, int | None, int, int]:
    """The name of the input, the size of its batch, None if any, the side of its pictures, and how many tags it gives.

    Raises RefusedError if that is not what a tagger takes and gives.
    """
    match [(each.name, each.type, each.shape) for each in session.get_inputs()]:
        case [(name, "tensor(float)", [batch, int(side), int(width), 3])] if side == width:
            pass
        case others:
            raise _refused(f"{model} is no tagger: its input must be [N, S, S, 3] float, and is {_described(others)}")
    match [(each.name, each.type, each.shape) for each in session.get_outputs()]:
        case [(_, "tensor(float)", [_, int(outputs)])]:
            return name, batch if isinstance(batch, int) else None, side, outputs
        case others:
            raise _refused(f"{model} is no tagger: its output must be [N, tags] float, and is {_described(others)}")


def _described(values: Sequence[tuple[str, str, list[Any]]]) -> str:
    return ", ".join(f"{name} {kind} {shape}" for name, kind, shape in values) or "none"


def _tag_names(path: Path) -> list[str | None]:
    """The tags as they are said, one an output; None for a rating. Raises RefusedError."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return list(_rows(csv.DictReader(lines)))
    except (ValueError, csv.Error) as error:
        raise _refused(f"{path} does not list tags: {error}") from None


def _rows(reader: "csv.DictReader[str]") -> Iterator[str | None]:
    """As above. Raises ValueError."""
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"it has no column {' and no column '.join(missing)}")
    for row in reader:
        name, category = (row[column] or "" for column in COLUMNS)
        if not name or not category.isdecimal():
            raise ValueError(f"line {reader.line_num} has the name {name!r} and the category {category!r}")
        yield None if int(category) == RATING else _spoken(name)


def _spoken(name: str) -> str:
    return name.replace("_", " ") if len(name) > FACE and WORD.search(name) else name


def _squared(bgr: Picture, side: int) -> Floats:
    """The picture in the middle of a white square, resized to this side: [side, side, 3], BGR, 0..255."""
    h, w = bgr.shape[:2]
    longer = max(h, w)
    top, left = (longer - h) // 2, (longer - w) // 2
    square = cv2.copyMakeBorder(bgr, top, longer - h - top, left, longer - w - left, cv2.BORDER_CONSTANT, value=WHITE)
    way = cv2.INTER_AREA if longer > side else cv2.INTER_CUBIC
    return cv2.resize(square, (side, side), interpolation=way).astype(np.float32)
