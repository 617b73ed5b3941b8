"""Held-out scores, pooled over runs, each run centred on its own mean; from sums or from predictions."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOutSums:
    """Centred sums over held-out rows; those of several runs add up."""

    response_squared: np.ndarray  #: (n_targets,) sum of (y - mean)^2
    product: np.ndarray  #: (..., n_targets) sum of (y - mean) * (prediction - mean)
    prediction_squared: np.ndarray  #: (..., n_targets) sum of (prediction - mean)^2

    def __add__(self, other: "HeldOutSums") -> "HeldOutSums":
        return HeldOutSums(
            self.response_squared + other.response_squared,
            self.product + other.product,
            self.prediction_squared + other.prediction_squared,
        )

    def r(self) -> np.ndarray:
        """Pearson correlation; 0 where the prediction is constant, NaN where the response is."""
        scale = np.sqrt(self.response_squared * self.prediction_squared)
        r = np.divide(self.product, scale, out=np.zeros_like(self.product), where=scale > 0)
        return np.where(self.response_squared > 0, r, np.nan)

    def rsquared(self) -> np.ndarray:
        """1 - SSE / SST, at most 1 and not clipped below; NaN where the response is constant."""
        error = self.response_squared - 2 * self.product + self.prediction_squared
        safe = np.where(self.response_squared > 0, self.response_squared, np.nan)
        return 1 - error / safe


def sums_of_predictions(responses: np.ndarray, predictions: np.ndarray) -> HeldOutSums:
    """The sums of one held-out run, (n_samples, n_targets) each."""
    y = responses - responses.mean(axis=0)
    prediction = predictions - predictions.mean(axis=0)
    return HeldOutSums((y**2).sum(axis=0), (y * prediction).sum(axis=0), (prediction**2).sum(axis=0))
