"""Ridge on a device against ridge on the CPU, which is tested against loops and himalaya."""

import numpy as np
import pytest
import torch

from cinebold.encoding.gpu.ridge import (
    SCORINGS,
    choose,
    gram_root,
    path_sums,
    solve_ridge_over_runs,
    triangular,
)
from cinebold.encoding.scores import HeldOutSums, held_out_r, held_out_rsquared
from cinebold.encoding.solvers import ridge_path
from cinebold.errors import InputError, SettingError

ALPHAS = np.logspace(-2, 3, 7)


def some_runs(
    lengths=(30, 36, 42), n_features=8, n_targets=33, offset=0.0, collinear=False, dtype=np.float64
):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(n_features, n_targets)) * np.logspace(-1.5, 0.5, n_targets)
    x = [offset + rng.normal(size=(n, n_features)) for n in lengths]
    if collinear:
        for run in x:
            run[:, -1] = run[:, 0] - run[:, 1]
    y = [run @ weights + 2 * rng.normal(size=(len(run), n_targets)) + index for index, run in enumerate(x)]
    return x, [run.astype(dtype) for run in y]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("scoring", ["r", "rsquared"])
@pytest.mark.parametrize(
    "problem", [{}, {"offset": 100.0}, {"collinear": True}, {"n_features": 50, "collinear": True}]
)
def test_equal_to_ridge_on_the_cpu(torch_device, dtype, tolerance, scoring, problem):
    x, y = some_runs(dtype=dtype, **problem)
    options = {"scoring": scoring, "dtype": dtype}
    expected = ridge_path.solve_ridge_over_runs(x, y, ALPHAS, **options)
    found = solve_ridge_over_runs(x, y, ALPHAS, **options, device=torch_device, voxel_tile=10)
    np.testing.assert_array_equal(found.alpha_index, expected.alpha_index)
    assert found.weights.dtype == expected.weights.dtype
    scale = np.abs(expected.weights).max()
    np.testing.assert_allclose(found.weights, expected.weights, atol=tolerance * scale)
    np.testing.assert_allclose(found.inner_score, expected.inner_score, atol=tolerance)
    mean = max(np.abs(np.concatenate(x)).max(), 1)
    np.testing.assert_allclose(found.intercept, expected.intercept, atol=tolerance * scale * mean)


@pytest.mark.parametrize("options", [{"unit_free": False}, {"centre_runs": False}])
@pytest.mark.parametrize("n_features", [1, 8])
def test_absolute_penalties_and_one_intercept(torch_device, options, n_features):
    x, y = some_runs(n_features=n_features)
    expected = ridge_path.solve_ridge_over_runs(x, y, ALPHAS, **options)
    found = solve_ridge_over_runs(x, y, ALPHAS, **options, device=torch_device)
    np.testing.assert_array_equal(found.alpha_index, expected.alpha_index)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-9)
    np.testing.assert_allclose(found.intercept, expected.intercept, atol=1e-9)


def test_path_sums_are_those_of_explicit_predictions(torch_device):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 9)), rng.normal(size=(30, 11))
    c, shrinkage = rng.normal(size=(9, 11)), rng.random((4, 9))
    there = [torch.from_numpy(values).to(torch_device) for values in (c, x.T @ y, x, shrinkage)]
    product, squared = path_sums(*there[:2], triangular(there[2]), there[3])
    for index, d in enumerate(shrinkage):
        prediction = x @ (d[:, None] * c)
        np.testing.assert_allclose(product[index].cpu(), (y * prediction).sum(axis=0), atol=1e-9)
        np.testing.assert_allclose(squared[index].cpu(), (prediction**2).sum(axis=0), atol=1e-9)


def test_the_root_of_a_singular_gram_matrix(torch_device):
    x = np.random.default_rng(3).normal(size=(4, 7)) * np.array([1, 1, 1e-4, 1, 0, 1e3, 1])
    root = gram_root(torch.from_numpy(x.T @ x).to(torch_device)).cpu().numpy()
    assert root.shape == (4, 7)
    np.testing.assert_allclose(root.T @ root, x.T @ x, atol=1e-6)


def test_scores_and_choice_are_those_of_numpy(torch_device):
    rng = np.random.default_rng(4)
    runs = []
    for n in (20, 30):
        squared, product = rng.random((3, 6)) * n, rng.normal(size=(3, 6))
        squared[:, 1] = 0
        total = np.where(np.arange(6) == 2, 0.0, n)
        runs.append(HeldOutSums(n, total, product, squared))
    fields = ("response_squared", "product", "prediction_squared")
    there = [
        HeldOutSums(run.n, *(torch.from_numpy(getattr(run, field)).to(torch_device) for field in fields))
        for run in runs
    ]
    for name, reference in (("r", held_out_r), ("rsquared", held_out_rsquared)):
        expected, found = reference(runs), SCORINGS[name](there)
        np.testing.assert_allclose(found.cpu(), expected, atol=1e-12)
        for one, other in zip(choose(found), ridge_path.choose(expected), strict=True):
            np.testing.assert_allclose(one.cpu(), other, atol=1e-12)
    tied = torch.tensor([[0.5, 0.1], [0.5 - 1e-12, 0.3], [0.2, 0.3]], dtype=torch.float64)
    assert choose(tied.to(torch_device))[1].tolist() == [1, 2]


def test_a_silent_voxel_changes_no_other(torch_device):
    x, y = some_runs()
    alone = solve_ridge_over_runs(x, y, ALPHAS, device=torch_device)
    for run in y:
        run[:, 5] = 3.0
    beside = solve_ridge_over_runs(x, y, ALPHAS, device=torch_device)
    others = np.arange(33) != 5
    np.testing.assert_allclose(beside.weights[:, others], alone.weights[:, others], atol=1e-12)
    np.testing.assert_allclose(beside.weights[:, 5], 0, atol=1e-12)


def test_wrong_runs_and_settings_are_refused():
    x, y = some_runs()
    with pytest.raises(InputError, match="at least two runs"):
        solve_ridge_over_runs(x[:1], y[:1], ALPHAS, device="cpu")
    with pytest.raises(SettingError, match="scoring"):
        solve_ridge_over_runs(x, y, ALPHAS, scoring="accuracy", device="cpu")
    with pytest.raises(SettingError, match="rise"):
        solve_ridge_over_runs(x, y, ALPHAS[::-1], device="cpu")
