"""Products from one reading of Y against sums in double precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.encoding import one_pass, statistics
from cinebold.encoding.one_pass import products_in_one_pass, serves


def some_runs(n_samples, n_features, n_targets, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_samples, n_features))
    return x, rng.standard_normal((n_samples, n_targets), dtype=np.float32)


def in_double(x, y):
    wide = y.astype(np.float64)
    return x.astype(np.float32).astype(np.float64).T @ wide, wide.sum(axis=0), (wide**2).sum(axis=0)


@settings(deadline=None, max_examples=60)
@given(
    n_samples=st.one_of(st.integers(1, 40), st.integers(250, 260), st.integers(510, 520)),
    n_features=st.integers(1, 40),
    n_targets=st.one_of(st.integers(1, 70), st.integers(250, 300), st.just(512)),
    first=st.integers(0, 40),
)
def test_products_equal_those_in_double_precision(n_samples, n_features, n_targets, first):
    x, wide = some_runs(n_samples, n_features, first + n_targets + 5)
    y = wide[:, first : first + n_targets]
    for found, expected in zip(products_in_one_pass(x, y), in_double(x, y), strict=True):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=2e-6 * n_samples)


def test_a_column_does_not_depend_on_its_neighbours():
    x, y = some_runs(300, 20, 700)
    xy, sums, squares = products_in_one_pass(x, y)
    y_bad = y.copy()
    y_bad[5, 300] = np.nan
    for first, last in ((0, 700), (1, 700), (37, 400), (256, 257)):
        part = products_in_one_pass(x, y[:, first:last])
        for own, whole in zip(part, (xy[:, first:last], sums[first:last], squares[first:last]), strict=True):
            np.testing.assert_array_equal(own, whole)
    spoilt, *_ = products_in_one_pass(x, y_bad)
    assert np.isnan(spoilt[:, 300]).all()
    np.testing.assert_array_equal(np.delete(spoilt, 300, axis=1), np.delete(xy, 300, axis=1))


def test_it_reads_neighbours_in_memory_in_single_precision_only(monkeypatch):
    _, y = some_runs(8, 2, 2000)
    for has_wide_vectors in (True, False):
        monkeypatch.setattr(one_pass, "_has_wide_vectors", lambda has=has_wide_vectors: has)
        assert serves(y) == serves(y[:, 3:90]) == serves(y[::2]) == has_wide_vectors
        assert not serves(y[:, ::2])
        assert not serves(np.asfortranarray(y))
        assert not serves(y.astype(np.float64))


@pytest.mark.parametrize("has_wide_vectors", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_statistics_in_single_precision_are_the_same_on_every_processor(
    monkeypatch, has_wide_vectors, turned
):
    monkeypatch.setattr(one_pass, "_has_wide_vectors", lambda: has_wide_vectors)
    x, y = some_runs(400, 15, statistics._WORTH_COMPILING + 30)
    expected = statistics.accumulate(x, y)
    found = statistics.accumulate(x, np.asfortranarray(y) if turned else y, dtype=np.float32)
    for name in ("sum_x", "sum_y", "xx", "xy", "yy"):
        values = getattr(found, name)
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, getattr(expected, name), rtol=3e-6, atol=1e-4)
