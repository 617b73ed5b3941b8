"""Circular shifts on a device against those of the CPU, which are tested against explicit shifts."""

import numpy as np
import pytest

from cinebold.encoding import significance
from cinebold.encoding.gpu.shifts import permute_shifts
from cinebold.encoding.scores import held_out_r, sums_of_predictions

LENGTHS = (103, 90, 61)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("censored", ["nothing", "some volumes"])
def test_equal_to_the_shifts_of_the_cpu(torch_device, monkeypatch, censored, dtype):
    monkeypatch.setattr("cinebold.encoding.gpu.shifts._NUMBERS", 3000)  # many tiles
    rng = np.random.default_rng(0)
    y = [rng.normal(size=(n, 37)).astype(dtype) for n in LENGTHS]
    predictions = [(0.2 * run + rng.normal(size=run.shape) + 4).astype(dtype) for run in y]
    scored = [np.ones(n, dtype=bool) for n in LENGTHS]
    if censored != "nothing":
        scored[0][:7] = scored[1][30:50] = False
        y[0][:7] = np.nan
    y[1][:, 3] = 1.0  # a constant response
    for run in predictions:
        run[:, 5] = 0.0  # a constant prediction
    r = held_out_r(
        [
            sums_of_predictions(run[kept].astype(np.float64), guess[kept].astype(np.float64))
            for run, guess, kept in zip(y, predictions, scored, strict=True)
        ]
    )
    shifts, _ = significance.draw_shifts(LENGTHS, 10, 300, seed=1)
    test = significance.ShiftTest(shifts)
    wide = [[run.astype(np.float64) for run in runs] for runs in (y, predictions)]
    expected = significance.permute_shifts(test, r, *wide, scored)
    found = permute_shifts(test, r, y, predictions, scored, device=torch_device)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-12)
