"""Decompositions that are kept or made again; what is refused."""

import numpy as np
import pytest

from cinebold.encoding.solvers.banded_candidates import PreparedBands, gamma_candidates
from cinebold.errors import SettingError


def grams(n_columns=6, seed=1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4, 20, n_columns))
    return [run.T @ run for run in rows]


def bands(columns, candidates, **options):
    whole, train, *rest = grams()
    return PreparedBands(whole, [(train, rest[0]), (rest[1], rest[0])], columns, [1.0], candidates, **options)


def test_memory_is_bounded_and_changes_nothing():
    columns, candidates = {"a": np.array([0, 2, 4]), "b": np.array([1, 3, 5])}, gamma_candidates(2, 8)
    size = 36 * 8 * 5  # the whole's basis, and a basis and a triangle of two folds
    kept, some = bands(columns, candidates), bands(columns, candidates, memory_bytes=3 * size)
    assert len(kept._of_folds) == len(kept._of_whole) == 8
    assert len(some._of_folds) == len(some._of_whole) == 3
    for index in range(8):
        np.testing.assert_array_equal(kept.of_whole(index).basis, some.of_whole(index).basis)
        for (first, root), (second, other) in zip(kept.of_folds(index), some.of_folds(index), strict=True):
            np.testing.assert_array_equal(first.basis, second.basis)
            np.testing.assert_array_equal(root, other)


@pytest.mark.parametrize(
    "columns",
    [{"a": [0, 1, 2]}, {"a": [0, 1, 2, 3], "b": [3, 4, 5]}, {"a": range(6), "b": []}, {}],
)
def test_every_column_belongs_to_one_space(columns):
    with pytest.raises(SettingError, match="each of 6 columns once"):
        bands(columns, gamma_candidates(2, 3))
