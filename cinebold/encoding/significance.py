"""Permutation tests that respect autocorrelation, and the false discovery rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from cinebold.errors import InputError

#: In leave-one-run-out every pair of runs enters the pooled r twice, once each way round (see `ShiftTest`).
LEAVE_ONE_OUT_COUPLING = float(np.sqrt(2.0))


@dataclass(frozen=True)
class ShiftTest:
    r"""Circular shifts of held-out predictions within their runs, the same for all voxels.

    Under the null hypothesis a response is as well aligned with its prediction as with the prediction shifted
    in time; a shift keeps the autocorrelation of both (Chaudhuri et al., 2017). Every permutation shifts each
    run on its own and the statistic is the held-out r (`scores.held_out_r`).

    `coupling` corrects for leave-one-run-out: the prediction of run i is learned from run j and that of j
    from i, so the same chance agreement of the two runs counts twice, in :math:`a_{ij}` and in
    :math:`a_{ji}`. Shifts make these two independent, which in truth they are not, and a test without
    correction rejects about 12 % of the true null hypotheses at the level .05. As :math:`(a + b)^2 \le 2 (a^2
    + b^2)`, the true standard deviation is at most
    :math:`\sqrt 2` that of the shifted statistic; permuted r are multiplied by this bound. It costs next to
    no power, as the bound is nearly reached.
    """

    shifts: np.ndarray  #: (n_permutations, n_runs) volumes
    coupling: float = LEAVE_ONE_OUT_COUPLING

    def __post_init__(self) -> None:
        if self.shifts.ndim != 2:
            raise InputError(f"Shifts must be (n_permutations, n_runs), got shape {self.shifts.shape}.")


def draw_shifts(
    n_volumes: Sequence[int], minimum_shift: int, n_permutations: int, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Random shifts (n_permutations, n_runs), uniform over all shifts of each run, and warnings.

    Draws in which no run is shifted by at least `minimum_shift` volumes either way are replaced, as they are
    next to no shift. More than this must not be forbidden: the test is exact because circular shifts form a
    group, and with short shifts ruled out in every run it rejects up to 8 % of the true null hypotheses at
    the level .05. Drawn once from the seed, before any voxel is looked at.
    """
    lengths = np.asarray(n_volumes)
    warnings = []
    least = min(minimum_shift, int(lengths.max()) // 4)
    if least < minimum_shift:
        warnings.append(
            f"The longest run has {lengths.max()} volumes, too few for shifts of at least {minimum_shift} "
            "volumes: the "
            f"least shift is {least} volumes, and the p values of slow responses are rough."
        )
    generator = np.random.default_rng(seed)
    shifts = np.zeros((n_permutations, len(lengths)), dtype=np.int64)
    small = np.ones(n_permutations, dtype=bool)
    while small.any():
        shifts[small] = generator.integers(0, lengths, size=(int(small.sum()), len(lengths)))
        small = (np.minimum(shifts, lengths - shifts) < least).all(axis=1)
    return shifts, warnings


def permute_shifts(
    test: ShiftTest,
    observed_r: np.ndarray,
    responses: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    scored: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """How many permutations reach the observed r, and their maxima, by one cross-correlation a run (FFT).

    Volumes that are not scored keep their place in time with weight 0: predictions shift over them.

    Parameters
    ----------
    observed_r : (n_targets,) `scores.held_out_r`
    responses, predictions : one (n_volumes, n_targets) a run
    scored : one (n_volumes,) bool a run

    Returns
    -------
    (n_targets,) int, and (n_permutations,) the largest permuted r of all targets
    """
    permuted_r = np.zeros((len(test.shifts), len(observed_r)))
    n_scored = sum(int(weight.sum()) for weight in scored)
    for run, (y, prediction, weight) in enumerate(zip(responses, predictions, scored, strict=True)):
        y = np.where(weight[:, np.newaxis], y - y[weight].mean(axis=0), 0.0)
        product, squares = _all_shifts(y, prediction - prediction[weight].mean(axis=0), weight)
        scale = np.sqrt(squares * np.einsum("tv,tv->v", y, y))
        r = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
        permuted_r += (r * (weight.sum() / n_scored))[test.shifts[:, run]]
    permuted_r *= test.coupling
    # The margin lets rounding never tell two equal correlations apart.
    return (permuted_r >= observed_r - 1e-10).sum(axis=0), permuted_r.max(axis=1)


def _all_shifts(y: np.ndarray, prediction: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of y * shifted prediction and of (shifted prediction - mean)^2 for every shift, (n_volumes,
    n_targets).

    At shift s the volume t sees the prediction of t - s. `y` is centred and zero where `weight` is False.
    """
    n = len(y)
    spectrum = np.conj(scipy.fft.rfft(prediction, axis=0))
    products = scipy.fft.irfft(scipy.fft.rfft(y, axis=0) * spectrum, n=n, axis=0)
    if weight.all():
        squares = (prediction**2).sum(axis=0) - prediction.sum(axis=0) ** 2 / n
        return products, np.broadcast_to(squares, products.shape)
    window = scipy.fft.rfft(weight.astype(np.float64))[:, np.newaxis]
    sums = scipy.fft.irfft(window * spectrum, n=n, axis=0)
    squares = scipy.fft.irfft(window * np.conj(scipy.fft.rfft(prediction**2, axis=0)), n=n, axis=0)
    return products, np.maximum(squares - sums**2 / weight.sum(), 0)


def p_values(n_at_least: np.ndarray, n_permutations: int) -> np.ndarray:
    """One-sided p = (b + 1) / (m + 1), never 0 (Phipson & Smyth, 2010)."""
    return (n_at_least + 1.0) / (n_permutations + 1.0)


def family_wise_p(observed_r: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """One-sided p against the largest permuted r of all voxels, which controls the family-wise error.

    Westfall & Young (1993), Resampling-based multiple testing; Nichols & Holmes (2002), Hum. Brain Mapp. 15, 1-25.

    Parameters
    ----------
    observed_r : (n_targets,); NaN stays NaN
    maxima : (n_permutations,), the largest r over the same voxels in each permutation, with any coupling

    >>> family_wise_p(np.array([0.5, 0.2, np.nan]), np.array([0.1, 0.3, 0.2]))
    array([0.25, 0.75,  nan])
    """
    rising = np.sort(maxima)
    # The margin lets rounding never tell two equal correlations apart.
    n_at_least = len(rising) - np.searchsorted(rising, observed_r - 1e-10, side="left")
    return np.where(np.isfinite(observed_r), p_values(n_at_least, len(rising)), np.nan)


def z_values(p: np.ndarray, n_permutations: int) -> np.ndarray:
    """The normal quantile of 1 - p; p = 1 is taken one permutation short of it, so that z is finite."""
    from scipy.special import ndtri

    return -ndtri(np.minimum(np.asarray(p, dtype=np.float64), n_permutations / (n_permutations + 1.0)))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q values, the false discovery rate at which each test is a discovery; NaN are left out of the count.

    Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289-300.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan]))
    array([0.03, 0.04, 0.04,  nan])
    """
    p = np.asarray(p, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if not tested.any():
        return q
    values = p[tested]
    order = np.argsort(values, kind="stable")
    m = len(values)
    ranked = values[order] * m / np.arange(1, m + 1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    q[tested] = adjusted
    return q
