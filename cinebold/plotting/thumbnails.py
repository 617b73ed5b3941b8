"""A look at a film for people: a few small pictures of it and, where nothing else tells them, its cuts."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cinebold.features.low_level import LowLevel, LowLevelParameters
from cinebold.features.luminance import resized
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo, iterate_frames, probe_film
from cinebold.video.windows import TIME_TOLERANCE_S, frames_shown_at

#: Pictures of a strip: as many as have room side by side, within these bounds.
FEWEST, MOST = 4, 12


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A picture of a film, and when its frame appears."""

    time_s: float
    picture: np.ndarray  #: (height, width, 3) uint8


@dataclass(frozen=True, eq=False)
class Glimpses:
    """What one pass over a film showed."""

    thumbnails: tuple[Thumbnail, ...]
    low_level: FeatureSeries | None  #: with the film's cuts, where they were asked for


def even_times(duration_s: float, n: int) -> np.ndarray:
    """The middles of `n` equal parts of a film.

    >>> even_times(8.0, 4).tolist()
    [1.0, 3.0, 5.0, 7.0]
    """
    return (np.arange(n) + 0.5) * duration_s / n


def glimpses(film: str | Path, *, strip_width: float, height: int, measure_cuts: bool) -> Glimpses:
    """Pictures at even times and, if asked for, low-level features with their cuts, by one pass in order.

    The pass ends with the last picture where no cuts are asked for; one full frame is held at a time.

    Parameters
    ----------
    strip_width : of all pictures side by side, in heights of a picture
    height : of a picture, in pixels

    Raises InputError when the film cannot be decoded.
    """
    info = probe_film(film)
    n = int(np.clip(strip_width * info.height / info.width, FEWEST, MOST))
    accumulator = LowLevel(LowLevelParameters()).start(info) if measure_cuts else None
    found = _Strip(info, even_times(info.duration_s, n), height)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is damaged was told when the features were extracted
        for time_s, frame in iterate_frames(info):
            found.add(time_s, frame)
            if accumulator is not None:
                accumulator.add(time_s, frame)
            elif found.is_full:
                break
    return Glimpses(found.finish(), None if accumulator is None else accumulator.finish())


class _Strip:
    """The frames on display at some times; where one is damaged, the next good one, and the last at the end."""

    def __init__(self, info: FilmInfo, times_s: Sequence[float] | np.ndarray, height: int) -> None:
        self._wanted_s = info.pts_s[frames_shown_at(info.pts_s, np.asarray(times_s))] - TIME_TOLERANCE_S
        self._size = height, max(1, round(height * info.width / info.height))
        self._found: list[Thumbnail] = []
        self._last: tuple[float, np.ndarray] | None = None

    @property
    def is_full(self) -> bool:
        return len(self._found) == len(self._wanted_s)

    def add(self, time_s: float, frame: np.ndarray) -> None:
        self._last = time_s, frame
        self._take(int(np.searchsorted(self._wanted_s, time_s, side="right")))

    def finish(self) -> tuple[Thumbnail, ...]:
        self._take(len(self._wanted_s))
        return tuple(self._found)

    def _take(self, n_reached: int) -> None:
        if n_reached > len(self._found) and self._last is not None:
            time_s, frame = self._last
            one = Thumbnail(time_s, resized(frame, *self._size))
            self._found += [one] * (n_reached - len(self._found))
