"""The filters of pymoten's motion-energy pyramid, and their responses to a film that streams by.

pymoten filters one channel after the other over the whole film. Here channels share what they have in common:
those that differ in temporal frequency their spatial filters, those of opposite directions the same pair with
the sine turned round, and filters at one place the pixels under their envelope. The projections of the pictures
are kept for one filter width, so that blocks join without a seam.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cinebold.features.motion_energy import MotionEnergyParameters

#: pymoten leaves out pixels where both filters of the pair together are below this
MASK_LIMIT = 0.001


@dataclass(frozen=True, eq=False)
class Patch:
    """The filters at one place and of one envelope, on the pixels where any of them is not 0."""

    rows: slice
    columns: slice
    sine: np.ndarray  #: (n_filters, n_pixels of the patch) float64
    cosine: np.ndarray  #: (n_filters, n_pixels of the patch) float64


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Spatial and temporal quadrature pairs of all channels; (n_filters) counts through the patches."""

    height: int
    width: int
    patches: tuple[Patch, ...]
    temporal_sine: np.ndarray  #: (n_temporal, n_taps)
    temporal_cosine: np.ndarray  #: (n_temporal, n_taps)
    spatial_of_channel: np.ndarray  #: (n_channels,) which spatial pair a channel uses
    backward: np.ndarray  #: (n_channels,) bool: with the sine turned round
    temporal_of_channel: np.ndarray  #: (n_channels,)
    names: tuple[str, ...]

    @property
    def n_filters(self) -> int:
        """Spatial quadrature pairs."""
        return sum(len(patch.sine) for patch in self.patches)

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """All sines and all cosines on the whole picture, (n_filters, height * width) each."""
        sine, cosine = np.zeros((2, self.n_filters, self.height, self.width))
        begin = 0
        for patch in self.patches:
            end = begin + len(patch.sine)
            shape = (end - begin, patch.rows.stop - patch.rows.start, -1)
            sine[begin:end, patch.rows, patch.columns] = patch.sine.reshape(shape)
            cosine[begin:end, patch.rows, patch.columns] = patch.cosine.reshape(shape)
            begin = end
        return sine.reshape(self.n_filters, -1), cosine.reshape(self.n_filters, -1)


@lru_cache(maxsize=4)
def build_filter_bank(parameters: "MotionEnergyParameters") -> FilterBank:
    """The pyramid that pymoten makes of these parameters."""
    from moten.pyramids import MotionEnergyPyramid

    height, width = parameters.height, parameters.width
    channels = MotionEnergyPyramid(
        stimulus_vhsize=(height, width),
        stimulus_fps=parameters.rate_hz,
        temporal_frequencies=list(parameters.temporal_frequencies),
        spatial_frequencies=list(parameters.spatial_frequencies),
        spatial_directions=list(parameters.directions),
        filter_spacing=parameters.filter_spacing,
    ).filters
    places: dict[tuple[float, ...], dict[tuple[float, float], None]] = {}
    temporal: dict[tuple[float, float], int] = {}
    for channel in channels:
        places.setdefault(_place(channel), {})[_orientation(channel)] = None
        temporal.setdefault((channel["temporal_freq"], channel["temporal_env"]), len(temporal))
    numbers: dict[tuple[Any, Any], int] = {}
    for place, orientations in places.items():
        for orientation in orientations:
            numbers[place, orientation] = len(numbers)
    n_taps = int(channels[0]["filter_temporal_width"])
    pairs = [_temporal_pair(*key, n_taps, parameters.rate_hz) for key in temporal]
    return FilterBank(
        height=height,
        width=width,
        patches=tuple(_patch(height, width, *place, list(of)) for place, of in places.items()),
        temporal_sine=np.array([sine for sine, _ in pairs]),
        temporal_cosine=np.array([cosine for _, cosine in pairs]),
        spatial_of_channel=np.array([numbers[_place(one), _orientation(one)] for one in channels]),
        backward=np.array([one["direction"] % 360 >= 180 for one in channels]),
        temporal_of_channel=np.array(
            [temporal[one["temporal_freq"], one["temporal_env"]] for one in channels]
        ),
        names=tuple(_channel_name(one, width / height) for one in channels),
    )


def _place(channel: dict) -> tuple[float, float, float]:
    return channel["centerh"], channel["centerv"], channel["spatial_env"]


def _orientation(channel: dict) -> tuple[float, float]:
    """Of two opposite directions one is drawn."""
    return channel["spatial_freq"], channel["direction"] % 180


def _patch(
    height: int, width: int, x: float, y: float, deviation: float, orientations: list[tuple[float, float]]
) -> Patch:
    """Gabor filters exp(-(dx^2 + dy^2) / 2 deviation^2) exp(i(dx fx + dy fy)), in picture heights.

    The grating is the product of a function of the column and one of the row.
    """
    dx, columns = _under_envelope(np.linspace(0, width / height, width) - x, deviation)
    dy, rows = _under_envelope(np.linspace(0, 1, height) - y, deviation)
    envelope = np.exp(-(dy[:, None] ** 2 + dx**2) / (2 * deviation**2))
    sines, cosines = [], []
    for frequency, direction in orientations:
        angle = direction / 180 * np.pi
        fx, fy = -frequency * np.cos(angle) * 2 * np.pi, frequency * np.sin(angle) * 2 * np.pi
        gabor = envelope * (np.exp(1j * dy * fy)[:, None] * np.exp(1j * dx * fx))
        gabor[np.abs(gabor.real) + np.abs(gabor.imag) <= MASK_LIMIT] = 0
        sines.append(gabor.imag.ravel())
        cosines.append(gabor.real.ravel())
    return Patch(rows, columns, np.array(sines), np.array(cosines))


def _under_envelope(distance: np.ndarray, deviation: float) -> tuple[np.ndarray, slice]:
    """Where |sine| + |cosine|, at most sqrt(2) times the envelope, may be above the limit; one place at least."""
    near = np.sqrt(2) * np.exp(-(distance**2) / (2 * deviation**2)) > MASK_LIMIT
    near[np.abs(distance).argmin()] = True
    places = np.flatnonzero(near)
    extent = slice(int(places[0]), int(places[-1]) + 1)
    return distance[extent], extent


def _temporal_pair(
    frequency_hz: float, deviation: float, n_taps: int, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine under a Gaussian, (n_taps,) each; time runs from 0 to 1 over the filter, as in pymoten."""
    time = np.linspace(0, 1, n_taps, endpoint=False) - 0.5
    envelope = np.exp(-(time**2) / (2 * deviation**2))
    phase = time * (frequency_hz * n_taps / rate_hz * 2 * np.pi)
    return envelope * np.sin(phase), envelope * np.cos(phase)


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
