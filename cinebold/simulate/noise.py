"""What the scanner and the head add: autocorrelated noise, slow drift, and motion artefact."""

from dataclasses import dataclass

import numpy as np

MOTION_AXES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


@dataclass(frozen=True)
class RunNoise:
    """The parts of the noise of one run, each (n_volumes, n_voxels) float32 in units of the noise deviation."""

    random: np.ndarray
    drift: np.ndarray
    motion: np.ndarray


def draw_noise(
    n_voxels: int,
    rng: np.random.Generator,
    *,
    cosines: np.ndarray,
    nuisance: np.ndarray,
    ar1: float,
    drift_sd: float,
    motion_sd: float,
) -> RunNoise:
    """Noise of one run: AR(1) of unit variance, independent over voxels, plus drift and motion mixed voxel by voxel.

    Parameters
    ----------
    cosines : (n_volumes, n_cosines), the slow basis of `slow_cosines` or of a confounds table
    nuisance : (n_volumes, n_columns), columns of the confounds table that leak into the voxels
    drift_sd, motion_sd : root-mean-square size of either part in a voxel, in units of the noise

    Drift lies exactly in the span of the cosines and motion artefact in that of the nuisance columns: a
    regression on both removes them and leaves signal and random noise.
    """
    n_volumes = len(cosines)
    drift = _mixed(cosines, drift_sd, n_voxels, rng)
    motion = _mixed(nuisance, motion_sd, n_voxels, rng)
    return RunNoise(autoregressive_noise(n_volumes, n_voxels, ar1, rng), drift, motion)


def autoregressive_noise(n_volumes: int, n_voxels: int, ar1: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) of unit variance, x_t = ar1 x_(t-1) + sqrt(1 - ar1^2) e_t: (n_volumes, n_voxels) float32."""
    noise = rng.standard_normal((n_volumes, n_voxels), dtype=np.float32)
    innovation = np.float32(np.sqrt(1 - ar1**2))
    for t in range(1, n_volumes):
        noise[t] *= innovation
        noise[t] += np.float32(ar1) * noise[t - 1]
    return noise


def slow_cosines(n_volumes: int, tr_s: float, period_s: float = 128.0) -> np.ndarray:
    """The discrete cosine basis slower than `period_s`, as fMRIPrep writes it in `cosineXX`: (n_volumes, n_cosines)."""
    order = int(np.floor(2 * n_volumes * tr_s / period_s))
    k = np.arange(1, order + 1)
    t = np.arange(n_volumes)[:, None]
    return np.sqrt(2 / n_volumes) * np.cos(np.pi / n_volumes * (t + 0.5) * k)


def head_motion(n_volumes: int, tr_s: float, rng: np.random.Generator) -> np.ndarray:
    """Six parameters, mm and radians, (n_volumes, 6): slow random walk, breathing, and one or two sudden shifts."""
    from scipy.ndimage import gaussian_filter1d

    size = np.array([0.10, 0.15, 0.25, 0.004, 0.002, 0.002])  # typical deviation over a run
    walk = gaussian_filter1d(
        np.cumsum(rng.standard_normal((n_volumes, 6)), axis=0), 60 / tr_s, axis=0, mode="nearest"
    )
    walk -= walk[0]
    walk /= walk.std(axis=0)
    breath_hz = rng.uniform(0.25, 0.33)
    time_s = np.arange(n_volumes) * tr_s
    breath = np.sin(2 * np.pi * (breath_hz * time_s[:, None] + rng.uniform(0, 1, 6))) * 0.12
    jumps = np.zeros((n_volumes, 6))
    for _ in range(rng.integers(1, 3)):
        jumps[rng.integers(n_volumes // 10, n_volumes) :] += rng.standard_normal(6) * 0.6
    jitter = rng.standard_normal((n_volumes, 6)) * 0.03
    return (walk + breath + jumps + jitter) * size


def _mixed(columns: np.ndarray, sd: float, n_voxels: int, rng: np.random.Generator) -> np.ndarray:
    if columns.shape[1] == 0:
        return np.zeros((len(columns), n_voxels), np.float32)
    spread = columns.std(axis=0)
    columns = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    weights = rng.standard_normal((columns.shape[1], n_voxels)) * sd / np.sqrt(columns.shape[1])
    return columns.astype(np.float32) @ weights.astype(np.float32)
