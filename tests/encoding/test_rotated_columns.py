"""More columns than training rows: rotated to the rows' span, which changes nothing but the time."""

from dataclasses import replace

import numpy as np
import pytest
from himalaya.kernel_ridge import KernelRidge

from cinebold.encoding import training_sets
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.folds import outer_folds
from cinebold.encoding.rows import stack_rows
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.training import train
from cinebold.encoding.training_sets import prepare_training
from cinebold.errors import InputError

WIDE = EncodingSettings(pca=None, alphas=(0.01, 0.1, 1.0, 10.0), n_permutations=50)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [0, 8])
@pytest.mark.parametrize("estimator", ["ridge", "ols"])
def test_the_dual_path_gives_what_the_primal_gives(simulate_runs, monkeypatch, dtype, clip, estimator):
    designs, responses = simulate_runs((40, 45, 50), n_features=150, n_targets=12, clip=clip, dtype=dtype)
    settings = replace(WIDE, estimator=estimator, alphas=None if estimator == "ols" else WIDE.alphas)
    dual = fit_encoding_model(designs, responses, settings, (1, 2))
    assert dual.diagnostics["final"]["dual"] and dual.diagnostics["final"]["n_columns"] == 300
    monkeypatch.setattr(training_sets, "_rotation", lambda *_: None)
    primal = fit_encoding_model(designs, responses, settings, (1, 2))
    assert not primal.diagnostics["final"]["dual"]
    for name, values in primal.maps.items():
        np.testing.assert_allclose(dual.maps[name], values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dual.model.weights["a"], primal.model.weights["a"], atol=1e-5)
    np.testing.assert_allclose(
        dual.model.predict(designs[0].features), primal.model.predict(designs[0].features), atol=1e-4
    )


def test_the_rotated_weights_are_those_of_himalaya(simulate_runs):
    designs, responses = simulate_runs((40, 45, 50), n_features=150, n_targets=5)
    rows = stack_rows(designs, (1,))
    settings = replace(WIDE, alpha_unit="absolute")
    y = np.concatenate(responses)
    for fold in outer_folds(rows, 1):
        prepared = prepare_training(fold, rows, designs, (1,), settings)
        # The first volume of a run has no past: its row is zero.
        assert prepared.rotation.shape == (150, fold.train.sum() - 2)
        weights = prepared.rotation @ train(prepared, y, (3.0,)).weights
        x = np.concatenate(
            [
                run - run.mean(axis=0)
                for index in np.unique(rows.run[fold.train])
                for run in [(prepared.features @ prepared.rotation.T)[rows.run == index]]
            ]
        )
        centred = np.concatenate(
            [y[rows.run == i] - y[rows.run == i].mean(axis=0) for i in np.unique(rows.run[fold.train])]
        )
        theirs = KernelRidge(alpha=3.0, kernel="linear").fit(x, centred).get_primal_coef()
        np.testing.assert_allclose(weights, theirs, atol=1e-6)


def test_a_poisoned_held_out_run_does_not_reach_the_rotation(simulate_runs):
    designs, responses = simulate_runs((40, 45, 50), n_features=150, n_targets=5)
    rows = stack_rows(designs, (1, 2))
    y = np.concatenate(responses)
    fold = outer_folds(rows, 2)[1]
    clean = prepare_training(fold, rows, designs, (1, 2), WIDE)
    designs[1] = replace(designs[1], features={"a": np.full((45, 150), np.nan)})
    dirty = prepare_training(fold, rows, designs, (1, 2), WIDE)
    np.testing.assert_array_equal(dirty.rotation, clean.rotation)
    poisoned = np.where(fold.train[:, None], y, np.nan)
    np.testing.assert_array_equal(
        train(dirty, poisoned, WIDE.alphas).weights, train(clean, y, WIDE.alphas).weights
    )


def test_spaces_are_told_apart_without_a_rotation(simulate_runs):
    designs, responses = simulate_runs((40, 45, 50), n_features=60, n_targets=5, spaces=("a", "b"))
    result = fit_encoding_model(designs, responses, replace(WIDE, variance_partitioning=True), (1, 2))
    assert not result.diagnostics["final"]["dual"]
    np.testing.assert_allclose(
        result.maps["product_desc-a"] + result.maps["product_desc-b"], result.maps["rsquared"], atol=1e-6
    )


def test_features_that_are_not_finite_are_told_before_they_are_rotated(simulate_runs):
    designs, _ = simulate_runs((40, 45, 50), n_features=150, n_targets=5)
    rows = stack_rows(designs, (1,))
    fold = outer_folds(rows, 1)[0]
    designs[1].features["a"][3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        prepare_training(fold, rows, designs, (1,), WIDE)
