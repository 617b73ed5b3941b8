"""LASSO and elastic net on a device against coordinate descent and scikit-learn."""

import logging

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from sklearn.linear_model import ElasticNet, Lasso

from cinebold.design.delays import delayed
from cinebold.encoding.gpu.active_set import newton_on_support
from cinebold.encoding.gpu.lasso import choose_lasso_alphas, solve_lasso_path
from cinebold.encoding.solvers import lasso_choice, lasso_path
from cinebold.encoding.statistics import accumulate, centred
from cinebold.errors import SettingError

ALPHAS = np.array([[1.0, 0.5, 0.1, 0.02]])


def some_rows(n_samples=60, n_features=12, n_targets=20, dtype=np.float64, collinear=False):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(n_samples, n_features))
    if collinear:
        x[:, -1], x[:, -2] = x[:, 0], 0.0
    weights = rng.normal(size=(n_features, n_targets)) * (rng.random((n_features, n_targets)) < 0.4)
    y = x @ weights + rng.normal(size=(n_samples, n_targets)) + 1
    return x, y.astype(dtype)


def delayed_runs(n_runs=3, n_targets=25):
    """Slow components of falling variance at four delays: X'X has a condition number of thousands."""
    rng = np.random.default_rng(7)
    scale = np.logspace(0, -1, 6)
    slow = [lfilter([1], [1, -0.9], rng.normal(size=(90, 6)), axis=0) * scale for _ in range(n_runs)]
    x = [delayed(run, [1, 2, 3, 4]) for run in slow]
    weights = rng.normal(size=(24, n_targets)) * (rng.random((24, n_targets)) < 0.2)
    y = [run @ weights + 2 * rng.normal(size=(90, n_targets)) for run in x]
    return [accumulate(*run) for run in zip(x, y, strict=True)]


def path(solve, statistics, alphas, *arguments, **options):
    return solve(
        statistics.gram, statistics.cross, statistics.total, statistics.n, alphas, *arguments, **options
    )


def statistics_of(**options):
    return centred([accumulate(*some_rows(**options))])


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.05])
@pytest.mark.parametrize(
    "statistics",
    [
        statistics_of(),
        statistics_of(n_samples=30, n_features=45),
        statistics_of(n_features=1),
        statistics_of(dtype=np.float32),
        centred(delayed_runs()),
    ],
    ids=["tall", "wide", "one feature", "float32", "ill-conditioned"],
)
def test_equal_to_coordinate_descent_with_a_small_gap(torch_device, statistics, l1_ratio):
    # A gap of 1e-8 leaves coordinate descent with weights that are known to 1e-4: the reference goes further.
    expected, _ = path(lasso_path.solve_lasso_path, statistics, ALPHAS, 1e-13, 200_000, l1_ratio=l1_ratio)
    found, gaps = path(
        solve_lasso_path, statistics, ALPHAS, l1_ratio=l1_ratio, device=torch_device, voxel_tile=8
    )
    assert gaps.max() <= 1e-8
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_equal_to_scikit_learn(torch_device):
    x, y = some_rows(n_targets=5)
    statistics = centred([accumulate(x, y)])
    largest = np.abs(statistics.cross).max(axis=0) / len(x)
    for l1_ratio, model in (
        (1.0, lambda a: Lasso(a, tol=1e-13)),
        (0.3, lambda a: ElasticNet(a, l1_ratio=0.3, tol=1e-13)),
    ):
        found, _ = path(solve_lasso_path, statistics, ALPHAS, l1_ratio=l1_ratio, device=torch_device)
        for target in range(5):
            for step, alpha in enumerate(ALPHAS[0]):
                reference = model(alpha * largest[target] / l1_ratio).fit(x, y[:, target])
                np.testing.assert_allclose(found[target, step], reference.coef_, atol=1e-6)


def test_the_returned_gap_is_that_of_the_returned_weights(torch_device):
    x, y = some_rows()
    statistics = centred([accumulate(x, y)])
    # Stopped early, so that the gaps are open.
    found, gaps = path(
        solve_lasso_path, statistics, ALPHAS[:, 2:], 1e-20, 1, device=torch_device, alpha_max=np.full(20, 1.0)
    )
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    for step, alpha in enumerate(ALPHAS[0, 2:]):
        residual = y - x @ found[:, step].T
        primal = (residual**2).sum(axis=0) / 120 + alpha * np.abs(found[:, step]).sum(axis=1)
        dual_point = residual * np.minimum(1, alpha * 60 / np.abs(x.T @ residual).max(axis=0))
        dual = ((y**2).sum(axis=0) - ((y - dual_point) ** 2).sum(axis=0)) / 120
        np.testing.assert_allclose(gaps[:, step], (primal - dual) / (y**2).sum(axis=0) * 60, atol=1e-12)


