"""The estimators keep scikit-learn's contract, and are the solvers."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from cinebold.encoding.sklearn_api import (
    EncodingBandedRidge,
    EncodingElasticNet,
    EncodingLasso,
    EncodingRidge,
)
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.errors import SettingError

ESTIMATORS = [
    EncodingRidge(),
    EncodingRidge(path="dual"),
    EncodingBandedRidge(),
    EncodingLasso(),
    EncodingElasticNet(),
]


@parametrize_with_checks(ESTIMATORS)
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def some_runs(n_samples=90, n_features=10, n_targets=7, n_runs=3, dtype=np.float64):
    rng = np.random.default_rng(8)
    runs = np.repeat(np.arange(n_runs), n_samples // n_runs)
    x = rng.normal(size=(n_samples, n_features)) + 3
    weights = rng.normal(size=(n_features, n_targets)) * (rng.uniform(size=(n_features, n_targets)) < 0.4)
    y = x @ weights + rng.normal(size=(n_samples, n_targets)) + 10 * runs[:, np.newaxis]
    return x.astype(dtype), y.astype(dtype), runs


def centred(rows, runs):
    return np.concatenate([rows[runs == run] - rows[runs == run].mean(axis=0) for run in np.unique(runs)])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_one_dimensional_responses_and_order_of_runs(estimator):
    x, y, runs = some_runs()
    fitted = clone(estimator).fit(x, y, groups=runs)
    single = clone(estimator).fit(x, y[:, 2], groups=runs)
    assert fitted.coef_.shape == (7, 10)
    assert single.coef_.shape == (10,) and single.predict(x).shape == (90,)
    np.testing.assert_allclose(single.coef_, fitted.coef_[2], atol=1e-8)
    np.testing.assert_allclose(single.predict(x), fitted.predict(x)[:, 2], atol=1e-8)
    # Samples of the runs may be interleaved; names of runs may be words.
    order = np.random.default_rng(0).permutation(90)
    mixed = clone(estimator).fit(x[order], y[order], groups=np.array(["a", "b", "c"])[runs[order]])
    np.testing.assert_allclose(mixed.coef_, fitted.coef_, atol=1e-6)


def test_ridge_is_scikit_learns_at_the_chosen_alphas():
    x, y, runs = some_runs()
    fitted = EncodingRidge([0.1, 10.0, 1000.0], unit_free=False).fit(x, y, groups=runs)
    for target in range(7):
        reference = Ridge(fitted.alpha_[target]).fit(centred(x, runs), centred(y, runs)[:, target])
        np.testing.assert_allclose(fitted.coef_[target], reference.coef_, atol=1e-9)


def test_lasso_is_scikit_learns_at_the_chosen_alphas():
    x, y, runs = some_runs()
    fitted = EncodingLasso([0.01, 0.1, 0.5], voxel_tile=3).fit(x, y, groups=runs)
    a, b = centred(x, runs), centred(y, runs)
    for target in range(7):
        alpha = fitted.alpha_[target] * np.abs(a.T @ b[:, target]).max() / len(a)
        reference = Lasso(alpha, tol=1e-10, max_iter=100_000).fit(a, b[:, target])
        np.testing.assert_allclose(fitted.coef_[target], reference.coef_, atol=1e-4)


def test_elastic_net_is_scikit_learns_at_the_chosen_alphas():
    x, y, runs = some_runs()
    fitted = EncodingElasticNet([0.01, 0.1, 0.5], l1_ratio=0.3, voxel_tile=3).fit(x, y, groups=runs)
    a, b = centred(x, runs), centred(y, runs)
    for target in range(7):
        alpha = fitted.alpha_[target] * np.abs(a.T @ b[:, target]).max() / (len(a) * 0.3)
        reference = ElasticNet(alpha, l1_ratio=0.3, tol=1e-10, max_iter=100_000).fit(a, b[:, target])
        np.testing.assert_allclose(fitted.coef_[target], reference.coef_, atol=1e-4)


def test_the_path_is_chosen_by_cost_and_changes_nothing():
    x, y, runs = some_runs(n_features=300)
    automatic = EncodingRidge().fit(x, y, groups=runs)
    assert automatic.path_ == "dual"
    assert EncodingRidge().fit(x[:, :5], y, groups=runs).path_ == "primal"
    primal = EncodingRidge(path="primal").fit(x, y, groups=runs)
    np.testing.assert_allclose(automatic.coef_, primal.coef_, atol=1e-5)
    np.testing.assert_array_equal(automatic.alpha_, primal.alpha_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_single_precision_and_tiles(dtype):
    x, y, runs = some_runs(dtype=dtype)
    plain = EncodingRidge().fit(x, y, groups=runs)
    fast = EncodingRidge(single_precision=True, voxel_tile=3).fit(x, y, groups=runs)
    np.testing.assert_allclose(fast.coef_, plain.coef_, atol=1e-6)
    assert plain.coef_.dtype == dtype


def test_banded_ridge_gives_gammas():
    x, y, runs = some_runs()
    fitted = EncodingBandedRidge(
        spaces=(4, 6), n_candidates=8, voxel_tile=3
    ).fit(x, y, groups=runs)  # fmt: skip
    at_once = EncodingBandedRidge(spaces=(4, 6), n_candidates=8).fit(x, y, groups=runs)
    assert fitted.gammas_.shape == (2, 7)
    assert not np.isin(fitted.alpha_, RidgeSolver.default_alphas).all()
    # The chosen penalties, as scikit-learn's ridge on columns scaled by them.
    a, b = centred(x, runs), centred(y, runs)
    variance = np.array([(a[:, :4] ** 2).sum(), (a[:, 4:] ** 2).sum()]) / 10
    for target in range(7):
        scale = np.sqrt(np.repeat(fitted.gammas_[:, target] / variance, [4, 6]))
        reference = Ridge(fitted.alpha_[target]).fit(a * scale, b[:, target])
        np.testing.assert_allclose(fitted.coef_[target], reference.coef_ * scale, atol=1e-8)
    np.testing.assert_allclose(fitted.gammas_.sum(axis=0), 1)
    np.testing.assert_allclose(fitted.coef_, at_once.coef_, atol=1e-8)


def test_scores_of_targets():
    x, y, runs = some_runs()
    fitted = EncodingRidge().fit(x, y, groups=runs)
    r, rsquared = fitted.target_scores(x, y, groups=runs)
    a, b = centred(fitted.predict(x), runs), centred(y, runs)
    np.testing.assert_allclose(rsquared, 1 - ((b - a) ** 2).sum(axis=0) / (b**2).sum(axis=0))
    own = [
        np.mean([np.corrcoef(a[runs == run, v], b[runs == run, v])[0, 1] for run in range(3)])
        for v in range(7)
    ]
    np.testing.assert_allclose(r, own)
    with pytest.raises(ValueError, match="shape of the predictions"):
        fitted.target_scores(x, y[:, :2])


def test_mistakes_are_named():
    x, y, runs = some_runs()
    with pytest.raises(NotFittedError):
        EncodingRidge().predict(x)
    with pytest.raises(ValueError, match="run of each of 90 samples"):
        EncodingRidge().fit(x, y, groups=runs[:-1])
    with pytest.raises(ValueError, match="at least 2 runs"):
        EncodingRidge().fit(x, y, groups=np.zeros(90))
    with pytest.raises(ValueError, match="9 features"):
        EncodingRidge().fit(x, y, groups=runs).predict(x[:, :9])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EncodingRidge().fit(x, y[:-1])
    with pytest.raises(SettingError, match="path"):
        EncodingRidge(path="fast").fit(x, y)
    with pytest.raises(SettingError, match="scoring"):
        EncodingLasso(scoring="mse").fit(x, y)
    with pytest.raises(SettingError, match="sum to 10"):
        EncodingBandedRidge(spaces=(3, 3)).fit(x, y)
