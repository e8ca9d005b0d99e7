"""The Brief: what to paint, and how the painting moves. The same names on the wire, in files and as flags."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Interval, Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import InvalidMessage
from .limits import MAX_BLOCKED_TAGS, MAX_CONTROLS, MAX_INTEGER, MAX_LORAS, MAX_NAME, MAX_TEXT

Share = Annotated[float, Interval(ge=0.0, le=1.0)]
Listed = Annotated[str, Len(1, MAX_NAME)]

# Largest weight of a LoRA or a control, either way: past it pictures burn.
MAX_WEIGHT = 4.0


class Lora(NamedTuple):
    """A LoRA, by the name that the daemon holds it under, and how much of it is added."""

    name: str
    weight: float


class Control(NamedTuple):
    """What holds the painting to the picture's shapes, how strongly, and from which share of the steps to which."""

    kind: str
    weight: float
    start: float
    end: float


# A number as JSON has it: what `float` takes besides, such as 1_0 or a digit of another script, other clients do not.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def lora_of(text: str) -> Lora:
    """The LoRA that `NAME` or `NAME:WEIGHT` says. Raises ValueError."""
    name, *numbers = text.split(":")
    [weight] = _numbers(text, numbers, defaults=(1.0,), form="NAME or NAME:WEIGHT")
    return Lora(name, _weight(text, weight))


def control_of(text: str) -> Control:
    """The control that `KIND`, `KIND:WEIGHT` or `KIND:WEIGHT:START:END` says. Raises ValueError."""
    form = "KIND, KIND:WEIGHT or KIND:WEIGHT:START:END"
    kind, *numbers = text.split(":")
    weight, start, end = _numbers(text, numbers, defaults=(1.0, 0.0, 1.0), form=form)
    if not 0.0 <= start < end <= 1.0:
        raise ValueError(f"{text!r}: START and END are shares of the steps, 0 <= START < END <= 1")
    return Control(kind, _weight(text, weight), start, end)


def _numbers(text: str, given: list[str], *, defaults: tuple[float, ...], form: str) -> tuple[float, ...]:
    if not all(map(_NUMBER.fullmatch, given)) or len(given) not in (0, 1, len(defaults)) or text.startswith(":"):
        raise ValueError(f"{text!r} is not {form}")
    numbers = tuple(float(each) for each in given)
    return numbers + defaults[len(numbers) :]


