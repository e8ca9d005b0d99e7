"""Stable Diffusion in a real daemon, with tiny models: the command line, both pacings, several sessions, refusals."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from support.clips import clip as clip_of
from support.clips import frames
from support.daemon import Daemon, Wire, daemon, not_started
from support.tiny_sd import Tiny
from warpaint.client.errors import FrameFailed
from warpaint.client.painting import Client
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, WarpaintError
from warpaint.proto.messages import Error, FrameIn, Painted, Source

WARPAINT = Path(sys.executable).with_name("warpaint")
SIZE = (192, 128)
ASKED: dict[str, Any] = {"prompt": "a wood in autumn", "steps": 4, "guidance": 1.0, "scheduler": "lcm", "vae": "tiny"}
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def running(tiny: Tiny, tiny_tagger: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with models of all kinds: folders, and a single file."""
    flags = [
        *("--painter", "diffusion", "--model", str(tiny.base), "--inpaint-model", str(tiny.inpaint_file)),
        *("--model-configuration", str(tiny.configuration), "--taesd", str(tiny.taesd)),
        *("--model-loras", f"{tiny.lora},{tiny.other_lora}", "--embeddings", str(tiny.embedding)),
        *("--controlnets", f"canny={tiny.canny_file},lineart={tiny.lineart},depth={tiny.lineart}"),
        *("--tagger", str(tiny_tagger)),
        *("--device", "cpu", "--painter-threads", "1"),
    ]
    with daemon(tmp_path_factory.mktemp("daemon"), *flags) as made:
        yield made


@pytest.fixture(scope="module")
def clip() -> list[Any]:
    return list(frames("bikes", SIZE, stop=12))


def far(one: Any, other: Any) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_a_film_is_painted(running: Daemon, clip: list[Any]) -> None:
    with Client(running.address) as client:
        with client.session(**ASKED, loras=["lora:0.5"], controls=["canny:0.5"], tag_threshold=0.5) as session:
            results = list(session.paint(clip))
        [engine] = [each for each in client.status().engines if each.kind == "painter"]
    assert [each.index for each in results] == list(range(len(clip)))
    assert results[0].info.provenance == "painted"
    assert {each.info.provenance for each in results[1:]} <= {"warped", "filled", "painted"}
    assert all(far(each.image, raw) > 5 for each, raw in zip(results, clip, strict=True))
    assert results[0].info.tags
    assert session.totals is not None
    assert session.totals.painted_pixels < 0.8 * session.totals.canvas_pixels
    assert engine.name == "diffusion"
    assert engine.memory_bytes is not None
    assert engine.memory_bytes > 10**6


def test_the_same_film_is_painted_the_same(running: Daemon, clip: list[Any]) -> None:
    def painted() -> list[bytes]:
        with Client(running.address) as client, client.session(**ASKED, attend_last=True) as session:
            return [each.image.tobytes() for each in session.paint(clip)]

    assert painted() == painted()


def test_live_no_frame_waits_and_the_prompt_may_change(running: Daemon, clip: list[Any]) -> None:
    """Until the changed prompt is seen; the film stands still meanwhile, so that its paint is all that changes."""
    with Client(running.address) as client, client.session(pacing="live", **ASKED, max_delay_ms=10_000.0) as session:
        seen, number, asked_at, shown_at = [], 0, None, None
        deadline = time.monotonic() + PATIENCE_S
        while shown_at is None and time.monotonic() < deadline:
            session.push(clip[0], 40 * number)
            number += 1
            time.sleep(0.02)
            for result in session.results(wait=False):
                seen.append(result)
                if result.info.keyframe and asked_at is None:
                    session.update(prompt="a coral reef", seed=5)
                    asked_at = result.index
                elif result.info.keyframe:
                    shown_at = result.index
        session.flush()
    assert asked_at is not None
    assert shown_at is not None
    assert [each.info.provenance for each in seen[:asked_at]] == ["held"] * asked_at
    by_index = {each.index: each.image for each in seen}
    assert far(by_index[max(by_index)], by_index[asked_at]) > 1


def test_several_live_sessions_are_painted_at_once(running: Daemon, clip: list[Any]) -> None:
    with Client(running.address) as client:
        sessions = [
            client.session(pacing="live", **{**ASKED, "seed": seed}, max_delay_ms=10_000.0) for seed in range(3)
        ]
        waiting = set(range(3))
        deadline, number = time.monotonic() + PATIENCE_S, 0
        while waiting and time.monotonic() < deadline:
            for each in sessions:
                each.push(clip[0], 40 * number)
            number += 1
            time.sleep(0.05)
            for which, each in enumerate(sessions):
                if any(result.info.keyframe for result in each.results(wait=False)):
                    waiting.discard(which)
        for each in sessions:
            each.close()
    assert not waiting


def test_a_prompt_that_is_cut_is_told(running: Daemon, clip: list[Any]) -> None:
    with Client(running.address) as client, client.session(**{**ASKED, "prompt": "wood " * 40}) as session:
        list(session.paint(clip[:3]))
        assert [(each.code, "did not read" in each.message) for each in session.notices] == [(Code.PROMPT_CUT, True)]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"strength": 0.1}, "less than one"),
        ({"loras": ["unknown"]}, "it holds lora, other_lora"),
        ({"controls": ["canny", "canny:0.5"]}, "'canny' is named twice"),
        ({"controls": ["pose"]}, "it holds canny, lineart, depth"),
    ],
    ids=str,
)
def test_a_wish_that_cannot_be_met_is_refused_at_once(
    running: Daemon, clip: list[Any], wish: dict[str, Any], said: str
) -> None:
    with Client(running.address) as client:
        with pytest.raises(WarpaintError, match=said), client.session(**{**ASKED, **wish}) as session:
            list(session.paint(clip[:1]))
        with client.session(**ASKED) as session:
            session.push(clip[0], 0)
            with pytest.raises(WarpaintError, match=said):
                session.update(**wish)
            assert next(iter(session.results())).image.shape == clip[0].shape


