"""What refinement does to scores, gammas and held-out predictions; tiles, threads and voxels that are not finite."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cinebold.encoding.solvers.banded_candidates import PreparedBands, gamma_candidates
from cinebold.encoding.solvers.banded_ridge import (
    choose_and_fit_banded,
    leave_one_run_out,
    solve_banded_ridge,
)
from cinebold.encoding.solvers.ridge_path import solve_ridge_over_runs
from cinebold.encoding.statistics import CentredStatistics, accumulate

COLUMNS = {"a": np.arange(0, 24, 2), "b": np.array([1]), "c": np.arange(3, 24, 2)}
ALPHAS = np.logspace(-3, 5, 17)


def some_runs(n_targets=40, length=80, n_runs=4, seed=5, noise=3.0, weight_of_c=0.0):
    """Space c is noise unless it is given a weight; a is important, b, of one column, less."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((24, n_targets))
    weights[COLUMNS["a"]] = rng.normal(size=(12, n_targets))
    weights[1] = 0.7
    weights[COLUMNS["c"]] = weight_of_c * rng.normal(size=(11, n_targets))
    x = [rng.normal(size=(length, 24)) for _ in range(n_runs)]
    y = [run @ weights + noise * rng.normal(size=(length, n_targets)) for run in x]
    return [run - run.mean(axis=0) for run in x], [run - run.mean(axis=0) for run in y], weights


def statistics_of(x, y):
    return leave_one_run_out([accumulate(*run) for run in zip(x, y, strict=True)])


def bands_of(whole, folds, columns=COLUMNS, n_candidates=6, **options):
    grams = [(train.gram, test.gram) for train, test in folds]
    candidates = gamma_candidates(len(columns), n_candidates)
    return PreparedBands(whole.gram, grams, columns, ALPHAS, candidates, **options)


def only(statistics, targets):
    return CentredStatistics(
        statistics.n,
        statistics.mean_x,
        statistics.mean_y[targets],
        statistics.gram,
        statistics.cross[:, targets],
        statistics.total[targets],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scoring", ["r", "rsquared"])
def test_the_inner_score_never_falls(scoring, dtype):
    x, y, _ = some_runs(noise=8.0, weight_of_c=0.3)
    whole, folds = statistics_of(x, y)
    bands = bands_of(whole, folds, scoring=scoring, dtype=dtype)
    scores = [choose_and_fit_banded(whole, folds, bands, n_steps=n).inner_score for n in (0, 1, 3, 10)]
    assert all((score >= scores[0]).all() for score in scores)
    # Another step is taken only where the loss falls, up to the tolerance of the loss on the way.
    assert all((np.diff(scores, axis=0) > -1e-4).ravel())
    assert (scores[-1] > scores[0] + 1e-3).mean() > 0.5


def test_refinement_beats_many_more_candidates():
    x, y, _ = some_runs(weight_of_c=0.3)
    whole, folds = statistics_of(x, y)
    few = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    many = choose_and_fit_banded(whole, folds, bands_of(whole, folds, n_candidates=200), n_steps=0)
    assert few.inner_score.mean() > many.inner_score.mean()
    assert (few.inner_score > many.inner_score - 1e-3).mean() > 0.95


def test_the_end_is_a_minimum_of_the_inner_loss():
    x, y, _ = some_runs(n_targets=6, weight_of_c=0.5)
    whole, folds = statistics_of(x, y)
    fit = choose_and_fit_banded(whole, folds, bands_of(whole, folds), n_steps=30)
    grams = [(train.gram, test.gram) for train, test in folds]
    for voxel in range(6):
        for space in range(3):
            for factor in (0.7, 1.4):
                penalty = fit.gammas[:, voxel] / fit.alphas[voxel]
                penalty[space] *= factor
                gamma, alpha = penalty / penalty.sum(), 1 / penalty.sum()
                bands = PreparedBands(whole.gram, grams, COLUMNS, [alpha], gamma[np.newaxis])
                near = choose_and_fit_banded(whole, folds, bands, n_steps=0)
                assert near.inner_score[voxel] < fit.inner_score[voxel] + 2e-5


def test_a_space_of_noise_is_left_out_and_held_out_scores_beat_plain_ridge():
    x, y, weights = some_runs(length=60, noise=4.0)
    whole, folds = statistics_of(x, y)
    fit = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    assert np.median(fit.gammas[2]) < 0.01
    assert np.median(fit.gammas[0]) > 0.5

    def error(found):
        # Columns are independent and of unit variance: the held-out error without noise.
        return ((found - weights) ** 2).sum(axis=0)

    plain = solve_ridge_over_runs(x, y, ALPHAS)
    coarse = choose_and_fit_banded(whole, folds, bands_of(whole, folds), n_steps=0)
    assert error(fit.weights).mean() < 0.8 * error(plain.weights).mean()
    assert error(fit.weights).mean() < error(coarse.weights).mean()


def test_the_tile_and_the_memory_change_nothing_beyond_rounding():
    x, y, _ = some_runs(weight_of_c=0.3)
    whole, folds = statistics_of(x, y)
    at_once = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    bands = bands_of(whole, folds, memory_bytes=30_000)
    for start in range(0, 40, 7):
        tile = slice(start, start + 7)
        pairs = [(only(train, tile), only(test, tile)) for train, test in folds]
        fit = choose_and_fit_banded(only(whole, tile), pairs, bands)
        np.testing.assert_allclose(fit.weights, at_once.weights[:, tile], atol=1e-9)
        np.testing.assert_allclose(fit.gammas, at_once.gammas[:, tile], atol=1e-9)
        np.testing.assert_array_equal(fit.alpha_index, at_once.alpha_index[tile])
        np.testing.assert_allclose(fit.inner_score, at_once.inner_score[tile], atol=1e-9)


def test_threads_change_no_byte(monkeypatch):
    x, y, _ = some_runs()
    whole, folds = statistics_of(x, y)
    monkeypatch.setattr("cinebold.encoding.solvers.banded_ridge._REFINED", 8)
    one = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    three = choose_and_fit_banded(whole, folds, bands_of(whole, folds, n_threads=3), n_threads=3)
    for name in ("weights", "gammas", "alphas", "alpha_index", "inner_score"):
        assert getattr(one, name).tobytes() == getattr(three, name).tobytes()


def test_tiles_in_threads_share_what_was_prepared():
    x, y, _ = some_runs()
    whole, folds = statistics_of(x, y)
    bands = bands_of(whole, folds, memory_bytes=30_000)

    def fit(start):
        tile = slice(start, start + 10)
        return choose_and_fit_banded(
            only(whole, tile), [(only(train, tile), only(test, tile)) for train, test in folds], bands
        )

    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(fit, range(0, 40, 10)))
    for start, found in zip(range(0, 40, 10), at_once, strict=True):
        alone = fit(start)
        assert alone.weights.tobytes() == found.weights.tobytes()
        assert alone.gammas.tobytes() == found.gammas.tobytes()


