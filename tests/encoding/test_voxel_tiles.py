"""How many voxels are in memory at once changes no result beyond 1e-6."""

from dataclasses import replace

import numpy as np
import pytest

from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings


@pytest.mark.parametrize("estimator", ["ridge", "lasso", "ols"])
def test_a_result_does_not_depend_on_the_tile(simulate_runs, estimator):
    designs, responses = simulate_runs((60, 70, 65), n_targets=300, dtype=np.float32)
    settings = EncodingSettings(
        estimator=estimator,
        alphas=(0.05, 0.3) if estimator == "lasso" else None,
        n_permutations=50 if estimator == "ridge" else 0,
    )
    whole = fit_encoding_model(designs, responses, settings, (1, 2))
    for voxel_tile in (128, 64, 37):
        parts = fit_encoding_model(designs, responses, replace(settings, voxel_tile=voxel_tile), (1, 2))
        for name, values in whole.maps.items():
            np.testing.assert_allclose(parts.maps[name], values, atol=1e-6, err_msg=name)
        for space, weights in whole.model.weights.items():
            np.testing.assert_allclose(parts.model.weights[space], weights, atol=1e-6)
