"""One column that says that a film is shown: 1 at all times of the film."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cinebold.features.bins import bin_pad_fraction
from cinebold.features.parameters import parameters_from, require
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule


@dataclass(frozen=True)
class PresenceParameters:
    """When it is said."""

    hop_s: float = 0.1  #: between two times, in seconds

    def __post_init__(self) -> None:
        require("presence", self.hop_s > 0, "hop_s must be above 0", self.hop_s)


class Presence:
    """The column `film`, 1 while a film is on the screen; volumes without a film are 0, as in every design."""

    name = "presence"
    version = 1
    needs_frames = False

    def __init__(self, parameters: PresenceParameters, **_: Any) -> None:
        self.parameters = parameters

    @staticmethod
    def check_parameters(given: Mapping[str, Any]) -> PresenceParameters:
        """The parameters that `given` means; SettingError when it makes no sense."""
        return parameters_from(PresenceParameters, "presence", given)

    @staticmethod
    def layer_sizes() -> dict[str, int]:
        """One column, of no layer."""
        return {"": 1}

    def fingerprint(self) -> dict[str, Any]:
        """All that the values depend on besides the film."""
        hop_s = self.parameters.hop_s
        return {
            "extractor": self.name,
            "version": self.version,
            "parameters": asdict(self.parameters),
            "window": {"rule": "bins", "span_s": hop_s, "hop_s": hop_s},
        }

    def start(self, info: FilmInfo) -> "PresenceAccumulator":
        """An accumulator for one film."""
        return PresenceAccumulator(self, info)


class PresenceAccumulator:
    """Asks for no frames."""

    def __init__(self, extractor: Presence, info: FilmInfo) -> None:
        self._extractor, self._info = extractor, info

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """A frame changes nothing."""

    def finish(self) -> FeatureSeries:
        """Ones."""
        hop_s, duration_s = self._extractor.parameters.hop_s, self._info.duration_s
        times_s = WindowRule(hop_s, hop_s, 1).times(duration_s)
        return FeatureSeries(
            values=np.ones((len(times_s), 1), np.float32),
            times_s=times_s,
            names=("film",),
            pad_fraction=bin_pad_fraction(hop_s, times_s, duration_s),
            film_duration_s=duration_s,
            provenance=self._extractor.fingerprint(),
        )
