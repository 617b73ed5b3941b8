"""Banded ridge on a device against its random search on the CPU."""

import numpy as np
import pytest

from cinebold.encoding.gpu.banded_ridge import choose_and_fit_banded
from cinebold.encoding.solvers import banded_ridge
from cinebold.encoding.solvers.banded_candidates import PreparedBands, gamma_candidates
from cinebold.encoding.solvers.banded_ridge import leave_one_run_out
from cinebold.encoding.statistics import accumulate

ALPHAS = np.logspace(-2, 3, 7)


def some_statistics(empty=False, n_targets=30):
    rng = np.random.default_rng(3)
    scale = np.repeat([1.0, 30.0, 0.0 if empty else 0.1], (4, 3, 5))
    weights = rng.normal(size=(12, n_targets)) * (rng.random((12, n_targets)) < 0.4)
    runs = []
    for n in (40, 45, 50):
        x = rng.normal(size=(n, 12))
        runs.append(accumulate(x * scale, x @ weights + 2 * rng.normal(size=(n, n_targets))))
    return leave_one_run_out(runs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("options", [{}, {"scoring": "r"}, {"unit_free": False}])
@pytest.mark.parametrize("empty", [False, True], ids=["three spaces", "one of zeros"])
def test_equal_to_the_search_on_the_cpu(torch_device, monkeypatch, dtype, tolerance, options, empty):
    monkeypatch.setattr("cinebold.encoding.gpu.banded_ridge._NUMBERS", 3 * 144 * 5)  # five candidates at once
    whole, folds = some_statistics(empty)
    columns = {"a": np.arange(4), "b": np.arange(4, 7), "c": np.arange(7, 12)}
    candidates = gamma_candidates(3, 12)  # each space alone is among them
    grams = [(train.gram, test.gram) for train, test in folds]
    bands = PreparedBands(whole.gram, grams, columns, ALPHAS, candidates, dtype=dtype, **options)
    expected = banded_ridge.choose_and_fit_banded(whole, folds, bands, n_steps=0)
    found = choose_and_fit_banded(whole, folds, bands, device=torch_device, voxel_tile=8)
    np.testing.assert_allclose(found.inner_score, expected.inner_score, atol=tolerance)
    same = (found.gammas == expected.gammas).all(axis=0) & (found.alpha_index == expected.alpha_index)
    # In float32 two candidates may be nearer to each other than rounding.
    assert same.mean() > (0.9 if dtype is np.float32 else 0.999)
    assert len(np.unique(expected.gammas, axis=1).T) > 2
    np.testing.assert_allclose(
        found.weights[:, same], expected.weights[:, same], atol=tolerance * np.abs(expected.weights).max()
    )
    np.testing.assert_array_equal(found.alphas, ALPHAS[found.alpha_index])
