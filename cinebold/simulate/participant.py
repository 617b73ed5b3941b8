"""One simulated participant: which voxel does what, and the BOLD series of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.simulate.brain import Brain
from cinebold.simulate.noise import RunNoise
from cinebold.simulate.settings import SimulationSettings
from cinebold.simulate.signals import Directions, draw_voxel_mix, scale_mix, smooth_field


@dataclass(frozen=True)
class Participant:
    """What stays the same over the runs of a participant."""

    mix: (
        np.ndarray
    )  #: (all directions, n_voxels): the signal of a voxel is the mixed signal of its directions
    mean_image: np.ndarray  #: (n_voxels,) image units
    planted: np.ndarray  #: (n_planted,) which of the brain voxels respond to films


def draw_participant(
    brain: Brain,
    directions: Sequence[Directions],
    signals: Sequence[np.ndarray],
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> Participant:
    """Draw a participant; `signals` are the signals of the directions in each run, (n_volumes, all directions).

    All participants share the directions of a region and most of the voxel mix, so that group tests have
    something to find; a third of the variance of the mix is the participant's own.
    """
    shared = draw_voxel_mix(
        brain.labels, brain.mask, brain.affine, directions, np.random.default_rng(settings.seed)
    )
    own = draw_voxel_mix(brain.labels, brain.mask, brain.affine, directions, rng)
    best_r = _uniform_field(brain, rng, *settings.best_r_range)
    mix = scale_mix(shared + 0.7 * own, signals, settings.snr * best_r / np.sqrt(1 - best_r**2))
    tissue = brain.grey + 0.8 * brain.white + 1.3 * brain.csf
    bias = 1 + 0.05 * smooth_field(brain.mask, brain.affine, rng, 80.0)
    return Participant(mix, 1e4 * tissue[brain.mask] * bias, np.flatnonzero(brain.labels[brain.mask]))


def bold_series(
    participant: Participant,
    signal: np.ndarray,
    noise: RunNoise,
    settings: SimulationSettings,
    non_steady: np.ndarray,
) -> np.ndarray:
    """The BOLD series of a run, (n_volumes, n_voxels) float32, in image units.

    Parameters
    ----------
    signal : (n_volumes, all directions)
    non_steady : (n_volumes,) bool, volumes before the magnetisation is steady: too bright
    """
    series = (signal @ participant.mix).astype(np.float32)
    series += noise.random
    series += noise.drift
    series += noise.motion
    series *= np.float32(settings.signal_change_percent / 100)
    series += 1
    order = np.cumsum(non_steady) - 1
    series *= np.where(non_steady, 1 + 0.15 * 0.4**order, 1).astype(np.float32)[:, None]
    series *= participant.mean_image.astype(np.float32)
    return np.maximum(series, 0, out=series)


def _uniform_field(brain: Brain, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A smooth field in the brain whose values are spread evenly between two bounds, (n_voxels,)."""
    from scipy.stats import norm

    return low + (high - low) * norm.cdf(smooth_field(brain.mask, brain.affine, rng, 12.0))
