from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from support.scenes import noise_texture
from support.tiny_tagger import TAGS, Tag, make_model, write_tagger
from warpaint.engines.base import Picture
from warpaint.engines.painters.diffusion.tagger import Tagger, prompted, unblocked
from warpaint.proto.errors import Code, RefusedError

BLUE, RED, CYAN, BLACK, GRAY = (255, 0, 0), (0, 0, 255), (255, 255, 0), (0, 0, 0), (128, 128, 128)
HALF = 0.5


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> Picture:
    """A picture of one colour, BGR; size: W, H."""
    return np.full((size[1], size[0], 3), colour, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Tagger:
    return Tagger(folder)


def tags_of(tagger: Tagger, picture: Picture, threshold: float = HALF) -> tuple[str, ...]:
    (tags,) = tagger.tags([picture], threshold=threshold)
    return tags


def test_channels_are_blue_green_red(tagger: Tagger) -> None:
    assert tags_of(tagger, plain(BLUE)) == ("blue background", "a little (blue)")
    assert tags_of(tagger, plain(RED)) == ("red background",)
    assert tags_of(tagger, plain(CYAN)) == ("hatsune miku",)


def test_tags_come_by_probability_down_to_the_threshold(tagger: Tagger) -> None:
    """The sums are 8 and 2; their sigmoids 0.9997 and 0.881."""
    assert tags_of(tagger, plain(BLUE), 0.88) == ("blue background", "a little (blue)")
    assert tags_of(tagger, plain(BLUE), 0.89) == ("blue background",)
    assert tags_of(tagger, plain(BLUE), 0.9999) == ()


def test_ratings_are_no_tags(tagger: Tagger) -> None:
    assert len(tags_of(tagger, plain(GRAY), 0.0)) == len(TAGS) - 2


def test_faces_keep_their_underscores(tagger: Tagger) -> None:
    assert tags_of(tagger, plain(BLACK)) == (">_<", "(o)_(o)")


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("long_hair", "long hair"),
        ("saber_(fate)", "saber (fate)"),
        ("1girl", "1girl"),
        ("looking_at_viewer", "looking at viewer"),
        ("k-on!_(series)", "k-on! (series)"),
        ("^_^", "^_^"),
        ("o_o", "o_o"),
        ("6_9", "6_9"),
        ("||_||", "||_||"),
        ("<o>_<o>", "<o>_<o>"),
        ("<|>_<|>", "<|>_<|>"),
        ("...", "..."),
    ],
)
def test_how_names_are_spoken(tmp_path: Path, name: str, spoken: str) -> None:
    tags: tuple[Tag, ...] = ((name, 0, (0, 0, 0, 0, 0, 0, 0, 5)),)
    assert tags_of(Tagger(write_tagger(tmp_path, tags=tags)), plain(GRAY)) == (spoken,)


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_pictures_are_padded_with_white_and_stand_in_the_middle(tagger: Tagger, scale: float) -> None:
    long, short = int(64 * scale), int(32 * scale)
    assert set(tags_of(tagger, plain(BLACK, (long, short)))) >= {"light top", "light bottom"}
    assert set(tags_of(tagger, plain(BLACK, (short, long)))) >= {"light left", "light right"}
    for size in ((long, short), (short, long)):
        assert len(tags_of(tagger, plain(BLACK, size))) == 2
    assert not any(tag.startswith("light") for tag in tags_of(tagger, plain(BLACK, (long, long))))


def mixed() -> list[Picture]:
    sizes = ((768, 512), (100, 300), (8, 8), (64, 64), (448, 448), (33, 1), (63, 64), (90, 70), (20, 21), (1, 1))
    return [noise_texture(size, seed, base=(40 * (seed % 4), 90, 120)) for seed, size in enumerate(sizes)]


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_a_batch_gives_what_its_pictures_give_alone(tmp_path: Path, batch: int | str) -> None:
    tagger = Tagger(write_tagger(tmp_path, size=448, batch=batch), threads=2)
    pictures = mixed()
    together = tagger.tags(pictures, threshold=0.0)
    assert together == [tags_of(tagger, each, 0.0) for each in pictures]
    assert len(set(together)) > 3
    assert tagger.tags([], threshold=HALF) == []


def test_pictures_may_be_parts_of_others_and_stay_as_they_are(tagger: Tagger) -> None:
    whole = noise_texture((96, 96), 1)
    whole.flags.writeable = False
    part = whole[10:50, 20:90]
    assert tags_of(tagger, part, 0.0) == tags_of(tagger, part.copy(), 0.0)


def test_its_memory_is_that_of_the_model(folder: Path, tagger: Tagger) -> None:
    assert tagger.nbytes == (folder / "model.onnx").stat().st_size > 0


