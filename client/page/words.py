"""What the browser and the page say to each other over WebSockets. Times are milliseconds."""

import json
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...proto.brief import explain
from ...proto.limits import MAX_INTEGER, MAX_NAME, MAX_RATE, MAX_SIDE
from ..errors import MediaError
from .tiles import TileName

# A text from the browser is a few knobs, or a prompt.
MAX_TEXT_BYTES = 64 * 1024
# The widest tile that is coded, pixels: what a large screen shows.
WIDEST = 3_840

Number = Annotated[int, Interval(ge=0, le=MAX_INTEGER)]
Name = Annotated[str, Len(1, MAX_NAME)]
Picture = Literal["raw", "painted"]


class Word(BaseModel):
    """The rules that all follow: what is not known is refused, as it comes from our own scripts alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Want(Word):
    """What is to be seen."""

    type: Literal["want"]
    codec: Literal["h264", "jpeg"] = "h264"
    pictures: Annotated[tuple[Picture, ...], Len(0, 2)] = ("raw", "painted")
    maps: Annotated[tuple[Literal["flow", "confidence", "hops", "holes"], ...], Len(0, 4)] = ()
    max_width: Annotated[int, Interval(ge=16, le=WIDEST)] = 1_280

    @property
    def tiles(self) -> tuple[TileName, ...]:
        """All tiles, in order."""
        return (*self.pictures, *self.maps)


class Ack(Word):
    """A frame was drawn, or thrown away."""

    type: Literal["ack"]
    seq: Number


class Keyframe(Word):
    """The decoder needs a picture that needs no other."""

    type: Literal["keyframe"]


class Update(Word):
    """Some fields of the Brief are to change."""

    type: Literal["update"]
    request: Number
    changes: dict[str, Any]


class Rekey(Word):
    """A new keyframe is to be painted."""

    type: Literal["rekey"]
    request: Number


class Hold(Word):
    """The film is to stop, or to go on."""

    type: Literal["hold"]
    request: Number
    on: bool


class OpenSource(Word):
    """A webcam or a film of the browser is to become a session."""

    type: Literal["open"]
    width: Annotated[int, Interval(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Interval(ge=1, le=MAX_SIDE)]
    rate: Annotated[float, Interval(gt=0, le=MAX_RATE)] | None = None
    codec: Literal["jpeg", "h264"] = "jpeg"
    painter: Name | None = None
    flow: Name | None = None
    brief: dict[str, Any] = {}
    name: Annotated[str, Len(0, MAX_NAME)] = ""


class CloseSource(Word):
    """It is over."""

    type: Literal["close"]


Asked = Update | Rekey | Hold
OfView = Annotated[Want | Ack | Keyframe | Update | Rekey | Hold, Field(discriminator="type")]
OfSource = Annotated[OpenSource | CloseSource, Field(discriminator="type")]
OF_VIEW: TypeAdapter[Want | Ack | Keyframe | Update | Rekey | Hold] = TypeAdapter(OfView)
OF_SOURCE: TypeAdapter[OpenSource | CloseSource] = TypeAdapter(OfSource)


class Unreadable(MediaError):
    """What came from the browser is nothing that can be said here."""


def heard(words: TypeAdapter[Any], text: object) -> Any:
    """What a text says. Raises Unreadable."""
    if not isinstance(text, str):
        raise Unreadable("this socket takes texts alone here")
    try:
        return words.validate_python(json.loads(text))
    except ValidationError as error:
        raise Unreadable(explain(error, "message")) from None
    except (ValueError, RecursionError):
        raise Unreadable("a message is JSON") from None
