"""Low-level features of a film: luminance, contrast, frame difference, saturation, cuts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cinebold.features.bins import BinAverage
from cinebold.features.luminance import lightness, resized
from cinebold.features.parameters import parameters_from, require
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import ShownFrames

NAMES = ("luminance", "contrast", "frame_difference", "saturation", "cuts")
#: Frames are measured at one size, so that the features of a film do not depend on its resolution.
HEIGHT, WIDTH = 90, 160


@dataclass(frozen=True)
class LowLevelParameters:
    """Times in seconds, rates in Hz."""

    hop_s: float = 0.5  #: width of the bins over which everything is averaged
    rate_hz: float = 10.0  #: frame difference and cuts compare the frames on display 1 / rate_hz apart
    cut_distance: float = 0.35  #: the least histogram distance of a cut, 0 (equal) to 1 (disjoint)
    cut_ratio: float = 4.0  #: a cut is so many times farther than the median of the second around it

    def __post_init__(self) -> None:
        require("low_level", self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        require("low_level", 0 < self.rate_hz <= 60, "rate_hz must be in (0, 60]", self.rate_hz)
        require("low_level", 0 < self.cut_distance <= 1, "cut_distance must be in (0, 1]", self.cut_distance)
        require("low_level", self.cut_ratio >= 1, "cut_ratio must be at least 1", self.cut_ratio)


class LowLevel:
    """Five features a bin, in the order of `NAMES`.

    luminance : mean CIE L*, 0 to 100
    contrast : RMS contrast, the standard deviation of L* over the picture
    frame_difference : mean absolute difference of L* between the frames on display 1 / rate_hz apart;
    measured on a
        clock of its own, so that it depends on what moves, not on the film's frame rate
    saturation : mean HSV saturation, 0 to 1
    cuts : cuts per second

    Luminance, contrast and saturation are measured on every decoded frame and averaged by how long it is
    displayed.
    """

    name = "low_level"
    version = 1

    def __init__(self, parameters: LowLevelParameters, **_: Any) -> None:
        self.parameters = parameters

    @staticmethod
    def check_parameters(given: Mapping[str, Any]) -> LowLevelParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        return parameters_from(LowLevelParameters, "low_level", given)

    @staticmethod
    def layer_sizes() -> dict[str, int]:
        """Five columns, of no layer."""
        return {"": len(NAMES)}

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film."""
        return {
            "extractor": self.name,
            "version": self.version,
            "parameters": asdict(self.parameters),
            "frame_size": [HEIGHT, WIDTH],
            "window": {"rule": "bins", "span_s": self.parameters.hop_s, "hop_s": self.parameters.hop_s},
        }

    def start(self, info: FilmInfo) -> "LowLevelAccumulator":
        """An accumulator for one film."""
        return LowLevelAccumulator(self, info)


class LowLevelAccumulator:
    """Holds two small pictures, the sums of the bins and one number a tick of the clock."""

    def __init__(self, extractor: LowLevel, info: FilmInfo) -> None:
        self._extractor, self._info = extractor, info
        self._parameters = extractor.parameters
        n_ticks = max(1, int(np.ceil(info.duration_s * self._parameters.rate_hz - 1e-6)))
        self._ticks_s = np.arange(n_ticks) / self._parameters.rate_hz
        self._clock = ShownFrames(self._ticks_s)
        self._looks = BinAverage(self._parameters.hop_s, info.duration_s, 3)
        self._difference = np.zeros(n_ticks)  # to the tick before
        self._distance = np.zeros(n_ticks)
        self._shown: _Picture | None = None  # the last frame
        self._shown_s = 0.0
        self._at_tick: _Picture | None = None  # the frame at the last tick

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame."""
        self._close(self._clock.add(time_s), time_s)
        self._shown_s = 0.0 if self._shown is None else time_s  # the first frame stands for what is before it
        self._shown = _Picture(resized(frame, HEIGHT, WIDTH))

    def finish(self) -> FeatureSeries:
        """The features of the film."""
        self._close(self._clock.finish(), self._info.duration_s)
        looks = self._looks.means()
        hop_s = self._parameters.hop_s
        difference = BinAverage(hop_s, self._info.duration_s, 1)
        period_s = 1 / self._parameters.rate_hz
        for tick_s, value in zip(self._ticks_s, self._difference, strict=True):
            difference.add(tick_s, min(tick_s + period_s, self._info.duration_s), value)
        cuts_s = self._ticks_s[find_cuts(self._distance, self._parameters)]
        n_bins = len(looks)
        in_film_s = hop_s * (1 - difference.pad_fraction)
        cuts = np.bincount((cuts_s / hop_s + 1e-9).astype(int), minlength=n_bins)[:n_bins] / in_film_s
        values = np.column_stack([looks[:, 0], looks[:, 1], difference.means()[:, 0], looks[:, 2], cuts])
        return FeatureSeries(
            values=values.astype(np.float32),
            times_s=difference.times_s,
            names=NAMES,
            pad_fraction=difference.pad_fraction,
            film_duration_s=self._info.duration_s,
            provenance=self._extractor.fingerprint(),
        )

    def _close(self, ticks: slice, end_s: float) -> None:
        """The last frame was on display until `end_s`, and at these ticks."""
        if self._shown is None:
            return
        self._looks.add(self._shown_s, end_s, self._shown.looks)
        if ticks.stop > ticks.start:
            if self._at_tick is not None:  # within the slice the picture stays, and the difference 0
                self._difference[ticks.start] = np.abs(self._shown.lightness - self._at_tick.lightness).mean()
                self._distance[ticks.start] = (
                    np.abs(self._shown.histogram - self._at_tick.histogram).sum() / 2
                )
            self._at_tick = self._shown


def find_cuts(distance: np.ndarray, parameters: LowLevelParameters) -> np.ndarray:
    """Ticks whose picture is far from the one before, and much farther than usual in the second around it.

    Fast motion makes every distance large, a cut only one: hence the comparison with the local median.
    """
    reach = max(2, round(parameters.rate_hz / 2))
    padded = np.pad(distance, reach, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    far = (distance >= parameters.cut_distance) & (
        distance >= parameters.cut_ratio * np.median(around, axis=1)
    )
    return np.flatnonzero(far)


class _Picture:
    """What is kept of a frame, (90, 160, 3) uint8."""

    def __init__(self, frame: np.ndarray) -> None:
        self.lightness = lightness(frame)
        red, green, blue = np.moveaxis(frame, 2, 0)
        brightest = np.maximum(np.maximum(red, green), blue).astype(float)
        darkest = np.minimum(np.minimum(red, green), blue)
        saturation = (brightest - darkest) / np.maximum(brightest, 1)
        self.looks = np.array([self.lightness.mean(), self.lightness.std(), saturation.mean()])
        self.histogram = _quadrant_histogram(frame)


def _quadrant_histogram(frame: np.ndarray) -> np.ndarray:
    """Joint histogram of 4 x 4 x 4 colours in each quadrant of the picture, (256,), summing to 1.

    By quadrant, so that two shots of the same colours in other places differ.
    """
    colour = (frame >> 6).astype(np.intp) @ np.array([16, 4, 1])
    height, width = colour.shape
    quadrant = 2 * (np.arange(height) >= height // 2)[:, None] + (np.arange(width) >= width // 2)
    return np.bincount((colour + 64 * quadrant).ravel(), minlength=256) / colour.size
