"""The Brief: what to paint, and how the painting moves. The same names on the wire, in files and as flags."""

from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import InvalidMessage
from .limits import MAX_INTEGER, MAX_NAME, MAX_TEXT

Share = Annotated[float, Interval(ge=0.0, le=1.0)]


class Brief(BaseModel):
    """What a session paints. Frozen: a change is a new Brief, and begins a new epoch.

    Unknown keys are refused by name, unlike those of a header: a wish that is dropped in silence
    would look like a painter that does not listen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    look: str | None = Field(
        None, min_length=1, max_length=MAX_NAME, description="One of the painter's looks; None: its first."
    )
    prompt: str = Field("", max_length=MAX_TEXT, description="What to paint, for painters that read.")
    negative_prompt: str = Field("", max_length=MAX_TEXT, description="What not to paint, for painters that read.")
    strength: Share = Field(0.75, description="How far the painting may leave the picture, 0 to 1.")
    seed: int = Field(0, ge=0, le=MAX_INTEGER, description="The seed of everything random in the painter.")
    vary_seed: bool = Field(False, description="Add the frame's index to the seed: each painting has its own.")

    keyframe_threshold: float = Field(
        80.0,
        ge=0.0,
        le=255.0,
        description="Mean absolute difference of dilated edge maps, 0 to 255, that makes a new keyframe at no gap; "
        "it falls linearly to zero at keyframe_gap_max_s.",
    )
    keyframe_gap_min_s: float = Field(1 / 3, ge=0.0, le=3600.0, description="Shortest gap between keyframes, seconds.")
    keyframe_gap_max_s: float = Field(10.0, gt=0.0, le=3600.0, description="Longest gap between keyframes, seconds.")
    cut_detection: bool = Field(True, description="Drop all references where the film cuts.")
    hole_limit: Share = Field(0.5, description="Share of holes in a frame above which a new keyframe is considered.")
    hole_limit_s: float = Field(
        0.2, ge=0.0, le=3600.0, description="How long hole_limit must be passed before the new keyframe, seconds."
    )

    confidence: Share = Field(0.35, description="Flow confidence below which a pixel is not warped but painted.")
    max_hops: int = Field(16, ge=1, le=254, description="How often a pixel may be resampled before it is painted anew.")
    fade_s: float = Field(0.1, ge=0.0, le=10.0, description="Cross-fade from one keyframe to the next, seconds.")
    when_unpainted: Literal["raw", "held"] = Field(
        "raw",
        description="What a live film shows while nothing is painted yet, at its start and after a cut: the raw frame, "
        "or the last output held.",
    )
    feather: int = Field(3, ge=0, le=64, description="Width of the soft seam inside a hole, working pixels.")

    @model_validator(mode="after")
    def _gaps_in_order(self) -> "Brief":
        if self.keyframe_gap_min_s > self.keyframe_gap_max_s:
            raise ValueError(
                f"keyframe_gap_min_s ({self.keyframe_gap_min_s}) must not exceed "
                f"keyframe_gap_max_s ({self.keyframe_gap_max_s})"
            )
        return self

    def changed(self, changes: dict[str, Any]) -> "Brief":
        """This Brief with some fields replaced. Raises InvalidMessage, naming the field and what is allowed."""
        try:
            return Brief.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise InvalidMessage(explain(error, "brief")) from None


def explain(error: ValidationError, where: str) -> str:
    """The first few complaints of a ValidationError in one line, each with its field, the rule and the bad value."""
    shown = 3
    parts = []
    for detail in error.errors(include_url=False)[:shown]:
        field = ".".join(_step(step) for step in (where, *detail["loc"]))
        value = "" if detail["type"] == "missing" else f" (got {_short(detail['input'])})"
        parts.append(f"{field}: {detail['msg']}{value}")
    more = error.error_count() - shown
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def _step(step: int | str) -> str:
    """One step on the way to a field. It may be a key that the other side made up: long, or with control characters."""
    text = str(step)
    return text if len(text) <= 60 and text.isprintable() else _short(text)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
