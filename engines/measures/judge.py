"""The judge: films go by frame by frame, side by side, and in the end there is a verdict on each."""

import math
from collections import deque
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ..base import Picture
from ..grid import resample
from .blocks import Blocks, blocks_of
from .detail import luma
from .films import listed
from .following import edges_of
from .motion import INTERPOLATION, Motion, RawFlow
from .summary import DISTANCES, References, verdict_of
from .track import Moment, Track, away_from_seams, blurred_difference
from .verdict import Cost, Verdict

# Of the pairs that are several frames apart, those are measured whose later frame is a multiple of this: neighbouring
# pairs say nearly the same, and each takes twice the time of a pair of neighbours.
EVERY_FRAMES = 5


class Judge:
    """Judges painted films of one raw film, which all go by together. Holds 16 frames of each.

    names: of the films. rate: frames a second. alone: whether the film painted frame by frame, with a new seed each, is
    there to compare with; fixed: whether it is there with one seed for all.
    """

    def __init__(self, names: Sequence[str], rate: float, *, alone: bool = False, fixed: bool = False) -> None:
        if not rate > 0:
            raise ValueError(f"a film has more than 0 frames a second, not {rate}")
        if len(set(names)) != len(names):
            raise ValueError(f"each film needs a name of its own, not {', '.join(names)}")
        self._rate = rate
        self._motion = Motion(DISTANCES, every=EVERY_FRAMES)
        self._raw = _track()
        self._alone = _track() if alone else None
        self._fixed = _track() if fixed else None
        self._tracks = {name: _track() for name in names}
        self._counted: Blocks | None = None
        self._yardstick: list[float] = []
        self._shown: deque[list[Picture]] = deque(maxlen=DISTANCES[-1] + 1)

    def add(
        self,
        raw: Picture,
        paintings: Mapping[str, Picture],
        *,
        alone: Picture | None = None,
        fixed: Picture | None = None,
    ) -> None:
        """Takes the next frame of all films, BGR. Raises ValueError where one is missing, or of another size."""
        self._check(raw, paintings, alone, fixed)
        flows = self._motion.add(raw)
        tracks = [self._raw, *self._tracks.values()]
        pictures = [raw, *(paintings[name] for name in self._tracks)]
        for track, picture in ((self._alone, alone), (self._fixed, fixed)):
            if track is not None and picture is not None:
                tracks.append(track)
                pictures.append(picture)
        self._shown.append(pictures)
        for place, (track, picture) in enumerate(zip(tracks, pictures, strict=True)):
            earlier = {distance: self._shown[-1 - distance][place] for distance in flows}
            track.add_errors(picture, earlier, flows)
            track.add_colours(picture)
        self._add_looks(raw, paintings, alone, flows.get(1))

    def _add_looks(
        self, raw: Picture, paintings: Mapping[str, Picture], alone: Picture | None, flow: RawFlow | None
    ) -> None:
        moment = Moment(away_from_seams(flow, raw.shape), edges_of(luma(raw)), alone)
        counted = blocks_of(moment.away)
        self._counted = counted if self._counted is None else self._counted + counted
        for name, track in self._tracks.items():
            track.add_looks(paintings[name], moment)
        if self._alone is not None and alone is not None:
            self._alone.add_looks(alone, moment)
            if flow is not None:
                before = self._shown[-2]
                place = 1 + len(self._tracks)
                self._yardstick.append(_change((alone, before[place]), (raw, before[0]), flow, moment))

    def verdicts(self, costs: Mapping[str, Cost] | None = None) -> dict[str, Verdict]:
        """The verdict on each film. costs: by the films' names, where they are known.

        Raises ValueError if no frame was taken.
        """
        if self._counted is None:
            raise ValueError("a film without frames cannot be judged")
        references = References(
            rate=self._rate,
            raw=self._raw,
            alone=self._alone,
            fixed=self._fixed,
            counted=self._counted,
            yardstick=_root_of_mean(self._yardstick),
            cuts=tuple(self._motion.cuts),
        )
        known = costs or {}
        return {name: verdict_of(name, track, references, known.get(name)) for name, track in self._tracks.items()}

    def _check(
        self, raw: Picture, paintings: Mapping[str, Picture], alone: Picture | None, fixed: Picture | None
    ) -> None:
        if set(paintings) != set(self._tracks):
            raise ValueError(f"frames of {', '.join(self._tracks)} were to come, not of {', '.join(paintings)}")
        for name, track, picture in (("alone", self._alone, alone), ("fixed", self._fixed, fixed)):
            if (track is None) != (picture is None):
                raise ValueError(f"a frame of `{name}` must come if and only if the judge was told so")
        there = [raw, *paintings.values(), *(each for each in (alone, fixed) if each is not None)]
        if self._shown:
            there.append(self._shown[-1][0])
        shapes = {picture.shape for picture in there}
        if len(shapes) > 1:
            raise ValueError(f"all frames must have one size, not {listed(shapes)}")


def _track() -> Track:
    return Track({distance: [] for distance in DISTANCES})


def _change(alone: tuple[Picture, Picture], raw: tuple[Picture, Picture], flow: RawFlow, moment: Moment) -> float:
    """How far a frame painted alone is from the one before it, blurred, more than the raw film is; squared levels."""
    of_alone, of_raw = (
        blurred_difference(now, resample(before.astype(np.float32), flow.flow, interpolation=INTERPOLATION))
        for now, before in (alone, raw)
    )
    away = moment.away > 0
    return float(cv2.subtract(of_alone, of_raw)[away].mean(dtype=np.float64)) if away.any() else math.nan


def _root_of_mean(squares: Sequence[float]) -> float | None:
    known = [each for each in squares if not math.isnan(each)]
    return math.sqrt(max(0.0, sum(known) / len(known))) if known else None