# Control images of the client's own


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_control_image_that_is_sent_changes_the_painting(running: Daemon, clip: list[Any], encoding: Any) -> None:
    """Another image changes it again; and the client's own edges are not those that are computed.

    Tiny ControlNets hardly tell one image from another; but the same image gives the same bits.
    """
    source = Source(width=SIZE[0], height=SIZE[1], encoding=encoding)
    frame: Any = clip[0] if encoding == "raw" else cv2.imencode(".jpg", clip[0])[1].tobytes()

    def painted(kind: str, **controls: Any) -> Any:
        with Client(running.address) as client, client.session(source=source, **ASKED, controls=[kind]) as session:
            session.push(frame, 0, controls=controls)
            [result] = session.results()
            return result.image

    white, black = (np.full((SIZE[1], SIZE[0]), level, np.uint8) for level in (255, 0))
    images = [painted("depth:4", depth=white), painted("depth:4", depth=black), painted("depth:0", depth=white)]
    images += [painted("canny:4"), painted("canny:4", canny=white)]
    for number, one in enumerate(images):
        assert all(far(one, other) > 0 for other in images[:number])
    np.testing.assert_array_equal(painted("depth:4", depth=np.dstack([white] * 3), canny=black), images[0])


def test_a_keyframe_without_its_control_image_fails_and_the_next_frame_is_painted(
    running: Daemon, clip: list[Any]
) -> None:
    with Client(running.address) as client, client.session(**ASKED, controls=["depth"]) as session:
        session.push(clip[0], 0)
        with pytest.raises(FrameFailed, match="'depth' is not computed here; send its image with each frame") as caught:
            list(session.results())
        assert caught.value.code is Code.BAD_BRIEF
        session.push(clip[1], 40, controls={"depth": clip[1]})
        session.push(clip[2], 80)  # its holes are painted without
        keyframe, warped = session.results()
    assert (keyframe.index, keyframe.info.provenance) == (1, "painted")
    assert (warped.index, warped.info.provenance in ("warped", "filled")) == (2, True)


def test_a_control_image_of_another_size_fails_its_frame(running: Daemon, clip: list[Any]) -> None:
    wanted = Brief(**ASKED, controls=("depth",))
    with Wire(running.address) as wire:
        wire.open(Source(width=SIZE[0], height=SIZE[1]), brief=wanted)
        for index, image in enumerate((clip[0][:64].tobytes(), clip[0].tobytes())):
            wire.send(FrameIn(session=0, index=index, pts=40 * index, controls=("depth",)), clip[0].tobytes(), image)
        error = wire.expect(Error)
        assert (error.code, error.index) == (Code.BAD_PAYLOAD, 0)
        assert "'depth' has 36864 bytes; 192x128 as bgr24 has 73728" in error.message
        assert wire.expect(Painted).index == 1


def test_a_film_from_the_command_line(running: Daemon, tmp_path: Path) -> None:
    source = clip_of("bikes")
    command: list[str | Path] = [
        WARPAINT,
        "run",
        source,
        tmp_path / "out.mkv",
        "--daemon",
        running.address,
        "--end",
        "0.38",
    ]
    wishes = ["--prompt", "a wood", "--steps", "4", "--guidance", "1", "--scheduler", "lcm", "--vae", "tiny"]
    pixels = ["--max-pixels", "24576"]
    ran = subprocess.run([*command, *wishes, *pixels], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert len(list(film.decode(video=0))) == 10
    ran = subprocess.run([*command, *pixels, "--prompt", ""], capture_output=True, text=True, timeout=100)
    assert ran.returncode != 0
    assert "the prompt is empty" in ran.stderr
    assert "Traceback" not in ran.stderr


# A daemon that cannot start says why


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--isolation", "thread", "--model", "{inpaint}"], "inpaint"),
        ([], "needs a model"),
        (["--model", "no/such/file.safetensors"], "does not exist"),
        (["--model", "{inpaint}"], "inpaint"),
        (["--model", "{base}", "--inpaint-model", "{base_file}"], "base"),
        (["--model", "{base}", "--model-loras", "{taesd}/config.json"], "config.json"),
        (["--model", "{base}", "--controlnets", "canny=/a,canny=/b"], "named twice"),
        (["--model", "{base}", "--controlnets", "po:se=/a"], "letters, digits, - and _ alone, not 'po:se'"),
        (["--model", "{base}", "--controlnets", "pose=/a"], "/a"),
        (["--model", "{base}", "--device", "cuda"], "no device 'cuda' here"),
    ],
    ids=str,
)
def test_what_cannot_be_loaded_is_said(tiny: Tiny, tmp_path: Path, flags: list[str], said: str) -> None:
    paths = {name: str(getattr(tiny, name)) for name in ("base", "inpaint", "base_file", "taesd")}
    given = [each.format(**paths) for each in flags]
    code, stderr = not_started(tmp_path, "--bind", f"ipc://{tmp_path}/s", "--painter", "diffusion", *given)
    assert code in (1, 2)
    assert said in stderr
    assert "Traceback" not in stderr
