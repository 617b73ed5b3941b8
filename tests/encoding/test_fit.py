"""The whole fit against a plain nested loop over scikit-learn, and the rules that make it trustworthy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Lasso, Ridge
from sklearn.preprocessing import StandardScaler

from cinebold.design.delays import delayed
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.training import train
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import InputError, SettingError

ALPHAS = (0.01, 0.1, 1.0, 10.0)
#: At 1 and beyond the LASSO is silent: more than one such alpha would be a tie.
GRIDS = {"ridge": ALPHAS, "lasso": (0.01, 0.05, 0.3, 1.0)}
PLAIN = EncodingSettings(alphas=ALPHAS, n_permutations=0)


def centred_by_hand(x, y):
    return np.concatenate([run - run.mean(axis=0) for run in x]), np.concatenate(
        [run - run.mean() for run in y]
    )


def alpha_max_by_hand(x, y):
    """The least LASSO alpha that silences the target; alphas of inner folds are shares of the whole training set's."""
    x, y = centred_by_hand(x, y)
    return np.abs(x.T @ y).max() / len(x)


def fit_by_hand(x, y, alpha, estimator, alpha_max):
    """One target, runs centred on their own means; alpha in the unit-free sense of the settings."""
    x, y = centred_by_hand(x, y)
    if estimator == "ridge":
        return Ridge(alpha * np.trace(x.T @ x) / x.shape[1], fit_intercept=False).fit(x, y).coef_
    return Lasso(alpha * alpha_max, fit_intercept=False, tol=1e-8, max_iter=100_000).fit(x, y).coef_


def rsquared_by_hand(pairs):
    error = sum((((y - y.mean()) - (p - p.mean())) ** 2).sum() for y, p in pairs)
    return 1 - error / sum(((y - y.mean()) ** 2).sum() for y, _ in pairs)


def choose_alpha_by_hand(x, y, rows, estimator):
    """x, y, rows: per run; rows[i][j]: the rows of run j to train on when run i is left out (None: all)."""
    scores = []
    alpha_max = alpha_max_by_hand(x, y)
    for alpha in GRIDS[estimator]:
        pairs = []
        for left_out in range(len(x)):
            others = [run for run in range(len(x)) if run != left_out]
            weights = fit_by_hand(
                [x[run][rows[run]] for run in others],
                [y[run][rows[run]] for run in others],
                alpha,
                estimator,
                alpha_max,
            )
            pairs.append((y[left_out], x[left_out] @ weights))
        scores.append(rsquared_by_hand(pairs))
    return GRIDS[estimator][int(np.argmax(scores))]


def columns_by_hand(designs, training_rows, pca):
    """Delayed scores of all runs, with scaler and PCA of the training rows; equal delays of (1, 2)."""
    columns = [[] for _ in designs]
    for space in designs[0].features:
        stacked = np.concatenate([design.features[space][rows] for design, rows in training_rows])
        scaler = StandardScaler().fit(stacked)
        reducer = PCA(pca, svd_solver="full").fit(scaler.transform(stacked))
        unit = np.sqrt(reducer.transform(scaler.transform(stacked)).var(axis=0).sum())
        for run, design in enumerate(designs):
            columns[run].append(reducer.transform(scaler.transform(design.features[space])) / unit)
    return [delayed(np.concatenate(scores, axis=1), (1, 2)) for scores in columns]


