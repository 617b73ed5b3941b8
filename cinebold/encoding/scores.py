"""Held-out scores from sums or from predictions: r and R2, pooled over the held-out runs.

r is the correlation after responses and predictions have been z-scored in each run, which is the mean of the
runs' correlations with their numbers of rows as weights. Without the z-score of predictions the folds whose
training runs happen to agree, and which therefore choose a small alpha and predict boldly, would outweigh the
others: pooled r of pure noise would then be negative (about -.03 with four runs), and that of signal too low.
R2 pools squared errors as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np

#: A prediction with less than this share of the response's variance is a constant with rounding errors.
_SILENT = 1e-20


@dataclass(frozen=True)
class HeldOutSums:
    """Sums over rows of one held-out run, of responses and predictions about common means; they add up over folds.

    Where one fold predicts the whole run the means are those of its rows and the plain sums are 0.
    """

    n: int
    response_squared: np.ndarray  #: (n_targets,) sum of (y - mean)^2
    product: np.ndarray  #: (..., n_targets) sum of (y - mean) * (prediction - mean)
    prediction_squared: np.ndarray  #: (..., n_targets) sum of (prediction - mean)^2
    response_sum: np.ndarray | float = 0.0  #: (n_targets,) sum of (y - mean)
    prediction_sum: np.ndarray | float = 0.0  #: (..., n_targets) sum of (prediction - mean)

    def __add__(self, other: "HeldOutSums") -> "HeldOutSums":
        names = [field.name for field in fields(self)]
        return HeldOutSums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def centred(self) -> "HeldOutSums":
        """The same about the rows' own means."""
        return HeldOutSums(
            self.n,
            np.maximum(self.response_squared - self.response_sum**2 / self.n, 0),
            self.product - self.response_sum * self.prediction_sum / self.n,
            np.maximum(self.prediction_squared - self.prediction_sum**2 / self.n, 0),
        )


def standardise_fold(
    runs: Mapping[int, HeldOutSums],
) -> tuple[dict[int, HeldOutSums], np.ndarray, np.ndarray]:
    """A fold's sums with its predictions z-scored over all its rows, and their mean and standard deviation.

    Where several folds predict one run, as they do when films are left out, each fold's predictions are brought to
    one variance first. Otherwise those folds would count most whose training rows happen to agree, and r of pure
    noise would be negative (about -.1 with small designs).
    """
    whole = reduce(HeldOutSums.__add__, runs.values())
    mean = whole.prediction_sum / whole.n
    deviation = np.sqrt(whole.centred().prediction_squared / whole.n)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    changed = {
        run: HeldOutSums(
            sums.n,
            sums.response_squared,
            (sums.product - mean * sums.response_sum) * scale,
            (sums.prediction_squared - 2 * mean * sums.prediction_sum + sums.n * mean**2) * scale**2,
            sums.response_sum,
            (sums.prediction_sum - sums.n * mean) * scale,
        )
        for run, sums in runs.items()
    }
    return changed, mean, deviation


def held_out_r(runs: Sequence[HeldOutSums]) -> np.ndarray:
    """Correlation of responses and predictions, both z-scored in each run, pooled over runs.

    A run with a constant prediction counts as 0; NaN where the response is constant in a run.
    """
    return sum(run.n * _r(run) for run in runs) / sum(run.n for run in runs)


def held_out_rsquared(runs: Sequence[HeldOutSums]) -> np.ndarray:
    """1 - SSE / SST, each run centred on its mean, sums over runs; never clipped; NaN for constant responses."""
    runs = [run.centred() for run in runs]
    error = sum(run.response_squared - 2 * run.product + run.prediction_squared for run in runs)
    total = sum(run.response_squared for run in runs)
    return 1 - error / np.where(total > 0, total, np.nan)


def _r(run: HeldOutSums) -> np.ndarray:
    run = run.centred()
    scale = np.sqrt(run.response_squared * run.prediction_squared)
    # A model that is silent but for rounding predicts a constant.
    speaks = (scale > 0) & (run.prediction_squared > _SILENT * run.response_squared)
    r = np.divide(run.product, scale, out=np.zeros_like(run.product), where=speaks)
    return np.where(run.response_squared > 0, r, np.nan)


def sums_of_predictions(responses: np.ndarray, predictions: np.ndarray) -> HeldOutSums:
    """The sums of one held-out run, (n_samples, n_targets) each."""
    y = responses - responses.mean(axis=0)
    prediction = predictions - predictions.mean(axis=0)
    return HeldOutSums(len(y), (y**2).sum(axis=0), (y * prediction).sum(axis=0), (prediction**2).sum(axis=0))