def test_no_thread_is_started_where_one_is_asked_for(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a thread pool was opened")

    monkeypatch.setattr("cinebold.encoding.solvers.banded_candidates.ThreadPoolExecutor", refuse)
    x, y, _ = some_runs(n_targets=3)
    whole, folds = statistics_of(x, y)
    choose_and_fit_banded(whole, folds, bands_of(whole, folds))


def test_voxels_that_are_not_finite_or_constant_touch_no_other():
    x, y, _ = some_runs(n_targets=8)
    whole, folds = statistics_of(x, y)
    clean = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    for run in y:
        run[:, 2] = np.nan
        run[:, 5] = 0
    whole, folds = statistics_of(x, y)
    fit = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    others = [0, 1, 3, 4, 6, 7]
    np.testing.assert_allclose(fit.weights[:, others], clean.weights[:, others], atol=1e-9)
    np.testing.assert_allclose(fit.inner_score[others], clean.inner_score[others], atol=1e-9)
    assert np.isnan(fit.weights[:, 2]).all() and fit.inner_score[2] == 0
    assert (fit.weights[:, 5] == 0).all()
    assert fit.inner_score[5] == 0 and fit.alpha_index[5] == len(ALPHAS) - 1


def test_one_space_is_plain_ridge_on_the_grid():
    x, y, _ = some_runs()
    whole, folds = statistics_of(x, y)
    fit = choose_and_fit_banded(whole, folds, bands_of(whole, folds, {"all": np.arange(24)}))
    plain = solve_ridge_over_runs(x, y, ALPHAS)
    np.testing.assert_array_equal(fit.alpha_index, plain.alpha_index)
    np.testing.assert_array_equal(fit.alphas, ALPHAS[plain.alpha_index])
    np.testing.assert_allclose(fit.weights, plain.weights, atol=1e-10)


def test_spaces_that_are_copies_of_each_other_are_harmless():
    x, y, _ = some_runs()
    for run in x:
        run[:, COLUMNS["c"]] = run[:, COLUMNS["a"][:11]]
    whole, folds = statistics_of(x, y)
    fit = choose_and_fit_banded(whole, folds, bands_of(whole, folds))
    coarse = choose_and_fit_banded(whole, folds, bands_of(whole, folds), n_steps=0)
    assert np.isfinite(fit.weights).all()
    assert (fit.inner_score >= coarse.inner_score).all()
    np.testing.assert_allclose(fit.gammas.sum(axis=0), 1)


def test_alphas_of_zero_are_not_refined():
    x, y, _ = some_runs(noise=0.01)
    whole, folds = statistics_of(x, y)
    fit = solve_banded_ridge(whole, folds, [12, 12], [0.0], gamma_candidates(2, 1))
    assert (fit.alphas == 0).all()
    np.testing.assert_allclose(
        fit.weights, np.linalg.lstsq(np.concatenate(x), np.concatenate(y), rcond=None)[0], atol=1e-8
    )