@pytest.mark.parametrize("estimator", ["ridge", "lasso"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spaces", [("a",), ("a", "b")])
@pytest.mark.parametrize("clip", [0, 15])
def test_nested_leave_one_run_out_equals_a_plain_loop(simulate_runs, estimator, dtype, spaces, clip):
    designs, responses = simulate_runs((50, 60, 55, 45), n_targets=8, spaces=spaces, clip=clip, dtype=dtype)
    settings = replace(PLAIN, estimator=estimator, alphas=GRIDS[estimator], pca=0.8)
    result = fit_encoding_model(designs, responses, settings, (1, 2))
    # With a clip that all runs share, every held-out run takes it (and what its design touches) out of
    # training.
    rows = [slice(0, design.n_volumes - clip) for design in designs]
    for target in range(8):
        pairs = []
        for left_out in range(4):
            others = [run for run in range(4) if run != left_out]
            x = columns_by_hand(designs, [(designs[run], rows[run]) for run in others], 0.8)
            y = [response[:, target].astype(np.float64) for response in responses]
            trained = [x[run][rows[run]] for run in others], [y[run][rows[run]] for run in others]
            alpha = choose_alpha_by_hand(*trained, [slice(None)] * 3, estimator)
            weights = fit_by_hand(*trained, alpha, estimator, alpha_max_by_hand(*trained))
            pairs.append((y[left_out], x[left_out] @ weights))
        sums = [sums_of_predictions(a[:, None], b[:, None]) for a, b in pairs]
        tolerance = 1e-6 if estimator == "ridge" else 1e-3
        assert result.maps["r"][target] == pytest.approx(held_out_r(sums)[0], abs=tolerance)
        assert result.maps["rsquared"][target] == pytest.approx(held_out_rsquared(sums)[0], abs=tolerance)

        x = columns_by_hand(designs, [(design, slice(None)) for design in designs], 0.8)
        assert result.maps["alpha"][target] == np.float32(choose_alpha_by_hand(x, y, rows, estimator))
        weights = fit_by_hand(x, y, float(result.maps["alpha"][target]), estimator, alpha_max_by_hand(x, y))
        prediction = result.model.predict(designs[0].features)[:, target]
        np.testing.assert_allclose(np.diff(prediction), np.diff(x[0] @ weights), atol=100 * tolerance)


@pytest.mark.parametrize("estimator", ["ridge", "lasso"])
def test_a_poisoned_held_out_run_changes_no_trained_number(simulate_runs, estimator):
    designs, responses = simulate_runs(clip=10)
    settings = replace(PLAIN, estimator=estimator)
    stacked = np.concatenate(responses)

    def trained(designs, stacked, fold):
        rows = stack_rows(designs, (1, 2))
        prepared = prepare_training(outer_folds(rows, 2)[fold], rows, designs, (1, 2), settings)
        with np.errstate(invalid="ignore"):
            return prepared, train(prepared, stacked, ALPHAS)

    for fold in range(3):
        in_run = np.repeat([0, 1, 2], [60, 70, 80]) == fold
        poisoned_designs = list(designs)
        poisoned_designs[fold] = replace(designs[fold], features={"a": np.full((in_run.sum(), 6), np.nan)})
        poisoned = np.where(in_run[:, None], np.nan, stacked)
        prepared, clean = trained(designs, stacked, fold)
        prepared_poisoned, dirty = trained(poisoned_designs, poisoned, fold)
        np.testing.assert_array_equal(dirty.weights, clean.weights)
        np.testing.assert_array_equal(dirty.alpha_index, clean.alpha_index)
        for name in ("mean", "scale", "components", "unit"):
            np.testing.assert_array_equal(
                getattr(prepared_poisoned.reducers["a"], name), getattr(prepared.reducers["a"], name)
            )


def test_the_rows_of_a_shared_film_in_other_runs_change_no_trained_number_either(simulate_runs):
    designs, responses = simulate_runs(clip=10)
    rows = stack_rows(designs, (1, 2))
    prepared = prepare_training(outer_folds(rows, 2)[0], rows, designs, (1, 2), PLAIN)
    stacked = np.concatenate(responses)
    poisoned = np.where(rows.shows[:, [rows.film_ids.index("clip")]], np.nan, stacked)
    np.testing.assert_array_equal(
        train(prepared, poisoned, ALPHAS).weights, train(prepared, stacked, ALPHAS).weights
    )


@pytest.mark.parametrize("estimator", ["ridge", "lasso"])
def test_the_order_of_runs_and_the_tile_change_nothing(simulate_runs, estimator):
    designs, responses = simulate_runs(clip=14, dtype=np.float32)
    settings = replace(PLAIN, estimator=estimator, n_permutations=50)
    result = fit_encoding_model(designs, responses, settings, (1, 2))
    reordered = fit_encoding_model(designs[::-1], responses[::-1], settings, (1, 2))
    tiled = fit_encoding_model(designs, responses, replace(settings, voxel_tile=7), (1, 2))
    assert list(result.maps) == ["r", "rsquared", "alpha", "p", "pfwe", "q", "z", "noiseceiling", "rnorm"]
    for name, values in result.maps.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(reordered.maps[name], values)
        np.testing.assert_allclose(tiled.maps[name], values, atol=1e-6)
    np.testing.assert_array_equal(reordered.model.weights["a"], result.model.weights["a"])
    np.testing.assert_allclose(tiled.model.weights["a"], result.model.weights["a"], atol=1e-6)
    assert json.loads(json.dumps(result.diagnostics, allow_nan=False)) == reordered.diagnostics


def test_planted_voxels_are_found_and_noise_is_not(simulate_runs):
    designs, responses = simulate_runs((120, 120, 120), n_targets=200, autocorrelation=0.4, clip=20)
    result = fit_encoding_model(designs, responses, EncodingSettings(n_permutations=200), (1, 2))
    planted = np.arange(200) < 100
    # Half of the variance is signal: no model can exceed r = .71.
    assert 0.9 * np.sqrt(0.5) < result.maps["r"][planted].mean() < np.sqrt(0.5)
    assert abs(result.maps["r"][~planted].mean()) < 0.02
    found = result.maps["q"] <= 0.05
    assert found[planted].mean() > 0.95
    assert (found & ~planted).sum() <= 0.05 * found.sum()
    assert result.maps["noiseceiling"][planted].mean() == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert [fold["n_excluded_same_film"] for fold in result.diagnostics["folds"]] == [40, 40, 40]


def test_constant_and_broken_voxels_are_nan_and_counted(simulate_runs):
    designs, responses = simulate_runs()
    responses[0][:, 3] = np.nan
    responses[2][:, 8] = 0.1
    responses[1][5, 9] = np.inf
    result = fit_encoding_model(designs, responses, replace(PLAIN, n_permutations=30, voxel_tile=4), (1, 2))
    lost = [3, 8, 9]
    for values in [*result.maps.values(), result.model.weights["a"], result.model.intercept]:
        assert np.isnan(values[..., lost]).all()
        assert np.isfinite(np.delete(values, lost, axis=-1)).all()
    assert result.diagnostics["n_targets_not_finite"] == 3
    assert any("3 of 40 targets are constant or not finite" in warning for warning in result.warnings)


def test_censored_rows_do_not_count_but_feed_the_delays(simulate_runs):
    designs, responses = simulate_runs(signal=3.0)
    keep = np.ones(60, dtype=bool)
    keep[20:25] = False
    designs[0] = replace(designs[0], keep=keep)
    clean = fit_encoding_model(designs, responses, replace(PLAIN, n_permutations=20), (1, 2))
    responses[0][20:25] = np.nan
    dirty = fit_encoding_model(designs, responses, replace(PLAIN, n_permutations=20), (1, 2))
    for name, values in clean.maps.items():
        np.testing.assert_array_equal(dirty.maps[name], values)
    assert clean.maps["r"][:20].min() > 0.85


def test_two_runs_are_enough_and_one_is_not(simulate_runs):
    designs, responses = simulate_runs((100, 110))
    result = fit_encoding_model(designs, responses, PLAIN, (1, 2))
    assert result.maps["r"][:20].mean() > 0.55
    assert result.diagnostics["folds"][0]["inner_scheme"] == "blocks"
    assert result.diagnostics["final"]["inner_scheme"] == "leave-one-run-out"
    with pytest.raises(InputError, match="No fold is possible with one run"):
        fit_encoding_model(designs[:1], responses[:1], PLAIN, (1, 2))


def test_more_columns_than_rows(simulate_runs):
    designs, responses = simulate_runs((30, 30, 30), n_features=60, n_targets=6)
    result = fit_encoding_model(designs, responses, replace(PLAIN, pca=None), (1, 2))
    assert all(np.isfinite(values).all() for values in result.maps.values())


def test_a_grid_that_is_too_narrow_is_told(simulate_runs):
    designs, responses = simulate_runs(signal=3.0)
    result = fit_encoding_model(designs, responses, replace(PLAIN, alphas=(3.0, 1000.0)), (1, 2))
    assert any("choose the least alpha of the grid (3)" in warning for warning in result.warnings)
    noisier = fit_encoding_model(*simulate_runs(), replace(PLAIN, alphas=None), (1, 2))
    assert not noisier.warnings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, y: (d, [y[0], y[1], y[2][:, :-1]]), "same mask"),
        (lambda d, y: (d, [y[0][:-1], *y[1:]]), "expected .60, n_targets."),
        (lambda d, y: (d, y[:2]), "one of each"),
        (lambda d, y: ([d[0], replace(d[1], tr_s=2.0), d[2]], y), "must share it"),
        (lambda d, y: ([d[0], replace(d[1], label="run-0"), d[2]], y), "label of its own"),
        (
            lambda d, y: ([d[0], replace(d[1], features={"z": d[1].features["a"]}), d[2]], y),
            "other feature spaces",
        ),
        (
            lambda d, y: ([replace(d[0], features={"a": d[0].features["a"] * np.nan}), *d[1:]], y),
            "not all finite",
        ),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(simulate_runs, change, message):
    with pytest.raises(InputError, match=message):
        fit_encoding_model(*change(*simulate_runs()), PLAIN, (1, 2))


@pytest.mark.parametrize(
    "fields", [{"alphas": ()}, {"alphas": (-1.0,)}, {"pca": 0.0}, {"pca": 2.5}, {"q": 0.0}, {"voxel_tile": 0}]
)
def test_senseless_settings_are_refused(fields):
    with pytest.raises(SettingError):
        EncodingSettings(**fields)


def test_an_unknown_estimator_is_refused(simulate_runs):
    with pytest.raises(SettingError, match="ridge, banded_ridge, lasso"):
        fit_encoding_model(*simulate_runs(), replace(PLAIN, estimator="forest"), (1, 2))