# What is refused


def refusal(folder: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        Tagger(folder)
    assert caught.value.code is Code.UNKNOWN_ENGINE
    return str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refusal(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.onnx", "selected_tags.csv"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    (write_tagger(tmp_path) / name).unlink()
    assert f"has no {name}" in refusal(tmp_path)


@pytest.mark.parametrize("data", [b"", b"no model", bytes(range(256))])
def test_no_model(tmp_path: Path, data: bytes) -> None:
    (write_tagger(tmp_path) / "model.onnx").write_bytes(data)
    assert "model.onnx is no ONNX model" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("shape", "kind", "why"),
    [
        (["N", 3, 32, 32], TensorProto.FLOAT, r"input must be \[N, S, S, 3\] float, and is x tensor\(float\) \['N', 3"),
        (["N", 32, 48, 3], TensorProto.FLOAT, "input must be"),
        (["N", "H", "W", 3], TensorProto.FLOAT, "input must be"),
        (["N", 32, 32, 4], TensorProto.FLOAT, "input must be"),
        (["N", 32], TensorProto.FLOAT, "input must be"),
        (["N", 32, 32, 3], TensorProto.UINT8, r"tensor\(uint8\)"),
        (["N", 32, 32, 3], TensorProto.FLOAT, r"output must be \[N, tags\] float, and is y tensor\(float\) \['N', 32"),
    ],
)
def test_a_model_of_another_kind(tmp_path: Path, shape: list[int | str], kind: int, why: str) -> None:
    model = make_model([helper.make_node("Identity", ["x"], ["y"])], {"x": shape}, {"y": shape}, kind=kind)
    onnx.save(model, write_tagger(tmp_path) / "model.onnx")
    with pytest.raises(RefusedError, match=why):
        Tagger(tmp_path)


def test_a_model_of_two_inputs(tmp_path: Path) -> None:
    shape: list[int | str] = ["N", 32, 32, 3]
    model = make_model([helper.make_node("Add", ["a", "b"], ["y"])], {"a": shape, "b": shape}, {"y": shape})
    onnx.save(model, write_tagger(tmp_path) / "model.onnx")
    assert "input must be" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tag_id,name,category,count\n1,a,0,5\n", "names 1 tags, and model.onnx has 13 outputs"),
        ("tag_id,tag,category,count\n1,a,0,5\n", "it has no column name"),
        ("", "it has no column name and no column category"),
        ("name,category\na,general\n", "line 2 has the name 'a' and the category 'general'"),
        ("name,category\nlonely\n", "line 2 has the name 'lonely' and the category ''"),
        ("name,category\n,0\n", "line 2"),
        ("name,category\n" + "a" * 200_000 + ",0\n", "does not list tags"),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, text: str, why: str) -> None:
    (write_tagger(tmp_path) / "selected_tags.csv").write_text(text, encoding="utf-8")
    assert why in refusal(tmp_path)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (write_tagger(tmp_path) / "selected_tags.csv").write_bytes(b"name,category\n\xff\xfe,0\n")
    assert "selected_tags.csv does not list tags" in refusal(tmp_path)


# The prompt


@pytest.mark.parametrize(
    ("prompt", "tags", "prefix", "blocked", "whole"),
    [
        ("an old bridge", ["outdoors", "sky"], "masterpiece", (), "masterpiece, an old bridge, outdoors, sky"),
        ("", [], "", (), ""),
        ("", ["sky"], " ", (), "sky"),
        ("a bridge, ", ["sky"], "best,\n", (), "best, a bridge, sky"),
        ("a bridge", ["long hair", "sky"], "", {"Long_Hair"}, "a bridge, sky"),
        ("a bridge", ["^_^", "sky"], "", ["^ ^"], "a bridge, sky"),
        ("a bridge under a blue  SKY", ["blue sky", "sky"], "", (), "a bridge under a blue  SKY"),
        ("(long_hair:1.2)", ["long hair"], "", (), "(long_hair:1.2)"),
        ("a skyscraper", ["sky"], "", (), "a skyscraper, sky"),
        ("a bridge", ["1girl"], "1girl, solo", (), "1girl, solo, a bridge"),
        ("a bridge", ["saber (fate)", "^_^"], "", {"saber"}, "a bridge, saber (fate), ^_^"),
        ("saber (fate), ^_^", ["saber (fate)", "^_^"], "", (), "saber (fate), ^_^"),
    ],
)
def test_a_prompt_with_tags(prompt: str, tags: list[str], prefix: str, blocked: tuple[str, ...], whole: str) -> None:
    assert prompted(prompt, unblocked(tags, blocked), prefix=prefix) == whole
