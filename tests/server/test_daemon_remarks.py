"""What a painter says beside its pictures reaches the client: tags with a keyframe's first frame, and notices."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.camera import Camera
from support.daemon import Daemon, Wire, daemon
from warpaint.client.painting import Client
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code
from warpaint.proto.limits import MAX_TAGS
from warpaint.proto.messages import Close, Notice, Painted, Rekey, Source, Update

SIZE = (96, 64)
SOURCE = Source(width=SIZE[0], height=SIZE[1])
STEADY: dict[str, Any] = {
    "keyframe_gap_min_s": 1000.0,
    "keyframe_gap_max_s": 2000.0,
    "cut_detection": False,
    "hole_limit": 1.0,
}
PICTURE = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
PACINGS = ["every", "live"]


@pytest.fixture(scope="module", params=["thread", "process"])
def running(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    painters = ",".join(f"painters_under_test:{name}" for name in ("Remarks", "ManyTags", "LongTags"))
    flags = ("--isolation", request.param, "--painters", painters, "--flows", "flows_under_test:Still")
    with daemon(tmp_path_factory.mktemp("daemon"), *flags) as made:
        yield made


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    with Wire(running.address) as made:
        yield made
        made.send(Close(session=0, discard=True))


def opened(wire: Wire, pacing: str, painter: str = "Remarks", **brief: Any) -> Camera:
    wire.open(
        SOURCE,
        pacing=pacing,
        painter=f"painters_under_test:{painter}",
        brief=Brief.model_validate(STEADY | brief),
        max_delay_ms=10_000.0,
    )
    return Camera(wire)


def until_keyframe(camera: Camera) -> list[Painted]:
    """The answers up to the first frame that shows the next keyframe."""
    answers = camera.film_until(lambda each: each.message.keyframe, [PICTURE.tobytes()])
    return [each.message for each in answers]


def notices(camera: Camera) -> list[tuple[Code, str]]:
    return [(each.code, each.message) for each in camera.said if isinstance(each, Notice)]


@pytest.mark.parametrize("pacing", PACINGS)
def test_tags_come_with_the_first_frame_that_shows_their_keyframe(wire: Wire, pacing: str) -> None:
    camera = opened(wire, pacing)
    for request in range(3):
        since = camera.next_index
        *before, first = until_keyframe(camera)
        after = [each.message for each in camera.film([PICTURE.tobytes()] * 2)]
        assert {each.tags for each in (*before, *after)} <= {()}
        kind, frame = first.tags
        assert kind == "keyframe"
        assert since <= int(frame.removeprefix("frame ")) <= first.index
        if pacing == "every":
            assert frame == f"frame {first.index}"
        wire.send(Rekey(session=0, request=request))


@pytest.mark.parametrize("pacing", PACINGS)
@pytest.mark.parametrize("name", ["ManyTags", "LongTags"])
def test_no_more_tags_come_than_fit(wire: Wire, pacing: str, name: str) -> None:
    tags = until_keyframe(opened(wire, pacing, name))[-1].tags
    assert tags[0][-1] in "0\N{SNOWFLAKE}"
    assert len(tags) == MAX_TAGS if name == "ManyTags" else 0 < len(tags) < MAX_TAGS


@pytest.mark.parametrize("pacing", PACINGS)
def test_a_note_is_told_once_until_it_changes(wire: Wire, pacing: str) -> None:
    """Though each keyframe has it."""
    camera = opened(wire, pacing, prompt="a harbour")
    until_keyframe(camera)
    wire.send(Rekey(session=0, request=1))
    until_keyframe(camera)
    assert notices(camera) == [(Code.PROMPT_CUT, "'a harbour' is too long")]
    for request, prompt in enumerate(("snow", "", "snow"), start=2):
        wire.send(Update(session=0, request=request, changes={"prompt": prompt}))
        until_keyframe(camera)
    told = [message for _, message in notices(camera)]
    assert told == ["'a harbour' is too long", "'snow' is too long", "'snow' is too long"]


@pytest.mark.parametrize("pacing", PACINGS)
def test_the_client_has_tags_and_notices(running: Daemon, pacing: Any) -> None:
    with (
        Client(running.address) as client,
        client.session(source=SOURCE, pacing=pacing, max_delay_ms=10_000.0, prompt="snow", **STEADY) as session,
    ):
        tags: list[tuple[str, ...]] = []
        for number in range(1_000):
            session.push(PICTURE, 40 * number)
            session.flush()
            tags += [painted.info.tags for painted in session.results()]
            if any(tags):
                break
        session.flush()
    assert tags[-1][0] == "keyframe"
    assert [(each.code, each.message) for each in session.notices] == [(Code.PROMPT_CUT, "'snow' is too long")]
