"""Run statistics against the sums they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebold.encoding.statistics import accumulate, centred


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(2, 20), min_size=1, max_size=4),
    dtype=st.sampled_from([np.float32, np.float64]),
    offset=st.sampled_from([0.0, 1e4]),
)
def test_pooled_statistics_equal_those_of_runs_centred_by_hand(lengths, dtype, offset):
    rng = np.random.default_rng(0)
    runs = [(rng.normal(size=(n, 3)), (rng.normal(size=(n, 4)) + offset).astype(dtype)) for n in lengths]
    pooled = centred([accumulate(x, y) for x, y in runs])
    x = np.concatenate([x - x.mean(axis=0) for x, _ in runs])
    y = np.concatenate([y.astype(float) - y.astype(float).mean(axis=0) for _, y in runs])
    tolerance = 1e-10 if offset == 0 else 1e-5
    np.testing.assert_allclose(pooled.gram, x.T @ x, atol=1e-10)
    np.testing.assert_allclose(pooled.cross, x.T @ y, atol=tolerance)
    np.testing.assert_allclose(pooled.total, (y**2).sum(axis=0), atol=tolerance)
    np.testing.assert_allclose(pooled.mean_x, np.concatenate([x for x, _ in runs]).mean(axis=0), atol=1e-12)
    assert pooled.n == sum(lengths)


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_parts_of_a_run_add_up_to_the_run(cut):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 5)).astype(np.float32)
    parts, whole = accumulate(x[:cut], y[:cut]) + accumulate(x[cut:], y[cut:]), accumulate(x, y)
    assert parts.n == whole.n
    for name in ("sum_x", "sum_y", "xx", "xy", "yy"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-12)
        assert getattr(parts, name).dtype == np.float64
