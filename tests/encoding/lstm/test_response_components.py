"""Components of the training responses against a singular value decomposition."""

import numpy as np
import pytest

from cinebold.encoding.lstm import response_components as module
from cinebold.encoding.lstm.response_components import response_components
from cinebold.encoding.rows import stack_rows
from cinebold.errors import InputError


def by_hand(responses, train, centre_runs):
    """(n_training_rows, rank) scores, up to signs."""
    y = [run[rows].astype(np.float64) for run, rows in zip(responses, train, strict=True) if rows.any()]
    y = np.concatenate([run - run.mean(axis=0) for run in y] if centre_runs else y)
    y = y - y.mean(axis=0)
    u, s, _ = np.linalg.svd(y / y.std(axis=0), full_matrices=False)
    return u * s


@pytest.fixture
def case(simulate_runs):
    designs, responses = simulate_runs((50, 60, 55), n_targets=12, signal=3.0)
    rows = stack_rows(designs, (1, 2))
    train = rows.used & (rows.run != 1) & (np.random.default_rng(0).random(len(rows)) < 0.9)
    return responses, rows, train


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centre_runs", [True, False])
@pytest.mark.parametrize("tile", [2048, 5])
def test_all_components_are_those_of_a_decomposition(case, dtype, centre_runs, tile, monkeypatch):
    responses, rows, train = case
    monkeypatch.setattr(module, "_TILE", tile)
    # Raw BOLD is far from 0, and its runs are at different levels.
    responses = [(1000 + 50 * run + 20 * own).astype(dtype) for run, own in enumerate(responses)]
    scores = response_components(responses, rows, train, 100, centre_runs=centre_runs)
    expected = by_hand(responses, [train[rows.run == run] for run in range(3)], centre_runs)
    assert scores.shape == (len(rows), 12)
    assert not scores[~train].any()
    np.testing.assert_allclose(np.abs(scores[train]), np.abs(expected), atol=0.02)
    np.testing.assert_allclose(scores[train] @ scores[train].T, expected @ expected.T, atol=2e-2)


def test_leading_components_of_many_voxels(simulate_runs):
    designs, responses = simulate_runs((80, 90), n_targets=600, n_features=2, delays=(1,), signal=5.0)
    rows = stack_rows(designs, (1,))
    scores = response_components(responses, rows, rows.used, 2)
    expected = by_hand(responses, [np.ones(80, bool), np.ones(90, bool)], True)[:, :2]
    correlations = np.abs(np.corrcoef(scores[rows.used].T, expected.T)[:2, 2:])
    np.testing.assert_allclose(np.diag(correlations), 1, atol=1e-4)


def test_other_rows_and_useless_voxels_change_nothing(case):
    responses, rows, train = case
    clean = response_components(responses, rows, train, 6)
    poisoned = [np.where(train[rows.run == run][:, None], own, np.nan) for run, own in enumerate(responses)]
    np.testing.assert_array_equal(response_components(poisoned, rows, train, 6), clean)
    more = [np.concatenate([own, np.full((len(own), 3), 7.0)], axis=1) for own in responses]
    more[0][:, -1] = np.nan
    more[2][3, -2] = np.inf
    np.testing.assert_allclose(response_components(more, rows, train, 6), clean, atol=1e-4)
    with pytest.raises(InputError, match="nothing to fit"):
        response_components([own[:, -3:] for own in more], rows, train, 6)