def test_collinear_empty_and_silent(torch_device):
    x, y = some_rows(collinear=True)
    y[:, 0] = 4.0
    statistics = centred([accumulate(x, y)])
    found, gaps = path(solve_lasso_path, statistics, ALPHAS, device=torch_device)
    assert gaps.max() <= 1e-8
    assert not found[0].any() and not found[:, 0].any() and not found[:, :, -2].any()
    largest = np.abs(statistics.cross[:, 1]).max() / 60
    reference = Lasso(0.1 * largest, tol=1e-12, max_iter=100_000).fit(x, y[:, 1])
    centred_x = x - x.mean(axis=0)
    np.testing.assert_allclose(centred_x @ found[1, 2], centred_x @ reference.coef_, atol=1e-6)


def test_a_penalty_of_zero_is_least_squares(torch_device):
    x, y = some_rows()
    found, gaps = path(
        solve_lasso_path, centred([accumulate(x, y)]), np.array([[0.5, 0.0]]), device=torch_device
    )
    expected = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(axis=0), rcond=None)[0].T
    assert gaps.max() <= 1e-8
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-7)


def test_each_voxel_has_its_own_alphas_and_the_tile_changes_nothing(torch_device):
    statistics = centred(delayed_runs())
    own = np.random.default_rng(8).random((25, 1))
    whole, _ = path(solve_lasso_path, statistics, own, device=torch_device)
    tiles, _ = path(solve_lasso_path, statistics, own, device=torch_device, voxel_tile=4)
    expected, _ = path(lasso_path.solve_lasso_path, statistics, own, 1e-13, 200_000)
    np.testing.assert_allclose(tiles, whole, atol=1e-6 * np.abs(whole).max())
    np.testing.assert_allclose(whole, expected, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("conditioned", ["well", "ill"])
def test_the_same_alphas_are_chosen_over_folds(torch_device, l1_ratio, conditioned):
    runs = delayed_runs()
    if conditioned == "well":
        x, y = some_rows(240, n_targets=25)
        runs = [accumulate(x[own::3], y[own::3]) for own in range(3)]
    training = [centred(runs[:index] + runs[index + 1 :]) for index in range(3)]
    held_out = [centred([run]) for run in runs]
    whole = centred(runs)
    alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
    alphas = np.logspace(-3, 0, 12)
    options = {"l1_ratio": l1_ratio, "tolerance": 1e-11}
    index, errors = lasso_choice.choose_lasso_alphas(training, held_out, alphas, alpha_max, **options)
    found, found_errors = choose_lasso_alphas(
        training, held_out, alphas, alpha_max, **options, device=torch_device, voxel_tile=7
    )
    assert len(np.unique(index)) > 2
    np.testing.assert_array_equal(found, index)
    # Alphas that cannot be the best are left out, and not the same ones here and there.
    assert np.isnan(found_errors).any() == (l1_ratio == 1)
    assert np.isfinite(np.take_along_axis(found_errors, found[np.newaxis], axis=0)).all()
    both = np.isfinite(errors) & np.isfinite(found_errors)
    np.testing.assert_allclose(
        found_errors[both], errors[both], rtol=1e-4, atol=1e-5 * np.nanmax(np.abs(errors))
    )
    roughly, _ = choose_lasso_alphas(
        training, held_out, alphas, alpha_max, l1_ratio=l1_ratio, device=torch_device
    )
    assert (roughly != index).mean() < 0.05


def test_newton_steps_never_raise_the_objective(torch_device):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(40, 10))
    x[:, 9] = x[:, 8]
    gram, c, w = (
        x.T @ x / 40,
        rng.normal(size=(50, 10)),
        rng.normal(size=(50, 10)) * (rng.random((50, 10)) < 0.6),
    )
    w[0] = 0

    def objective(weights):
        quadratic = 0.5 * np.einsum("vi,ij,vj->v", weights, gram, weights) - (weights * c).sum(axis=1)
        return quadratic + 0.3 * np.abs(weights).sum(axis=1) + 0.05 * (weights**2).sum(axis=1)

    there = [torch.from_numpy(values).to(torch_device) for values in (gram, w, c)]
    penalty = torch.full((50, 1), 0.3, dtype=torch.float64, device=torch_device)
    found = newton_on_support(*there, penalty, penalty / 3).cpu().numpy()
    assert (objective(found) <= objective(w) + 1e-12).all()
    assert ((found == 0) | (np.sign(found) == np.sign(w))).all()
    assert (found != w).any(axis=1)[w.any(axis=1)].all()


def test_open_gaps_are_told(torch_device, caplog):
    with caplog.at_level(logging.WARNING):
        path(solve_lasso_path, centred(delayed_runs()), ALPHAS, 1e-20, 3, device=torch_device)
    assert "did not reach the duality gap" in caplog.text


def test_wrong_settings_are_refused():
    statistics = statistics_of()
    with pytest.raises(SettingError, match="falling"):
        path(solve_lasso_path, statistics, ALPHAS[:, ::-1], device="cpu")
    with pytest.raises(SettingError, match="l1_ratio"):
        path(solve_lasso_path, statistics, ALPHAS, l1_ratio=0.0, device="cpu")
