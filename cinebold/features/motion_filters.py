"""The filters of pymoten's motion-energy pyramid, and their responses to a film that streams by.

pymoten filters one channel after the other over the whole film. Here the same filters are applied as one
matrix product a block: channels that differ in temporal frequency share their spatial filters, and the
pictures' projections onto these are kept for one filter width, so that blocks join without a seam.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cinebold.features.motion_energy import MotionEnergyParameters

#: what pymoten calls that which makes two channels share their spatial filters
SPATIAL_PARAMETERS = ("centerh", "centerv", "direction", "spatial_freq", "spatial_env")
#: pymoten leaves out pixels where both filters of the pair together are below this
MASK_LIMIT = 0.001
#: pymoten's offset inside the logarithm
LOG_OFFSET = 1e-5


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Spatial and temporal quadrature pairs of all channels."""

    spatial_sine: np.ndarray  #: (n_spatial, n_pixels)
    spatial_cosine: np.ndarray  #: (n_spatial, n_pixels)
    spatial_of_channel: np.ndarray  #: (n_channels,) which spatial pair a channel uses
    temporal_sine: np.ndarray  #: (n_channels, n_taps)
    temporal_cosine: np.ndarray  #: (n_channels, n_taps)
    names: tuple[str, ...]


@lru_cache(maxsize=4)
def build_filter_bank(parameters: "MotionEnergyParameters") -> FilterBank:
    """The pyramid that pymoten makes of these parameters."""
    from moten.core import mk_3d_gabor
    from moten.pyramids import MotionEnergyPyramid

    size = (parameters.height, parameters.width)
    pyramid = MotionEnergyPyramid(
        stimulus_vhsize=size,
        stimulus_fps=parameters.rate_hz,
        temporal_frequencies=list(parameters.temporal_frequencies),
        spatial_frequencies=list(parameters.spatial_frequencies),
        spatial_directions=list(parameters.directions),
        filter_spacing=parameters.filter_spacing,
    )
    places: dict[tuple[float, ...], int] = {}
    spatial, temporal, spatial_of_channel, names = [], [], [], []
    for channel in pyramid.filters:
        key = tuple(channel[name] for name in SPATIAL_PARAMETERS)
        sine, cosine, temporal_sine, temporal_cosine = map(np.asarray, mk_3d_gabor(size, **channel))
        if key not in places:
            places[key] = len(spatial)
            inside = np.abs(sine) + np.abs(cosine) > MASK_LIMIT
            spatial.append(((sine * inside).ravel(), (cosine * inside).ravel()))
        spatial_of_channel.append(places[key])
        temporal.append((temporal_sine, temporal_cosine))
        names.append(_channel_name(channel, size[1] / size[0]))
    return FilterBank(
        spatial_sine=np.array([pair[0] for pair in spatial]),
        spatial_cosine=np.array([pair[1] for pair in spatial]),
        spatial_of_channel=np.array(spatial_of_channel),
        temporal_sine=np.array([pair[0] for pair in temporal]),
        temporal_cosine=np.array([pair[1] for pair in temporal]),
        names=tuple(names),
    )


class MotionResponses:
    """Log energies of all channels, tick by tick, of a film that comes in blocks.

    With S and C the projections of the pictures onto a channel's spatial sine and cosine, and s and c its
    temporal pair of n taps, the quadrature pair at tick t is

        sum_d S[t - d'] c[d] + C[t - d'] s[d]    and    sum_d C[t - d'] c[d] - S[t - d'] s[d],    d' = d -
        ceil(n/2) + 1,

    with zeros outside the film.
    """

    def __init__(self, bank: FilterBank, device: str = "cpu") -> None:
        self._bank = bank
        self._project = _projector(np.concatenate([bank.spatial_sine, bank.spatial_cosine]), device)
        n_taps = bank.temporal_sine.shape[1]
        n_ahead = -(-n_taps // 2) - 1
        self._n_taps, self._n_ahead = n_taps, n_ahead
        self._kept = np.zeros((n_taps - 1 - n_ahead, 2 * len(bank.spatial_sine)))

    def add(self, pictures: np.ndarray) -> np.ndarray:
        """(n, n_pixels) pictures to the (m, n_channels) responses now known: those of earlier ticks."""
        return self._respond(self._project(pictures))

    def finish(self) -> np.ndarray:
        """The responses of the last ticks."""
        return self._respond(np.zeros((self._n_ahead, self._kept.shape[1])))

    def _respond(self, projections: np.ndarray) -> np.ndarray:
        known = np.concatenate([self._kept, projections])
        n_out = max(0, len(known) - self._n_taps + 1)
        self._kept = known[n_out:]
        n_spatial = len(self._bank.spatial_sine)
        sine = known[:, :n_spatial][:, self._bank.spatial_of_channel]
        cosine = known[:, n_spatial:][:, self._bank.spatial_of_channel]
        first, second = np.zeros((2, n_out, len(self._bank.names)))
        for tap in range(self._n_taps):
            rows = slice(self._n_taps - 1 - tap, self._n_taps - 1 - tap + n_out)
            temporal_sine = self._bank.temporal_sine[:, tap]
            temporal_cosine = self._bank.temporal_cosine[:, tap]
            first += sine[rows] * temporal_cosine + cosine[rows] * temporal_sine
            second += cosine[rows] * temporal_cosine - sine[rows] * temporal_sine
        return np.log(np.sqrt(first**2 + second**2) + LOG_OFFSET)


def _projector(filters: np.ndarray, device: str):
    """The product of pictures with the filters, on CPU or GPU; float64: energies near 0 meet a logarithm."""
    if device == "cpu":
        return lambda pictures: pictures @ filters.T
    import torch

    on_device = torch.from_numpy(filters).to(device).T
    return lambda pictures: (torch.from_numpy(pictures).to(device) @ on_device).cpu().numpy()


def _channel_name(channel: dict, aspect_ratio: float) -> str:
    """E.g. "motion dir-045 sf-2.0 tf-4.0 x-0.50 y-0.25": degrees, cycles per picture, Hz, place.

    The direction is that of the motion which drives the channel. It is opposite to pymoten's own parameter: that is
    the direction in which the filter moves when it is drawn, but pymoten convolves the film with it, which turns its
    time round. Static channels (temporal frequency 0) have an orientation only, and those of spatial frequency 0 not
    even that: there the standard deviation of the envelope tells channels apart.
    """
    place = f"x-{channel['centerh'] / aspect_ratio:.2f} y-{channel['centerv']:.2f}"
    frequency = f"sf-{channel['spatial_freq']:.1f} tf-{channel['temporal_freq']:.1f}"
    if channel["spatial_freq"] == 0:
        return f"motion {frequency} {place} size-{channel['spatial_env']:.3f}"
    direction = channel["direction"] if channel["temporal_freq"] == 0 else (channel["direction"] + 180) % 360
    return f"motion dir-{direction:03.0f} {frequency} {place}"
