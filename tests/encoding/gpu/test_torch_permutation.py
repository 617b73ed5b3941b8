"""Block permutation on a device against the compiled one, which is tested against explicit permutations."""

import numpy as np
import pytest

from cinebold.encoding import block_permutation
from cinebold.encoding.block_permutation import draw_blocks
from cinebold.encoding.gpu.permutation import permute_blocks
from cinebold.errors import InputError

LENGTHS = (103, 90, 61)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("censored", ["nothing", "some volumes", "a whole run"])
def test_equal_to_the_compiled_permutations(torch_device, monkeypatch, censored, dtype):
    monkeypatch.setattr("cinebold.encoding.gpu.permutation._NUMBERS", 1000)  # many chunks of permutations
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
    test, _ = draw_blocks(LENGTHS, 10, 300, seed=1)
    expected = block_permutation.permute_blocks(test, y, predictions, scored)
    found = permute_blocks(test, y, predictions, scored, device=torch_device, voxel_tile=10)
    np.testing.assert_allclose(found.observed_r, expected.observed_r, atol=1e-12)
    np.testing.assert_array_equal(found.n_at_least, expected.n_at_least)
    np.testing.assert_allclose(found.maxima, expected.maxima, atol=1e-12)
    assert np.isnan(found.observed_r).sum() == 1


def test_no_scored_volume_is_refused():
    test, _ = draw_blocks(LENGTHS, 10, 5, seed=1)
    runs = [np.zeros((n, 2)) for n in LENGTHS]
    with pytest.raises(InputError, match="No volume is scored"):
        permute_blocks(test, runs, runs, [np.zeros(n, dtype=bool) for n in LENGTHS], device="cpu")
