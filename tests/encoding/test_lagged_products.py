"""Lagged products against the columns written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.design.delays import delayed
from cinebold.encoding.lagged_products import lagged_grams


def written_out(columns, delays, rows, nuisance=None):
    x = delayed(np.asarray(columns, dtype=np.float64), delays)
    if nuisance is not None:
        x = x - nuisance @ (nuisance.T @ x)
    return x[rows].T @ x[rows]


def assert_equal(found, expected):
    """To 1e-10 of the columns' lengths, entry by entry."""
    length = np.sqrt(np.maximum(np.diag(expected), np.finfo(float).tiny))
    assert np.abs((found - expected) / length / length[:, np.newaxis]).max() < 1e-10


@settings(deadline=None, max_examples=60)
@given(
    n_volumes=st.integers(1, 40),
    delays=st.lists(st.integers(0, 45), min_size=1, max_size=5, unique=True),
    n_nuisance=st.integers(0, 5),
    share=st.sampled_from([1.0, 0.9, 0.5]),
    seed=st.integers(0, 1000),
)
def test_every_cell_is_that_of_the_columns_written_out(n_volumes, delays, n_nuisance, share, seed):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(n_volumes, 3)) * (1.0, 1e-4, 1e4)
    nuisance = None
    if 0 < n_nuisance < n_volumes - 4:
        nuisance = np.linalg.qr(rng.normal(size=(n_volumes, n_nuisance)))[0]
    chosen = rng.random(n_volumes) < share
    cells = [np.flatnonzero(chosen), np.flatnonzero(~chosen)]
    for rows, found in zip(cells, lagged_grams(columns, delays, cells, nuisance), strict=True):
        expected = written_out(columns, delays, rows, nuisance)
        length = np.sqrt(np.diag(written_out(columns, delays, np.arange(n_volumes))))
        np.testing.assert_allclose(found, expected, atol=1e-10 * length.max() ** 2)
        assert np.abs(found - expected).max(initial=0) <= 1e-10 * np.outer(length, length).max(initial=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("delays", [(0,), (1, 2, 3, 4), (0, 3, 5), (4, 1), (7, 11)])
def test_a_long_run_with_nuisance(dtype, delays):
    rng = np.random.default_rng(0)
    columns = np.cumsum(rng.normal(size=(300, 6)), axis=0).astype(dtype)
    nuisance = np.linalg.qr(np.column_stack([np.ones(300), np.arange(300), rng.normal(size=(300, 9))]))[0]
    cells = [np.arange(0, 150), np.arange(160, 300), np.arange(150, 160)]
    for rows, found in zip(cells, lagged_grams(columns, delays, cells, nuisance), strict=True):
        assert_equal(found, written_out(columns, delays, rows, nuisance))


def test_energy_at_the_edges_loses_no_digits():
    """A column that is all but zero except in its last volumes, which some delays never reach."""
    rng = np.random.default_rng(0)
    columns = 1e-8 * rng.normal(size=(100, 2))
    columns[-3:] = 1e8
    columns[0] = 1e8
    (found,) = lagged_grams(columns, (0, 1, 2, 3, 4), [np.arange(5, 100)])
    expected = written_out(columns, (0, 1, 2, 3, 4), np.arange(5, 100))
    assert_equal(found, expected)


@pytest.mark.parametrize("left", [1e-2, 1e-5, 1e-7])
def test_a_column_that_the_nuisance_all_but_explains_loses_no_digits(left):
    rng = np.random.default_rng(0)
    nuisance = np.linalg.qr(rng.normal(size=(200, 3)))[0]
    columns = nuisance @ rng.normal(size=(3, 2)) + left * rng.normal(size=(200, 2)) / 14
    rows = np.arange(200)
    (found,) = lagged_grams(columns, (0,), [rows], nuisance)
    x = columns - nuisance @ (nuisance.T @ columns)
    x -= nuisance @ (nuisance.T @ x)  # the reference, projected twice
    expected = x.T @ x
    length = np.sqrt(np.diag(expected))
    # What is left of a column is known to eps / left, whatever is done.
    assert np.abs((found - expected) / np.outer(length, length)).max() < max(1e-10, 10 * 2.2e-16 / left)


def test_no_row_is_no_sum():
    (found,) = lagged_grams(np.ones((5, 2)), (0, 1), [np.zeros(0, dtype=int)])
    np.testing.assert_array_equal(found, np.zeros((4, 4)))
