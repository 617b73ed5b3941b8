"""Motion energy of a film: pymoten's pyramid of spatiotemporal Gabor filters (Nishimoto et al. 2011)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cinebold.features.bins import BinAverage
from cinebold.features.luminance import lightness, resized
from cinebold.features.motion_filters import FilterBank, build_filter_bank
from cinebold.features.motion_responses import MotionResponses
from cinebold.features.parameters import parameters_from, require
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import ShownFrames

#: Ticks of the clock that are filtered together; bounds the memory, changes no result.
BLOCK = 256


@dataclass(frozen=True)
class MotionEnergyParameters:
    """The pyramid and its clock.

    The pyramid lies on one frame size, to which the frames of all films are resized (the whole picture,
    whatever its aspect ratio): so every film of a dataset has the same columns. The defaults make 575
    channels.
    """

    hop_s: float = 0.5  #: width of the bins over which the channels are averaged, in s
    rate_hz: int = (
        15  #: of the clock at which the frame on display is looked at, a whole number as pymoten asks
    )
    height: int = 54  #: of the small picture, in pixels
    width: int = 96
    temporal_frequencies: tuple[float, ...] = (0.0, 2.0, 4.0)  #: in Hz
    spatial_frequencies: tuple[float, ...] = (0.0, 2.0, 4.0, 8.0)  #: in cycles per picture height
    directions: tuple[float, ...] = (
        0.0,
        45.0,
        90.0,
        135.0,
        180.0,
        225.0,
        270.0,
        315.0,
    )  #: in degrees, 0: right
    filter_spacing: float = 3.0  #: between neighbours, in standard deviations of their envelope

    def __post_init__(self) -> None:
        name = "motion_energy"
        require(name, self.hop_s > 0, "hop_s must be above 0", self.hop_s)
        require(name, 3 <= self.rate_hz <= 60, "rate_hz must be from 3 to 60", self.rate_hz)
        require(
            name,
            8 <= self.height <= 512 and 8 <= self.width <= 1024,
            "height and width must be from 8 to 512 and 1024 pixels",
            (self.height, self.width),
        )
        nyquist_hz, nyquist_cycles = self.rate_hz / 2, min(self.height, self.width) / 2
        require(
            name,
            bool(self.temporal_frequencies) and all(0 <= f <= nyquist_hz for f in self.temporal_frequencies),
            f"temporal_frequencies must be from 0 to half of rate_hz, {nyquist_hz} Hz",
            self.temporal_frequencies,
        )
        require(
            name,
            any(self.spatial_frequencies) and all(0 <= f <= nyquist_cycles for f in self.spatial_frequencies),
            f"spatial_frequencies must be from 0 to {nyquist_cycles} cycles, one at least above 0",
            self.spatial_frequencies,
        )
        require(name, bool(self.directions), "directions must not be empty", self.directions)
        require(name, self.filter_spacing > 0, "filter_spacing must be above 0", self.filter_spacing)


class MotionEnergy:
    """Log motion energy in channels of a direction, a spatial and a temporal frequency and a place.

    Each frame that is on display at a tick of a clock (`rate_hz`, at the middle of its period) is made small
    and turned into CIE L*; a channel's response is log(sqrt(s^2 + c^2) + 1e-5) of a quadrature pair of
    filters, as in pymoten, with zeros before and after the film; it is averaged over bins of `hop_s`.

    Reference: Nishimoto et al. 2011, Current Biology 21, 1641-1646.
    """

    name = "motion_energy"
    version = 2

    def __init__(self, parameters: MotionEnergyParameters, *, device: str = "cpu", **_: Any) -> None:
        self.parameters = parameters
        self.device = device
        self._bank: FilterBank | None = None

    @staticmethod
    def check_parameters(given: Mapping[str, Any]) -> MotionEnergyParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        return parameters_from(MotionEnergyParameters, "motion_energy", given)

    @staticmethod
    def layer_sizes() -> dict[str, int]:
        """The channels of the default parameters, of no layer."""
        return {"": len(build_filter_bank(MotionEnergyParameters()).names)}

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film."""
        return {
            "extractor": self.name,
            "version": self.version,
            "parameters": asdict(self.parameters),
            "window": {"rule": "bins", "span_s": self.parameters.hop_s, "hop_s": self.parameters.hop_s},
        }

    def start(self, info: FilmInfo) -> "MotionEnergyAccumulator":
        """An accumulator for one film; the filters are made once."""
        if self._bank is None:
            self._bank = build_filter_bank(self.parameters)
        return MotionEnergyAccumulator(self, self._bank, info)


class MotionEnergyAccumulator:
    """Holds one block of small pictures, and the sums of the bins."""

    def __init__(self, extractor: MotionEnergy, bank: FilterBank, info: FilmInfo) -> None:
        self._extractor, self._bank, self._info = extractor, bank, info
        self._parameters = extractor.parameters
        rate_hz = self._parameters.rate_hz
        n_ticks = max(1, int(np.ceil(info.duration_s * rate_hz - 1e-6)))
        self._clock = ShownFrames((np.arange(n_ticks) + 0.5) / rate_hz)
        self._responses = MotionResponses(bank, extractor.device)
        self._bins = BinAverage(self._parameters.hop_s, info.duration_s, len(bank.names))
        self._block: list[np.ndarray] = []
        self._last_frame: np.ndarray | None = None
        self._n_filtered = 0

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame."""
        self._take(self._clock.add(time_s))
        self._last_frame = frame

    def finish(self) -> FeatureSeries:
        """The features of the film."""
        self._take(self._clock.finish())
        self._filter()
        self._average(self._responses.finish())
        return FeatureSeries(
            values=self._bins.means(),
            times_s=self._bins.times_s,
            names=self._bank.names,
            pad_fraction=self._bins.pad_fraction,
            film_duration_s=self._info.duration_s,
            provenance=self._extractor.fingerprint(),
        )

    def _take(self, ticks: slice) -> None:
        """The last frame was on display at these ticks."""
        if ticks.stop == ticks.start or self._last_frame is None:
            return
        small = resized(self._last_frame, self._parameters.height, self._parameters.width)
        picture = lightness(small).ravel()
        for _ in range(ticks.start, ticks.stop):
            self._block.append(picture)
            if len(self._block) == BLOCK:
                self._filter()

    def _filter(self) -> None:
        if self._block:
            self._average(self._responses.add(np.array(self._block)))
            self._block = []

    def _average(self, responses: np.ndarray) -> None:
        """Responses of the next ticks; each lasts for one period of the clock."""
        for values in responses:
            begin_s = self._n_filtered / self._parameters.rate_hz
            end_s = (self._n_filtered + 1) / self._parameters.rate_hz
            self._bins.add(begin_s, end_s, values)
            self._n_filtered += 1
