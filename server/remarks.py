"""What a painter says beside its pictures: tags of a keyframe, for the frame that shows it, and notes to the client."""

from collections.abc import Collection, Sequence

from ..engines.base import PaintDone, PaintJob
from ..proto.errors import Code

Note = tuple[Code, str]


class Remarks:
    """The remarks of one session's paintings that are still to be told, and the notes that have been."""

    def __init__(self) -> None:
        self._coming: tuple[str, ...] = ()  # of the last keyframe, which no frame shows yet
        self._seen: tuple[str, ...] = ()  # of the keyframe that is seen, which no frame that was sent has told
        self._noted: Collection[Note] = ()  # of the last painting that had any

    def taken(self, jobs: Sequence[PaintJob], done: Sequence[PaintDone]) -> list[Note]:
        """The notes to tell of a painting: those that the one before it did not have too. Crops may leave them out."""
        keyframe = jobs[0].holes is None
        if keyframe:
            self._coming = done[0].tags
        notes = list(dict.fromkeys(each.note for each in done if each.note is not None))
        told, self._noted = self._noted, notes if notes or keyframe else self._noted
        return [note for note in notes if note not in told]

    def shown(self) -> None:
        """The last keyframe is seen from this frame on."""
        self._seen, self._coming = self._coming, ()

    def tags_shown(self) -> tuple[str, ...]:
        """The tags of the keyframe that is seen, once: for the first frame that is sent with it."""
        tags, self._seen = self._seen, ()
        return tags
