"""What the planted voxels do: features of the films, times known weights, through a haemodynamic response."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cinebold.simulate.brain import REGIONS

if TYPE_CHECKING:
    from cinebold.features.series import FeatureSeries

FINE_STEP_S = 0.1


@dataclass(frozen=True)
class Showing:
    """One film in a run: seconds from the first volume; the film is cut after `duration_s`."""

    film: str
    onset_s: float
    duration_s: float


@dataclass(frozen=True)
class Directions:
    """The feature weights of one region and feature space, on z-scored features.

    Feature i of the film, f_i(t), drives direction k by d_k(t) = sum_i weights[i, k] (f_i(t) - mean_i) / scale_i.
    """

    region: str
    space: str
    names: tuple[str, ...]
    mean: np.ndarray  #: (n_features,)
    scale: np.ndarray  #: (n_features,)
    weights: np.ndarray  #: (n_features, n_directions)

    def drive(self, series: "FeatureSeries") -> np.ndarray:
        """The drive of each direction, (n_windows, n_directions)."""
        return ((series.values - self.mean) / self.scale) @ self.weights


def draw_directions(
    features: Mapping[str, Mapping[str, "FeatureSeries"]],
    n_directions: int,
    n_components: int,
    rng: np.random.Generator,
) -> list[Directions]:
    """Random weights for each region and feature space it responds to; `features` is film -> space -> series.

    Means and scales are over the windows of all films, each film once. Weights are standard normal in the
    space of the `n_components` strongest principal components of the z-scored features: voxels respond to
    what varies in the films, as tuning that is smooth over channels does, and a model with few components can
    find them.
    """
    drawn = []
    for region in REGIONS:
        for space in region.spaces:
            series = [spaces[space] for spaces in features.values()]
            values = np.concatenate([one.values for one in series]).astype(np.float64)
            mean, scale = values.mean(axis=0), values.std(axis=0)
            # A constant feature drives nothing.
            scale = np.where(scale > 1e-6 * np.maximum(np.abs(values).max(axis=0), 1e-12), scale, np.inf)
            standardised = (values - mean) / scale
            _, vectors = np.linalg.eigh(standardised.T @ standardised)
            strongest = with_fixed_sign(vectors[:, ::-1][:, :n_components])
            weights = strongest @ rng.standard_normal((strongest.shape[1], n_directions))
            drawn.append(Directions(region.name, space, series[0].names, mean, scale, weights))
    return drawn


def with_fixed_sign(columns: np.ndarray) -> np.ndarray:
    """Columns whose entry of the largest magnitude is positive, which does not depend on the linear algebra library."""
    strongest = np.abs(columns).argmax(axis=0)
    return columns * np.sign(columns[strongest, np.arange(columns.shape[1])])


def run_signals(
    showings: Sequence[Showing],
    features: Mapping[str, Mapping[str, "FeatureSeries"]],
    directions: Sequence[Directions],
    volume_times_s: np.ndarray,
) -> np.ndarray:
    """The haemodynamic signal of every direction at the volumes of a run, (n_volumes, all directions), not scaled."""
    n_fine = int(np.ceil(volume_times_s[-1] / FINE_STEP_S)) + 1
    fine_s = np.arange(n_fine) * FINE_STEP_S
    columns = []
    for direction in directions:
        neural = np.zeros((n_fine, direction.weights.shape[1]))
        for showing in showings:
            series = features[showing.film][direction.space]
            end_s = showing.onset_s + min(showing.duration_s, series.film_duration_s)
            shown = (fine_s >= showing.onset_s) & (fine_s < end_s)
            drive = direction.drive(series)
            for k in range(drive.shape[1]):
                neural[shown, k] = np.interp(fine_s[shown] - showing.onset_s, series.times_s, drive[:, k])
        columns.append(haemodynamic_signal(neural, fine_s, volume_times_s))
    return np.concatenate(columns, axis=1)


def haemodynamic_signal(neural: np.ndarray, fine_s: np.ndarray, volume_times_s: np.ndarray) -> np.ndarray:
    """Convolve (n_fine, k) with the haemodynamic response and read it at the times of the volumes, (n_volumes, k)."""
    from scipy.signal import fftconvolve

    response = double_gamma(np.arange(0, 32, FINE_STEP_S)) * FINE_STEP_S
    bold = fftconvolve(neural, response[:, None], axes=0)[: len(fine_s)]
    return np.stack([np.interp(volume_times_s, fine_s, column) for column in bold.T], axis=1)


def double_gamma(time_s: np.ndarray) -> np.ndarray:
    """The canonical haemodynamic response of SPM: gamma densities that peak near 5 and 15 s, ratio 6; integral 1.

    h(t) = g(t; 6) - g(t; 16) / 6 with g(t; a) = t^(a-1) e^-t / (a-1)!   (Friston et al. 1998, NeuroImage 7:30)
    """
    from scipy.stats import gamma

    return (gamma.pdf(time_s, 6) - gamma.pdf(time_s, 16) / 6) / (1 - 1 / 6)


def draw_voxel_mix(
    labels: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    directions: Sequence[Directions],
    rng: np.random.Generator,
    *,
    smoothness_mm: float = 10.0,
) -> np.ndarray:
    """How each brain voxel mixes the directions of its region, smooth in space: (all directions, n_voxels) float64.

    `labels` (x, y, z) are the planted regions and `mask` (x, y, z) the brain, whose voxels are listed in C
    order.
    """
    index_of = {region.name: region.index for region in REGIONS}
    voxel_labels = labels[mask]
    rows = []
    for direction in directions:
        inside = voxel_labels == index_of[direction.region]
        for _ in range(direction.weights.shape[1]):
            rows.append(np.where(inside, smooth_field(mask, affine, rng, smoothness_mm), 0.0))
    return np.array(rows)


def smooth_field(
    mask: np.ndarray, affine: np.ndarray, rng: np.random.Generator, smoothness_mm: float
) -> np.ndarray:
    """A Gaussian random field of unit variance in the mask, smoothed with `smoothness_mm` (FWHM), (n_voxels,)."""
    from scipy.ndimage import gaussian_filter

    voxel_mm = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    field = gaussian_filter(rng.standard_normal(mask.shape), smoothness_mm / 2.355 / voxel_mm, mode="wrap")[
        mask
    ]
    return (field - field.mean()) / field.std()


def scale_directions(
    directions: Sequence[Directions], signals: Sequence[np.ndarray]
) -> tuple[list[Directions], list[np.ndarray]]:
    """Scale the weights such that the signal of every direction has unit variance over the runs; both are returned."""
    spread = np.sqrt(np.mean([run.var(axis=0) for run in signals], axis=0))
    spread = np.where(spread > 0, spread, 1)
    scaled, first = [], 0
    for direction in directions:
        last = first + direction.weights.shape[1]
        scaled.append(replace(direction, weights=direction.weights / spread[first:last]))
        first = last
    return scaled, [run / spread for run in signals]


def scale_mix(mix: np.ndarray, signals: Sequence[np.ndarray], sd: np.ndarray) -> np.ndarray:
    """Scale the mix (all directions, n_voxels) such that the signal deviates by `sd` (n_voxels,) over the runs."""
    covariance = np.mean([np.cov(run.T, bias=True) for run in signals], axis=0)
    variance = np.einsum("kv,kv->v", mix, covariance @ mix)
    return mix * sd / np.sqrt(np.where(variance > 0, variance, np.inf))
