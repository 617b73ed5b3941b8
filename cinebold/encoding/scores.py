"""Held-out scores from sums or from predictions: r and R2, pooled over the held-out runs.

r is the correlation after responses and predictions have been z-scored in each run, which is the mean of the
runs' correlations with their numbers of rows as weights. Without the z-score of predictions the folds whose
training runs happen to agree, and which therefore choose a small alpha and predict boldly, would outweigh the
others: pooled r of pure noise would then be negative (about -.03 with four runs), and that of signal too low.
R2 pools squared errors as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOutSums:
    """Centred sums over the rows of one held-out run."""

    n: int
    response_squared: np.ndarray  #: (n_targets,) sum of (y - mean)^2
    product: np.ndarray  #: (..., n_targets) sum of (y - mean) * (prediction - mean)
    prediction_squared: np.ndarray  #: (..., n_targets) sum of (prediction - mean)^2


def held_out_r(runs: Sequence[HeldOutSums]) -> np.ndarray:
    """Correlation of responses and predictions, both z-scored in each run, pooled over runs.

    A run with a constant prediction counts as 0; NaN where the response is constant in a run.
    """
    return sum(run.n * _r(run) for run in runs) / sum(run.n for run in runs)


def held_out_rsquared(runs: Sequence[HeldOutSums]) -> np.ndarray:
    """1 - SSE / SST, each run centred on its mean, sums over runs; never clipped; NaN for constant responses."""
    error = sum(run.response_squared - 2 * run.product + run.prediction_squared for run in runs)
    total = sum(run.response_squared for run in runs)
    return 1 - error / np.where(total > 0, total, np.nan)


def _r(run: HeldOutSums) -> np.ndarray:
    scale = np.sqrt(run.response_squared * run.prediction_squared)
    r = np.divide(run.product, scale, out=np.zeros_like(run.product), where=scale > 0)
    return np.where(run.response_squared > 0, r, np.nan)


def sums_of_predictions(responses: np.ndarray, predictions: np.ndarray) -> HeldOutSums:
    """The sums of one held-out run, (n_samples, n_targets) each."""
    y = responses - responses.mean(axis=0)
    prediction = predictions - predictions.mean(axis=0)
    return HeldOutSums(len(y), (y**2).sum(axis=0), (y * prediction).sum(axis=0), (prediction**2).sum(axis=0))
