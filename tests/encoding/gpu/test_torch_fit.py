"""A whole fit with its work on a device against the fit of the CPU: every estimator, both permutation tests."""

import numpy as np
import pytest
import torch

from cinebold.encoding.estimators import ESTIMATORS, ON_DEVICE
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.settings import EncodingSettings

MODULES = ("banded_ridge", "lasso", "permutation", "shifts", "solvers")


@pytest.fixture
def there(torch_device, monkeypatch):
    """The device's name; torch's CPU stands in for a GPU where there is none."""
    if torch_device == "cpu":
        asked = []

        def checked(device):
            asked.append(device)
            return torch.device("cpu")

        for module in MODULES:
            monkeypatch.setattr(f"cinebold.encoding.gpu.{module}.checked_device", checked)
        yield "cuda"
        assert asked
    else:
        yield torch_device


def test_all_estimators_work_on_a_device():
    assert set(ON_DEVICE) == set(ESTIMATORS)


@pytest.mark.parametrize("scheme", ["circular-shift", "block"])
@pytest.mark.parametrize("estimator", ON_DEVICE)
def test_a_fit_on_a_device_is_that_of_the_cpu(there, simulate_runs, estimator, scheme):
    spaces = ("a", "b") if estimator == "banded_ridge" else ("a",)
    designs, responses = simulate_runs((90, 100, 110), n_targets=12, spaces=spaces)
    settings = EncodingSettings(
        estimator=estimator, n_permutations=50, permutation_scheme=scheme, n_candidates=4, voxel_tile=7
    )
    expected = fit_encoding_model(designs, responses, settings, (1, 2))
    found = fit_encoding_model(designs, responses, settings, (1, 2), device=there)
    assert set(found.maps) == set(expected.maps)
    for name, values in expected.maps.items():
        np.testing.assert_allclose(found.maps[name], values, atol=1e-5, err_msg=name)
    for space, weights in expected.model.weights.items():
        np.testing.assert_allclose(found.model.weights[space], weights, atol=1e-5)
