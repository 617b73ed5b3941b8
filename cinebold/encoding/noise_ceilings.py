"""How well any model could do: ceilings from repeated responses, by several estimators, with their units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np

from cinebold.errors import InputError, SettingError

Units = Literal["r", "R2"]


@dataclass(frozen=True)
class Ceiling:
    """The best score that a model can reach, and what it is the ceiling of."""

    values: (
        np.ndarray
    )  #: (n_targets,) or, where participants have ceilings of their own, (n_participants, n_targets)
    estimator: str  #: how it was found
    units: (
        Units  #: "r" is the ceiling of a correlation, "R2" that of a share of variance (0 to 1, not percent)
    )
    n_averaged: (
        float  #: showings averaged in the response that is predicted; the harmonic mean of mixed numbers
    )

    def __post_init__(self) -> None:
        if self.units not in ("r", "R2"):
            raise SettingError(f"A ceiling has the units r or R2, got {self.units!r}.")

    def to(self, units: Units) -> "Ceiling":
        """The same ceiling in other units, R2 = r^2; a negative R2 is r = 0."""
        if units == self.units:
            return self
        changed = self.values**2 if units == "R2" else np.sqrt(np.maximum(self.values, 0))
        return replace(self, values=changed, units=units)


def split_half_ceiling(
    responses: np.ndarray, n_averaged: int = 1, *, n_splits: int = 100, seed: int = 0
) -> Ceiling:
    r"""Ceiling of r from the agreement of two halves of the repeats, by the Spearman-Brown formula.

    .. math:: \rho_n = \frac{k \rho_h}{1 + (k - 1) \rho_h}, \quad k = n / h, \qquad r = \sqrt{\max(\rho_n, 0)}

    :math:`\rho_h` is the correlation of the means of two halves of h repeats each, averaged over the ways of
    halving (all of them, or `n_splits` random ones where there are more; one repeat sits out where their
    number is odd), and :math:`\rho_n` the share of the variance of a mean of n repeats that the stimulus
    drives. Spearman (1910); Brown (1910), Brit. J. Psychol. 3, 296-322.

    Parameters
    ----------
    responses : (n_repeats, n_samples, n_targets), repeats of the same samples; their offset and scale may differ
    n_averaged : repeats averaged in the response that the model is to predict
    """
    rho = split_half_share(responses, n_averaged, n_splits=n_splits, seed=seed)
    return Ceiling(np.sqrt(np.maximum(rho, 0)), "split-half, Spearman-Brown", "r", float(n_averaged))


def split_half_share(
    responses: np.ndarray, n_averaged: int = 1, *, n_splits: int = 100, seed: int = 0
) -> np.ndarray:
    """The share of variance of `split_half_ceiling` before its root, (n_targets,); it may be negative."""
    z = _standardised(responses)
    half = len(z) // 2
    total = np.zeros(z.shape[2])
    splits = _halves(len(z), n_splits, seed)
    for first, second in splits:
        total += _correlation(z[first].mean(axis=0), z[second].mean(axis=0))
    return _spearman_brown(total / len(splits), n_averaged / half)


def explainable_variance(
    responses: np.ndarray, n_averaged: int = 1, *, bias_correction: bool = True
) -> Ceiling:
    r"""Ceiling of R2 from the variance of the mean of the repeats over the mean of their variances.

    .. math:: EV = \frac{\mathrm{var}(\bar y)}{\overline{\mathrm{var}(y_i)}}, \qquad
              EV_1 = EV - \frac{1 - EV}{N - 1}

    for N repeats, each z-scored. :math:`EV_1` is the share of the variance of one repeat that the stimulus
    drives, the signal power of Sahani & Linden (2003) over the total power; without bias correction it holds
    1/N of the noise. For a mean of n repeats it is :math:`n EV_1 / (1 + (n - 1) EV_1)`. Not clipped: voxels
    without a signal scatter about 0.

    Sahani & Linden (2003), NIPS 15; Hsu, Borst & Theunissen (2004), Network 15, 91-109.

    Parameters
    ----------
    responses : (n_repeats, n_samples, n_targets)
    n_averaged : repeats averaged in the response that the model is to predict
    """
    z = _standardised(responses)
    n_repeats = len(z)
    share = z.mean(axis=0).var(axis=0)  # each repeat has the variance 1
    if bias_correction:
        share = share - (1 - share) / (n_repeats - 1)
        share = _spearman_brown(share, n_averaged)
    elif n_averaged != 1:
        raise SettingError(
            f"Without its bias correction the explainable variance is that of no number of repeats: "
            f"n_averaged = {n_averaged} needs bias_correction = True."
        )
    name = "explainable variance" + (", bias-corrected" if bias_correction else ", not bias-corrected")
    return Ceiling(share, name, "R2", float(n_averaged))


def noise_ceiling_snr(responses: np.ndarray, stimulus: np.ndarray) -> np.ndarray:
    r"""The ratio of the standard deviations of signal and noise (ncsnr), for designs with one response a trial.

    .. math:: \mathrm{ncsnr} = \sqrt{\max(MS_b - MS_w, 0) / n_0} \, / \sqrt{MS_w}

    From the mean squares between and within stimuli of an analysis of variance with random stimuli, in which
    numbers of repeats may be mixed and stimuli that were shown once count for the signal only;
    :math:`n_0 = (N - \sum n_i^2 / N) / (S - 1)`. With many stimuli this is the estimate of Allen et al.
    (2022), Nat. Neurosci. 25, 116-126, where the signal variance is the total variance less that of the
    noise. NaN where a voxel is constant; infinite where repeats are equal.

    Parameters
    ----------
    responses : (n_trials, n_targets)
    stimulus : (n_trials,) which stimulus each trial showed

    Returns
    -------
    (n_targets,)
    """
    y = np.asarray(responses, dtype=np.float64)
    labels, of_trial, counts = np.unique(stimulus, return_inverse=True, return_counts=True)
    if len(of_trial) != len(y):
        raise InputError(f"{len(y)} trials but {len(of_trial)} stimuli: one is needed a trial.")
    if len(labels) < 2 or counts.max() < 2:
        raise InputError(
            f"The ncsnr needs two stimuli and one that is repeated, got {len(labels)} stimuli shown at most "
            f"{counts.max()} times."
        )
    y = y - y.mean(axis=0)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.add.reduceat(y[np.argsort(of_trial, kind="stable")], starts) / counts[:, np.newaxis]
    between = (counts[:, np.newaxis] * means**2).sum(axis=0) / (len(labels) - 1)
    within = ((y - means[of_trial]) ** 2).sum(axis=0) / (len(y) - len(labels))
    repeats = (len(y) - (counts**2).sum() / len(y)) / (len(labels) - 1)
    signal = np.sqrt(np.maximum(between - within, 0) / repeats)
    with np.errstate(divide="ignore", invalid="ignore"):
        return signal / np.sqrt(within)


def ncsnr_ceiling(ncsnr: np.ndarray, n_averaged: int | Sequence[int]) -> Ceiling:
    r"""Ceiling of R2 from the ncsnr, for test responses that are means of `n_averaged` repeats.

    .. math:: NC(n) = \frac{\mathrm{ncsnr}^2}{\mathrm{ncsnr}^2 + 1/n}

    Where test stimuli have different numbers of repeats, 1/n is its mean over them: with A of them shown
    once, B twice and C three times, (A/1 + B/2 + C/3) / (A + B + C). Allen et al. (2022).

    Parameters
    ----------
    ncsnr : (n_targets,)
    n_averaged : repeats averaged in all test responses, or one number a test stimulus
    """
    counts = np.atleast_1d(np.asarray(n_averaged, dtype=np.float64))
    if counts.size == 0 or (counts < 1).any():
        raise InputError("Every test response is the mean of at least one repeat.")
    inverse = float((1 / counts).mean())
    squared = np.asarray(ncsnr, dtype=np.float64) ** 2
    with np.errstate(invalid="ignore"):
        values = np.where(np.isposinf(squared), 1.0, squared / (squared + inverse))
    return Ceiling(values, "ncsnr", "R2", 1 / inverse)


def across_participants_ceiling(responses: np.ndarray, *, correct_for_average: bool = True) -> Ceiling:
    r"""Ceiling of r from the agreement of each participant with the mean of the others.

    .. math:: r_i = \mathrm{corr}(y_i, \bar y_{-i}) \, / \sqrt{\alpha_{-i}}

    What participants share is all that a model trained on other people could know. The mean of the others
    still holds noise; :math:`\alpha_{-i} = m \bar\rho / (1 + (m - 1) \bar\rho)`, its reliability from
    their mean correlation with each other, corrects for it. Without correction it is a lower bound. NaN where
    the others do not agree (alpha not positive). Single values may exceed 1.

    Hasson et al. (2004), Science 303, 1634-1640; Nili et al. (2014), PLoS Comput. Biol. 10, e1003553.

    Parameters
    ----------
    responses : (n_participants, n_samples, n_targets), to the same stimuli

    Returns
    -------
    Ceiling with values (n_participants, n_targets)
    """
    z = _standardised(responses)
    n = len(z)
    if correct_for_average and n < 3:
        raise InputError(
            f"The reliability of the mean of the others needs three participants, got {n}: take "
            "correct_for_average = False for a lower bound."
        )
    total = z.sum(axis=0)
    values = np.stack([_correlation(one, total - one) for one in z])
    if correct_for_average:
        m = n - 1
        for index, one in enumerate(z):
            # The variance of a sum of m series of variance 1 is m + m (m - 1) times their mean correlation.
            rho = ((total - one).var(axis=0) / m - 1) / (m - 1)
            alpha = _spearman_brown(rho, m)
            values[index] /= np.sqrt(np.where(alpha > 0, alpha, np.nan))
    name = "leave-one-participant-out" + ("" if correct_for_average else ", lower bound")
    return Ceiling(values, name, "r", 1.0)


def normalised_score(score: np.ndarray, score_units: Units, ceiling: Ceiling, floor: float) -> np.ndarray:
    """The score as a share of its ceiling, r / r_ceiling or R2 / R2_ceiling; NaN where the ceiling is below `floor`.

    The quotient means nothing where the ceiling is next to zero: noise over noise. It is not clipped, so a
    value above 1 shows that the ceiling is too low.

    Parameters
    ----------
    score : (n_targets,) in `score_units`
    floor : least ceiling, above 0, in `score_units`; say it wherever the result is shown
    """
    if not floor > 0:
        raise SettingError(f"The floor of a noise ceiling must be above 0, got {floor:g}.")
    values = ceiling.to(score_units).values
    return np.asarray(score, dtype=np.float64) / np.where(values >= floor, values, np.nan)


def _standardised(responses: np.ndarray) -> np.ndarray:
    """z-scores over samples, (n_repeats, n_samples, n_targets); NaN where constant."""
    y = np.asarray(responses, dtype=np.float64)
    if y.ndim != 3 or len(y) < 2 or y.shape[1] < 2:
        raise InputError(
            "A noise ceiling needs responses (n_repeats, n_samples, n_targets) with at least two repeats of two "
            f"samples, got shape {y.shape}."
        )
    constant = y.max(axis=1, keepdims=True) == y.min(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    deviation = y.std(axis=1, keepdims=True)
    return y / np.where(constant, np.nan, deviation)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation over the first axis of what has mean 0."""
    product = (a * b).sum(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0)


def _spearman_brown(rho: np.ndarray, factor: float) -> np.ndarray:
    """The reliability of a test made `factor` times as long.

    A correlation near -1 / (factor - 1), which chance may give, is a pole of the formula: it is held at half of it.
    """
    if factor > 1:
        rho = np.maximum(rho, -0.5 / factor)
    return factor * rho / (1 + (factor - 1) * rho)


def _halves(n_repeats: int, n_splits: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Ways to part the repeats into two equal halves, each way once."""
    half = n_repeats // 2
    n_ways = comb(n_repeats, half) * comb(n_repeats - half, half) // 2
    if n_ways <= n_splits:
        return [
            (list(first), list(second))
            for first in combinations(range(n_repeats), half)
            for second in combinations(sorted(set(range(n_repeats)) - set(first)), half)
            if first < second
        ]
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(n_repeats) for _ in range(n_splits)]
    return [(list(order[:half]), list(order[half : 2 * half])) for order in orders]
