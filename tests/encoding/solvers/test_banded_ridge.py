"""Banded ridge against an explicit loop and against himalaya's GroupRidgeCV."""

from itertools import pairwise

import numpy as np
import pytest

from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.solvers.banded_ridge import gamma_candidates, leave_one_run_out, solve_banded_ridge
from cinebold.encoding.solvers.ridge_path import solve_ridge_over_runs
from cinebold.encoding.statistics import accumulate
from cinebold.errors import SettingError

SPACES = (3, 5, 4)
ALPHAS = np.logspace(-2, 3, 6)


def some_runs(n_targets=18, length=40, n_runs=3, seed=2, dtype=np.float64):
    """Centred runs in which each third of the voxels follows one space."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((sum(SPACES), n_targets))
    for space, (first, size) in enumerate(zip(np.cumsum([0, *SPACES]), SPACES, strict=False)):
        own = slice(space * n_targets // 3, (space + 1) * n_targets // 3)
        weights[first : first + size, own] = rng.normal(size=(size, n_targets // 3))
    x = [rng.normal(size=(length, sum(SPACES))) * np.repeat([1.0, 10.0, 0.1], SPACES) for _ in range(n_runs)]
    weights /= np.repeat([1.0, 10.0, 0.1], SPACES)[:, np.newaxis]
    y = [run @ weights + 1.5 * rng.normal(size=(length, n_targets)) for run in x]
    return [run - run.mean(axis=0) for run in x], [(run - run.mean(axis=0)).astype(dtype) for run in y]


def statistics_of(x, y):
    return leave_one_run_out([accumulate(*run) for run in zip(x, y, strict=True)])


def by_loop(x, y, candidates, unit_free, scoring):
    """Every candidate, alpha and fold with scaled columns and explicit predictions."""
    ends = np.cumsum(SPACES)

    def weights_of(runs, gamma, alpha):
        a, b = np.concatenate([x[run] for run in runs]), np.concatenate([y[run] for run in runs])
        variance = [np.sum(a[:, end - size : end] ** 2) for end, size in zip(ends, SPACES, strict=True)]
        scale = np.sqrt(np.repeat(gamma / np.array(variance) if unit_free else gamma, SPACES))
        scaled = a * scale
        penalty = alpha / len(scale) if unit_free else alpha
        return scale[:, np.newaxis] * np.linalg.solve(
            scaled.T @ scaled + penalty * np.eye(len(scale)), scaled.T @ b
        )

    everything = range(len(x))
    scores = np.empty((len(candidates), len(ALPHAS), y[0].shape[1]))
    for g, gamma in enumerate(candidates):
        for a, alpha in enumerate(ALPHAS):
            sums = [
                sums_of_predictions(
                    y[run], x[run] @ weights_of([o for o in everything if o != run], gamma, alpha)
                )
                for run in everything
            ]
            scores[g, a] = {"r": held_out_r, "rsquared": held_out_rsquared}[scoring](sums)
    flat = scores.reshape(-1, y[0].shape[1]).argmax(axis=0)
    gamma_index, alpha_index = np.unravel_index(flat, scores.shape[:2])
    weights = np.stack(
        [
            weights_of(everything, candidates[g], ALPHAS[a])[:, v]
            for v, (g, a) in enumerate(zip(gamma_index, alpha_index, strict=True))
        ],
        axis=1,
    )
    return weights, candidates[gamma_index].T, alpha_index, scores.max(axis=(0, 1))


@pytest.mark.parametrize("unit_free", [True, False])
@pytest.mark.parametrize("scoring", ["r", "rsquared"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_to_a_loop_over_candidates(unit_free, scoring, dtype):
    x, y = some_runs(dtype=dtype)
    whole, folds = statistics_of(x, y)
    candidates = gamma_candidates(3, 12, seed=4)
    fit = solve_banded_ridge(
        whole, folds, SPACES, ALPHAS, candidates,
        n_steps=0, scoring=scoring, unit_free=unit_free, dtype=dtype,
    )  # fmt: skip
    weights, gammas, alpha_index, score = by_loop(
        x, [run.astype(float) for run in y], candidates, unit_free, scoring
    )
    np.testing.assert_allclose(fit.gammas, gammas, atol=1e-12)
    np.testing.assert_array_equal(fit.alpha_index, alpha_index)
    # Columns whose penalty is huge leave a bad condition to the loop's normal equations.
    np.testing.assert_allclose(fit.weights, weights, atol=1e-6)
    np.testing.assert_allclose(fit.inner_score, score, atol=1e-8 if dtype is np.float64 else 1e-5)


@pytest.mark.parametrize("score_name", ["correlation_score", "r2_score"])
def test_equal_to_himalaya_random_search(score_name):
    pytest.importorskip("himalaya")
    from himalaya import scoring
    from himalaya.backend import set_backend
    from himalaya.ridge import GroupRidgeCV
    from sklearn.model_selection import PredefinedSplit

    set_backend("numpy")
    x, y = some_runs(n_targets=30)
    # With responses of unit variance in runs of one length, pooled R2 is the mean of the folds' R2.
    y = [run / run.std(axis=0) for run in y]
    candidates = gamma_candidates(3, 20, seed=1)
    candidates = candidates[(candidates > 1e-8).all(axis=1)]  # himalaya divides by gammas of 0
    whole, folds = statistics_of(x, y)
    name = {"correlation_score": "r", "r2_score": "rsquared"}[score_name]
    fit = solve_banded_ridge(
        whole, folds, SPACES, ALPHAS, candidates, n_steps=0, scoring=name, unit_free=False
    )

    starts = np.cumsum([0, *SPACES])
    stacked = np.concatenate(x)
    peer = GroupRidgeCV(
        groups="input",
        cv=PredefinedSplit(np.repeat(np.arange(3), 40)),
        solver_params={
            "n_iter": candidates,
            "alphas": ALPHAS,
            "score_func": getattr(scoring, score_name),
            "progress_bar": False,
        },
    ).fit([stacked[:, a:b] for a, b in pairwise(starts)], np.concatenate(y))
    np.testing.assert_allclose(fit.inner_score, peer.cv_scores_.max(axis=0), atol=1e-6)
    deltas = np.log(fit.gammas / ALPHAS[fit.alpha_index])
    np.testing.assert_allclose(deltas, peer.deltas_, atol=1e-6)
    np.testing.assert_allclose(fit.weights, peer.coef_, atol=1e-4)


def test_units_of_a_space_do_not_matter():
    x, y = some_runs()
    candidates = gamma_candidates(3, 8)
    changed = [run * np.repeat([1.0, 1000.0, 0.01], SPACES) for run in x]
    first = solve_banded_ridge(*statistics_of(x, y), SPACES, ALPHAS, candidates)
    second = solve_banded_ridge(*statistics_of(changed, y), SPACES, ALPHAS, candidates)
    np.testing.assert_allclose(first.gammas, second.gammas)
    np.testing.assert_array_equal(first.alpha_index, second.alpha_index)
    np.testing.assert_allclose(
        first.weights, second.weights * np.repeat([1.0, 1000.0, 0.01], SPACES)[:, np.newaxis], atol=1e-9
    )


def test_one_space_is_plain_ridge():
    x, y = some_runs()
    banded = solve_banded_ridge(*statistics_of(x, y), [12], ALPHAS, gamma_candidates(1, 10))
    plain = solve_ridge_over_runs(x, y, ALPHAS)
    np.testing.assert_array_equal(banded.alpha_index, plain.alpha_index)
    np.testing.assert_allclose(banded.weights, plain.weights, atol=1e-10)


def test_a_space_of_zeros_and_collinear_spaces_do_no_harm():
    x, y = some_runs()
    for run in x:
        run[:, :3] = 0
        run[:, 8:11] = run[:, 3:6]
    fit = solve_banded_ridge(*statistics_of(x, y), SPACES, ALPHAS, gamma_candidates(3, 10))
    assert np.isfinite(fit.weights).all()
    assert (fit.weights[:3] == 0).all()


def test_voxels_find_the_space_that_they_follow():
    x, y = some_runs(n_targets=30, length=150)
    fit = solve_banded_ridge(*statistics_of(x, y), SPACES, ALPHAS, gamma_candidates(3, 30))
    assert (fit.gammas.argmax(axis=0) == np.repeat([0, 1, 2], 10)).mean() > 0.9
    np.testing.assert_allclose(fit.gammas.sum(axis=0), 1)


def test_refinement_never_lowers_the_score_and_its_choice_is_that_of_a_search():
    x, y = some_runs()
    whole, folds = statistics_of(x, y)
    candidates = gamma_candidates(3, 6)
    coarse = solve_banded_ridge(whole, folds, SPACES, ALPHAS, candidates, n_steps=0)
    fine = solve_banded_ridge(whole, folds, SPACES, ALPHAS, candidates)
    assert (fine.inner_score >= coarse.inner_score).all()
    assert (fine.inner_score > coarse.inner_score + 1e-4).mean() > 0.5
    # What refinement found, given as a candidate with its alpha, has the same score and weights.
    target = int(np.argmax(fine.inner_score - coarse.inner_score))
    again = solve_banded_ridge(
        whole, folds, SPACES, fine.alphas[[target]], fine.gammas[:, [target]].T, n_steps=0
    )
    np.testing.assert_allclose(again.inner_score[target], fine.inner_score[target], atol=1e-8)
    np.testing.assert_allclose(again.weights[:, target], fine.weights[:, target], atol=1e-8)


def test_a_constant_voxel_has_no_weights():
    x, y = some_runs()
    for run in y:
        run[:, 0] = 0
    fit = solve_banded_ridge(*statistics_of(x, y), SPACES, ALPHAS, gamma_candidates(3, 5))
    assert (fit.weights[:, 0] == 0).all()
    assert fit.inner_score[0] == 0
    assert fit.alpha_index[0] == len(ALPHAS) - 1


def test_candidates_are_seeded_and_on_the_simplex():
    candidates = gamma_candidates(3, 50, seed=3)
    np.testing.assert_allclose(candidates.sum(axis=1), 1)
    np.testing.assert_array_equal(candidates, gamma_candidates(3, 50, seed=3))
    np.testing.assert_array_equal(candidates[:4], [[1 / 3] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert len(candidates) == 50


def test_senseless_settings_are_refused():
    x, y = some_runs()
    statistics = statistics_of(x, y)
    for spaces, candidates, more, message in [
        ((3, 5), np.ones((1, 2)) / 2, {}, "sum to 12"),
        (SPACES, np.ones((1, 2)) / 2, {}, "shape"),
        (SPACES, np.ones((1, 3)), {}, "sum to 1"),
        (SPACES, np.ones((1, 3)) / 3, {"scoring": "mse"}, "scoring"),
    ]:
        with pytest.raises(SettingError, match=message):
            solve_banded_ridge(*statistics, spaces, ALPHAS, candidates, **more)
    with pytest.raises(SettingError, match="at least one"):
        gamma_candidates(0, 3)