def _weight(text: str, weight: float) -> float:
    if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
        raise ValueError(f"{text!r}: the weight must be between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}")
    return weight


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

    steps: int = Field(
        20, ge=1, le=150, description="Steps of a diffusion model from noise to picture; strength takes its share."
    )
    guidance: float = Field(
        7.5, ge=0.0, le=30.0, description="How closely a diffusion model follows the prompt; up to 1: in half the time."
    )
    scheduler: Literal["ddim", "dpm++", "euler", "euler_a", "lcm", "tcd", "unipc"] = Field(
        "ddim",
        description="How a diffusion model goes from step to step; lcm and tcd are for models and LoRAs of theirs.",
    )
    loras: tuple[Listed, ...] = Field(
        (), max_length=MAX_LORAS, strict=False, description="LoRAs of the daemon's, each NAME or NAME:WEIGHT."
    )
    controls: tuple[Listed, ...] = Field(
        (),
        max_length=MAX_CONTROLS,
        strict=False,
        description="ControlNets of the daemon's that hold the painting to the picture's shapes, each KIND, "
        "KIND:WEIGHT or KIND:WEIGHT:START:END, the last two being shares of the steps.",
    )
    vae: Literal["full", "tiny"] = Field(
        "full", description="What turns pictures into latents and back; tiny: in a tenth of the time, a little softer."
    )
    clip_skip: int = Field(
        0, ge=0, le=11, description="Layers of the text encoder that are left out at its end; some models want 1."
    )
    prompt_fade_s: float = Field(
        0.0, ge=0.0, le=60.0, description="How long a changed prompt takes to come in over the keyframes, seconds."
    )
    keyframe_start: Literal["raw", "warped"] = Field(
        "raw", description="What a keyframe is painted from: the raw frame, or the last keyframe warped to it."
    )
    attend_last: bool = Field(
        False, description="Keyframes look back at the last one while they are painted (attention over both)."
    )
    colour_lock_s: float = Field(
        0.0,
        ge=0.0,
        le=3600.0,
        description="How slowly the colours of keyframes may wander from the first one's, seconds; 0: as they like.",
    )
    tag_threshold: Share = Field(
        0.0,
        description="Probability from which what the daemon's tagger sees in a keyframe joins the prompt; 0: nothing "
        "does.",
    )
    tag_prefix: str = Field("", max_length=MAX_TEXT, description="What the prompt begins with where tags join it.")
    tag_block: tuple[Listed, ...] = Field(
        (), max_length=MAX_BLOCKED_TAGS, strict=False, description="Tags that never join the prompt."
    )

    keyframes: Literal["auto", "marked"] = Field(
        "auto",
        description="Which frames are painted in full. auto: those that the film asks for, and those that are marked; "
        "marked: these alone, and where nothing is painted yet, the first frame and the first after a cut.",
    )
    keyframe_threshold: float = Field(
        80.0,
        ge=0.0,
        le=255.0,
        description="Mean absolute difference of dilated edge maps, 0 to 255, that makes a new keyframe at no gap; "
        "it falls linearly to zero at keyframe_gap_max_s.",
    )
    keyframe_gap_min_s: float = Field(1 / 3, ge=0.0, le=3600.0, description="Shortest gap between keyframes, seconds.")
    keyframe_gap_max_s: float = Field(10.0, gt=0.0, le=3600.0, description="Longest gap between keyframes, seconds.")
    cut_detection: bool = Field(True, description="Follow no paint where the film cuts; see idle_keyframes.")
    hole_limit: Share = Field(0.5, description="Share of holes in a frame above which a new keyframe is considered.")
    hole_limit_s: float = Field(
        0.2, ge=0.0, le=3600.0, description="How long hole_limit must be passed before the new keyframe, seconds."
    )

    repaint_gap_s: float = Field(
        0.25,
        ge=0.0,
        le=3600.0,
        description="Shortest time from one painting of holes to the next in pacing every, seconds; between them holes "
        "are filled cheaply. 0: each frame's are painted.",
    )

    lookahead_s: float = Field(
        0.0,
        ge=0.0,
        le=60.0,
        description="How long a frame may wait in pacing every for what comes after it, seconds: its holes then show "
        "what is painted there later. 0: each frame goes out before the next one is taken.",
    )

    confidence: Share = Field(0.25, description="Flow confidence below which a pixel is not warped but painted.")
    max_hops: int = Field(
        16,
        ge=1,
        le=254,
        description="How many flows from frame to frame may lead to a pixel's paint before it is painted anew.",
    )
    references: int = Field(
        2,
        ge=1,
        le=8,
        description="In how many painted references each frame is sought, beside the last frame: more find what was "
        "hidden for a while, and take longer.",
    )
    idle_keyframes: int = Field(
        4,
        ge=0,
        le=16,
        description="How many keyframes that are seen no more are kept in pacing every: what comes back, after a cut "
        "or from behind something, is then painted as it was.",
    )
    keyframe_entry: Literal["lazy", "fade"] = Field(
        "lazy",
        description="How a new keyframe comes in. lazy: where older paint cannot be followed any more; fade: all over, "
        "within fade_s. One of other words, or that was asked for, always fades in.",
    )
    follow_light: bool = Field(
        True, description="Paint gets lighter and darker as the film does since it was painted, over large areas."
    )
    fade_s: float = Field(
        0.1,
        ge=0.0,
        le=10.0,
        description="Cross-fade to a keyframe that comes in over all other paint, seconds; see keyframe_entry. With "
        "lookahead_s, and keyframes marked or keyframe_entry fade, it lies before it, over the frames that wait; else "
        "after it.",
    )
    when_unpainted: Literal["raw", "held"] = Field(
        "raw",
        description="What a live film shows while nothing is painted yet, at its start and after a cut: the raw frame, "
        "or the last output held.",
    )
    feather: int = Field(3, ge=0, le=64, description="Width of the soft seam inside a hole, working pixels.")

    @property
    def lora_list(self) -> tuple[Lora, ...]:
        """The LoRAs, read."""
        return tuple(lora_of(each) for each in self.loras)

    @property
    def control_list(self) -> tuple[Control, ...]:
        """The controls, read."""
        return tuple(control_of(each) for each in self.controls)

    @field_validator("loras")
    @classmethod
    def _loras_can_be_read(cls, loras: tuple[str, ...]) -> tuple[str, ...]:
        _once([lora_of(each).name for each in loras])
        return loras

    @field_validator("controls")
    @classmethod
    def _controls_can_be_read(cls, controls: tuple[str, ...]) -> tuple[str, ...]:
        _once([control_of(each).kind for each in controls])
        return controls

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


def _once(names: list[str]) -> None:
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is named twice")


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
