"""Inference across participants, who are the random effect."""

from dataclasses import dataclass

import numpy as np
import scipy.special

from cinebold.encoding.significance import benjamini_hochberg

__all__ = ["OneSampleT", "benjamini_hochberg", "fisher_z", "mean_r", "one_sample_t"]


@dataclass(frozen=True)
class OneSampleT:
    """A t-test of the mean against zero, in every voxel."""

    t: np.ndarray  #: (n_targets,)
    p: np.ndarray  #: (n_targets,) two-sided
    mean: np.ndarray  #: (n_targets,)
    n: np.ndarray  #: (n_targets,) participants with a value


def one_sample_t(values: np.ndarray) -> OneSampleT:
    """Two-sided one-sample t-test across participants, t = mean / (sd / sqrt(n)) with n - 1 degrees of
    freedom.

    Participants without a value in a voxel are left out there. t and p are NaN with fewer than two
    participants or where all values are the same.

    Parameters
    ----------
    values : (n_participants, n_targets)
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    n = finite.sum(axis=0)
    mean = np.divide(np.where(finite, values, 0).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    deviation = np.where(finite, values - mean, 0)
    variance = np.divide((deviation**2).sum(axis=0), n - 1, out=np.full(n.shape, np.nan), where=n > 1)
    # Equal values leave a deviation of rounding size.
    spread = variance > (4 * np.finfo(np.float64).eps * np.abs(mean)) ** 2
    t = np.divide(mean, np.sqrt(variance / np.maximum(n, 1)), out=np.full(n.shape, np.nan), where=spread)
    p = 2 * scipy.special.stdtr(np.maximum(n - 1, 1), -np.abs(t))
    return OneSampleT(t, p, mean, n)


def fisher_z(r: np.ndarray) -> np.ndarray:
    """Fisher's z of correlations, atanh(r); |r| = 1 is taken a hair inside."""
    r = np.asarray(r, dtype=np.float64)
    return np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))


def mean_r(r: np.ndarray) -> np.ndarray:
    """The mean correlation across participants (axis 0), averaged as Fisher z; NaN are left out."""
    z = fisher_z(r)
    finite = np.isfinite(z)
    n = finite.sum(axis=0)
    return np.tanh(
        np.divide(np.where(finite, z, 0).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    )
