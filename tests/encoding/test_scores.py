"""Held-out scores against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import pearsonr, zscore
from sklearn.metrics import r2_score

from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_equal_those_of_the_stacked_runs(dtype):
    rng = np.random.default_rng(7)
    runs = []
    for n, bold in ((30, 5.0), (40, 0.1), (25, 1.0)):
        y = rng.normal(size=(n, 3))
        runs.append(((y + 2).astype(dtype), (bold * (0.3 * y + rng.normal(size=(n, 3)))).astype(dtype)))
    sums = [sums_of_predictions(y.astype(float), prediction.astype(float)) for y, prediction in runs]
    for target in range(3):
        y = np.concatenate([zscore(y[:, target].astype(float)) for y, _ in runs])
        prediction = np.concatenate([zscore(prediction[:, target].astype(float)) for _, prediction in runs])
        assert held_out_r(sums)[target] == pytest.approx(pearsonr(y, prediction)[0], abs=1e-6)
        y = np.concatenate([y[:, target] - y[:, target].mean() for y, _ in runs])
        prediction = np.concatenate([p[:, target] - p[:, target].mean() for _, p in runs])
        assert held_out_rsquared(sums)[target] == pytest.approx(r2_score(y, prediction), rel=1e-5)


def test_a_bad_prediction_is_below_zero_and_a_constant_one_is_zero():
    y = np.random.default_rng(8).normal(size=(50, 3))
    prediction = np.column_stack([-3 * y[:, 0], np.full(50, 2.0), y[:, 2]])
    y[:, 2] = 1.0
    sums = [sums_of_predictions(y, prediction)]
    np.testing.assert_allclose(held_out_r(sums), [-1.0, 0.0, np.nan], atol=1e-12)
    np.testing.assert_allclose(held_out_rsquared(sums), [-15.0, 0.0, np.nan], atol=1e-12)
