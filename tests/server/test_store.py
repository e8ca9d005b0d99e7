"""Sessions on disk."""

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import numpy as np
import pytest

from support.studio import Grain, as_frames, drive
from warpaint.engines.flow.dis import Dis
from warpaint.proto.brief import Brief
from warpaint.proto.messages import Open, Source
from warpaint.server.session import Session
from warpaint.server.store import Store, Stored

SIZE = (64, 48)
OPENING = Open(session=3, source=Source(width=64, height=48), brief=Brief(look="grain"))
SOON_S = 20.0


@pytest.fixture(scope="module")
def session() -> Session:
    made, painter, flow = Session(Brief(look="grain"), SIZE), Grain(), Dis()
    for frame in as_frames([np.full((48, 64, 3), 90, np.uint8)] * 2):
        drive(made, frame, flow, painter)
    return made


def stored(session: Session, last_index: int = 41) -> Stored:
    return Stored(OPENING, 30.0, 8, last_index, 2, session.epoch, state=session.state())


def written(folder: Path, *entries: tuple[str, Stored | None]) -> dict[str, Stored]:
    """What is on disk after these were said."""
    store = Store(folder)
    for key, each in entries:
        store.save(key, each) if each else store.forget(key)
    store.close(SOON_S)
    return dict(Store(folder).load())


def test_a_session_comes_back_as_it_was(tmp_path: Path, session: Session) -> None:
    [(key, found)] = written(tmp_path, ("secret", stored(session))).items()
    assert key == "secret"
    assert (found.opening, found.linger_s, found.window) == (OPENING, 30.0, 8)
    assert (found.last_index, found.last_request, found.epoch) == (41, 2, 0)
    assert found.snapshot == session.snapshot()


def test_the_last_word_counts(tmp_path: Path, session: Session) -> None:
    said = [("a", stored(session, 1)), ("b", stored(session)), ("a", stored(session, 2)), ("b", None)]
    assert {key: each.last_index for key, each in written(tmp_path, *said).items()} == {"a": 2}


def test_the_folder_is_this_users_alone_and_file_names_tell_no_token(tmp_path: Path, session: Session) -> None:
    folder = tmp_path / "state"
    written(folder, ("secret", stored(session)))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.suffix for path in folder.iterdir()] == [".session"]
    assert "secret" not in str([*folder.iterdir()])


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"no session",
        msgpack.packb({"version": 1}),
        msgpack.packb({"version": 99, "key": "a"}),
        msgpack.packb([1, 2]),
    ],
)
def test_a_file_that_is_no_session_is_left_alone_and_named(
    tmp_path: Path, session: Session, spoilt: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = tmp_path / "0.session"
    foreign.write_bytes(spoilt)
    assert list(written(tmp_path, ("a", stored(session)))) == ["a"]
    assert foreign.read_bytes() == spoilt
    assert str(foreign) in caplog.text


def test_a_file_that_was_cut_short_is_left_alone(tmp_path: Path, session: Session) -> None:
    written(tmp_path, ("a", stored(session)))
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    assert list(Store(tmp_path).load()) == []


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"state directory.*file"):
        Store(tmp_path / "file")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As if the disk were full: no file may grow past this, bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there_and_is_told_once(
    tmp_path: Path, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    before = written(tmp_path, ("a", stored(session, 1)))
    with caplog.at_level(logging.WARNING), files_of_at_most(1000):
        store = Store(tmp_path)
        for index in range(2, 5):
            store.save(str(index), stored(session, index))
        store.save("a", stored(session, 9))
        store.close(SOON_S)
    assert dict(Store(tmp_path).load()) == before
    assert len(caplog.records) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".session"]
