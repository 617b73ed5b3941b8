"""Group inference against scipy."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from cinebold.group.inference import fisher_z, mean_r, one_sample_t


@pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 3, 20])
def test_t_and_p_equal_scipy_with_gaps(dtype, n):
    rng = np.random.default_rng(n)
    values = rng.normal(0.3, 1, size=(n, 30)).astype(dtype)
    values[0, :5] = np.nan
    result = one_sample_t(values)
    reference = ttest_1samp(values.astype(float), 0, axis=0, nan_policy="omit")
    counted = np.isfinite(values).sum(axis=0)
    enough = counted >= 2
    np.testing.assert_allclose(result.t[enough], np.asarray(reference.statistic)[enough], rtol=1e-9)
    np.testing.assert_allclose(result.p[enough], np.asarray(reference.pvalue)[enough], rtol=1e-9)
    assert np.isnan(result.t[~enough]).all() and np.isnan(result.p[~enough]).all()
    np.testing.assert_array_equal(result.n, counted)


def test_equal_values_and_empty_voxels_have_no_t():
    result = one_sample_t(np.array([[0.1, np.nan], [0.1, np.nan], [0.1, np.nan]]))
    assert np.isnan(result.t).all() and np.isnan(result.p).all()
    np.testing.assert_allclose(result.mean, [0.1, np.nan])


def test_correlations_are_averaged_as_fisher_z():
    r = np.array([[0.9, 0.2, np.nan], [0.1, np.nan, np.nan]])
    np.testing.assert_allclose(mean_r(r), [np.tanh((np.arctanh(0.9) + np.arctanh(0.1)) / 2), 0.2, np.nan])
    assert np.isfinite(fisher_z([1.0, -1.0])).all()
