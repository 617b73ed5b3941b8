"""A whole fit with its work on a device against the fit of the CPU: every estimator, both permutation tests."""

import numpy as np
import pytest
import torch

from cinebold.encoding.estimators import ESTIMATORS
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings

#: Where each estimator's work on a device is.
MODULE_OF = {
    "ridge": "solvers",
    "ols": "solvers",
    "banded_ridge": "banded_ridge",
    "lasso": "lasso",
    "elastic_net": "lasso",
}


@pytest.fixture
def there(torch_device, monkeypatch):
    """The device's name, and the modules that asked for it; torch's CPU stands in for a GPU where there is none."""
    asked = set()
    for module in {*MODULE_OF.values(), "permutation"}:

        def checked(device, module=module):
            asked.add(module)
            return torch.device(torch_device)

        monkeypatch.setattr(f"cinebold.encoding.gpu.{module}.checked_device", checked)
    return "cuda", asked


@pytest.mark.parametrize("scheme", ["circular-shift", "block"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fit_on_a_device_is_that_of_the_cpu(there, simulate_runs, estimator, scheme):
    device, asked = there
    spaces = ("a", "b") if estimator == "banded_ridge" else ("a",)
    designs, responses = simulate_runs((90, 100, 110), n_targets=12, spaces=spaces)
    settings = EncodingSettings(
        estimator=estimator, n_permutations=50, permutation_scheme=scheme, n_candidates=4, voxel_tile=7
    )
    expected = fit_encoding_model(designs, responses, settings, (1, 2))
    assert not asked
    found = fit_encoding_model(designs, responses, settings, (1, 2), device=device)
    assert asked == {MODULE_OF[estimator], "permutation"}
    assert set(found.maps) == set(expected.maps)
    for name, values in expected.maps.items():
        np.testing.assert_allclose(found.maps[name], values, atol=1e-5, err_msg=name)
    for space, weights in expected.model.weights.items():
        np.testing.assert_allclose(found.model.weights[space], weights, atol=1e-5)
