"""Permuted blocks and circular shifts on a device against those of the CPU, which are tested against explicit ones."""

import numpy as np
import pytest

from cinebold.encoding import block_permutation, significance
from cinebold.encoding.block_permutation import draw_blocks
from cinebold.encoding.gpu.permutation import permute_blocks, permute_shifts
from cinebold.encoding.scores import held_out_r, sums_of_predictions
from cinebold.errors import InputError

LENGTHS = (103, 90, 61)


def some_predictions(dtype, censored):
    """Responses, predictions and scored volumes of three runs."""
    rng = np.random.default_rng(0)
    y = [rng.normal(size=(n, 37)).astype(dtype) for n in LENGTHS]
    predictions = [(0.2 * run + rng.normal(size=run.shape) + 4).astype(dtype) for run in y]
    scored = [np.ones(n, dtype=bool) for n in LENGTHS]
    if censored != "nothing":
        scored[0][:7] = scored[1][30:50] = False
        y[0][:7] = np.nan
    if censored == "a whole run":
        scored[2][:] = False
    y[1][:, 3] = 1.0  # a constant response
    for run in predictions:
        run[:, 5] = 0.0  # a constant prediction
    return y, predictions, scored


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("censored", ["nothing", "some volumes", "a whole run"])
def test_equal_to_the_compiled_permutations(torch_device, monkeypatch, censored, dtype):
    monkeypatch.setattr("cinebold.encoding.gpu.permutation._NUMBERS", 1000)  # many chunks of permutations
    y, predictions, scored = some_predictions(dtype, censored)
    test, _ = draw_blocks(LENGTHS, 10, 300, seed=1)
    expected = block_permutation.permute_blocks(test, y, predictions, scored)
    found = permute_blocks(test, y, predictions, scored, device=torch_device, voxel_tile=10)
    np.testing.assert_allclose(found.observed_r, expected.observed_r, atol=1e-12)
    np.testing.assert_array_equal(found.n_at_least, expected.n_at_least)
    np.testing.assert_allclose(found.maxima, expected.maxima, atol=1e-12)
    assert np.isnan(found.observed_r).sum() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("censored", ["nothing", "some volumes"])
def test_equal_to_the_shifts_of_the_cpu(torch_device, monkeypatch, censored, dtype):
    monkeypatch.setattr("cinebold.encoding.gpu.permutation._NUMBERS", 3000)  # many tiles
    y, predictions, scored = some_predictions(dtype, censored)
    wide = [[run.astype(np.float64) for run in runs] for runs in (y, predictions)]
    r = held_out_r([sums_of_predictions(a[kept], b[kept]) for a, b, kept in zip(*wide, scored, strict=True)])
    test = significance.ShiftTest(significance.draw_shifts(LENGTHS, 10, 300, seed=1)[0])
    expected = significance.permute_shifts(test, r, *wide, scored)
    found = permute_shifts(test, r, y, predictions, scored, device=torch_device)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-12)


def test_no_scored_volume_is_refused():
    test, _ = draw_blocks(LENGTHS, 10, 5, seed=1)
    runs = [np.zeros((n, 2)) for n in LENGTHS]
    with pytest.raises(InputError, match="No volume is scored"):
        permute_blocks(test, runs, runs, [np.zeros(n, dtype=bool) for n in LENGTHS], device="cpu")
