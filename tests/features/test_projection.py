"""Sparse projections against a loop, and what they promise."""

import numpy as np
import pytest

from cinebold.features.projection import SparseProjection


def test_projection_equals_a_loop_over_inputs():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 50)).astype(np.float32)
    projection = SparseProjection(50, 10, seed=4)
    matrix = projection.matrix.tocoo()
    expected = np.zeros((3, 10))
    for row, column, entry in zip(matrix.row, matrix.col, matrix.data, strict=True):
        expected[:, row] += entry * values[:, column]
    result = projection.apply(values)
    assert result.dtype == np.float32
    assert result.shape == (3, 10)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_every_input_has_an_entry_of_one_half_in_each_quarter_of_the_outputs():
    matrix = SparseProjection(1000, 18).matrix.toarray()
    for first, last in ((0, 4), (4, 9), (9, 13), (13, 18)):
        assert (np.abs(matrix[first:last]).sum(axis=0) == 0.5).all()
    assert set(np.unique(matrix)) == {-0.5, 0.0, 0.5}
    assert abs(matrix.sum()) < 5 * np.sqrt(4000) / 2  # signs are fair
    used = (matrix != 0).sum(axis=1)
    assert used.min() > 0.7 * 4000 / 18
    assert used.max() < 1.3 * 4000 / 18


def test_inner_products_are_kept_as_well_as_promised():
    rng = np.random.default_rng(1)
    values = np.maximum(rng.normal(size=(12, 20_000)), 0).astype(np.float32)  # as after a ReLU
    values -= values.mean(axis=0)
    exact = values.astype(float) @ values.T.astype(float)
    projected = SparseProjection(20_000, 2048).apply(values).astype(float)
    error = (projected @ projected.T - exact) / np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
    assert np.sqrt((error**2).mean()) < 1.5 * np.sqrt(2 / 2048)
    # Unbiased: over many seeds the error of one product averages out.
    two = values[:2, :500]
    products = [np.prod(SparseProjection(500, 64, seed).apply(two), axis=0).sum() for seed in range(300)]
    truth = float(two[0].astype(float) @ two[1])
    assert abs(np.mean(products) - truth) < 4 * np.std(products) / np.sqrt(300)


def test_equal_numbers_give_equal_bytes_and_other_seeds_other_matrices():
    values = np.random.default_rng(2).normal(size=(5, 300)).astype(np.float32)
    first, again = SparseProjection(300, 20, 7).apply(values), SparseProjection(300, 20, 7).apply(values)
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, SparseProjection(300, 20, 8).apply(values))
    # A window does not depend on those that are projected with it.
    for index in range(5):
        assert (
            SparseProjection(300, 20, 7).apply(values[index : index + 1]).tobytes() == first[index].tobytes()
        )


def test_the_matrix_stays_what_it_was_when_features_were_stored():
    matrix = SparseProjection(6, 8, seed=0).matrix
    assert matrix.indices.reshape(6, 4).tolist() == INDICES
    assert (2 * matrix.data).astype(int).reshape(6, 4).tolist() == SIGNS


@pytest.mark.parametrize("size", [(193_600, 4096)])
def test_the_matrix_of_a_large_layer_is_small(size):
    matrix = SparseProjection(*size).matrix
    assert matrix.nnz == 4 * size[0]
    assert matrix.data.dtype == np.float32
    assert matrix.indices.dtype == np.int32


INDICES = [[1, 2, 5, 7], [1, 2, 5, 7], [1, 2, 5, 6], [0, 3, 5, 7], [0, 3, 5, 7], [0, 3, 5, 6]]
SIGNS = [[1, 1, 1, -1], [1, 1, -1, 1], [-1, 1, 1, 1], [-1, -1, 1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1]]
