"""The derivatives of banded ridge against finite differences, its weights against dense systems and himalaya."""

from itertools import pairwise

import numpy as np
import pytest

from cinebold.encoding.scores import held_out_r, held_out_rsquared, sums_of_predictions
from cinebold.encoding.solvers.banded_candidates import PreparedBands, gamma_candidates
from cinebold.encoding.solvers.banded_gradient import BandedFold, loss_derivatives, solve_fold
from cinebold.encoding.solvers.banded_ridge import leave_one_run_out
from cinebold.encoding.solvers.banded_systems import Accuracy, conjugate_gradients, solve_weights
from cinebold.encoding.statistics import accumulate

#: Spaces lie between each other, as delays are outermost; one has one column.
COLUMNS = {"a": np.array([0, 2, 4, 6, 8]), "b": np.array([1]), "c": np.array([3, 5, 7])}
ALPHAS = np.logspace(-2, 3, 6)
EXACT = Accuracy(1e-13, 1000)


def some_runs(n_targets=6, length=30, n_runs=3, seed=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    mixing = np.eye(9) + 0.4 * rng.normal(size=(9, 9))
    x = [rng.normal(size=(length, 9)) @ mixing for _ in range(n_runs)]
    weights = rng.normal(size=(9, n_targets))
    y = [run @ weights + 4 * rng.normal(size=(length, n_targets)) for run in x]
    return [run - run.mean(axis=0) for run in x], [(run - run.mean(axis=0)).astype(dtype) for run in y]


def prepared(x, y, **options):
    whole, folds = leave_one_run_out([accumulate(*run) for run in zip(x, y, strict=True)])
    grams = [(train.gram, test.gram) for train, test in folds]
    bands = PreparedBands(whole.gram, grams, COLUMNS, ALPHAS, gamma_candidates(3, 4), **options)
    targets = np.arange(y[0].shape[1])
    near = [BandedFold(*basis, *fold, targets) for basis, fold in zip(bands.fold_bases, folds, strict=True)]
    return whole, bands, near


def penalties(gram, delta, unit_free):
    """D of one voxel, by its definition."""
    result = np.empty(len(gram))
    for space, own in enumerate(COLUMNS.values()):
        unit = np.trace(gram[np.ix_(own, own)]) / len(gram) if unit_free else 1.0
        result[own] = unit * np.exp(-delta[space])
    return result


@pytest.mark.parametrize("unit_free", [True, False])
@pytest.mark.parametrize("scoring", ["r", "rsquared"])
def test_loss_is_that_of_predictions_and_its_gradient_that_of_differences(scoring, unit_free):
    x, y = some_runs()
    _, bands, folds = prepared(x, y, scoring=scoring, unit_free=unit_free)
    deltas = np.random.default_rng(0).normal(size=(3, 6)) - (2 if unit_free else 4)
    targets = np.arange(6)

    def by_loop(deltas):
        score = {"r": held_out_r, "rsquared": held_out_rsquared}[scoring]
        result = np.empty(6)
        for voxel in range(6):
            sums = []
            for run in range(3):
                a = np.concatenate([x[other] for other in range(3) if other != run])
                b = np.concatenate([y[other][:, [voxel]] for other in range(3) if other != run])
                gram = a.T @ a
                system = gram + np.diag(penalties(gram, deltas[:, voxel], unit_free))
                sums.append(
                    sums_of_predictions(y[run][:, [voxel]], x[run] @ np.linalg.solve(system, a.T @ b))
                )
            result[voxel] = -score(sums)[0]
        return result

    states = [solve_fold(fold, deltas, targets, None, EXACT) for fold in folds]
    np.testing.assert_allclose(-bands.score([state.sums for state in states]), by_loop(deltas), atol=1e-11)
    gradient = loss_derivatives(folds, states, targets, None, scoring, EXACT, EXACT).gradient
    assert np.abs(gradient).max() > 1e-3
    for space in range(3):
        change = np.zeros((3, 1))
        change[space] = 1e-5
        difference = (by_loop(deltas + change) - by_loop(deltas - change)) / 2e-5
        np.testing.assert_allclose(gradient[space], difference, atol=1e-9)


@pytest.mark.parametrize("scoring", ["r", "rsquared"])
def test_hessian_is_that_of_differences_of_the_gradient(scoring):
    x, y = some_runs()
    _, _, folds = prepared(x, y, scoring=scoring)
    deltas, targets = np.random.default_rng(2).normal(size=(3, 6)) - 2, np.arange(6)

    def derivatives(deltas):
        states = [solve_fold(fold, deltas, targets, None, EXACT) for fold in folds]
        return loss_derivatives(folds, states, targets, None, scoring, EXACT, EXACT)

    hessian = derivatives(deltas).hessian
    assert np.abs(hessian).max() > 1e-3
    for space in range(3):
        change = np.zeros((3, 1))
        change[space] = 1e-5
        difference = (derivatives(deltas + change).gradient - derivatives(deltas - change).gradient) / 2e-5
        np.testing.assert_allclose(hessian[space], difference, atol=1e-9)


@pytest.mark.parametrize("unit_free", [True, False])
def test_weights_solve_the_dense_system(unit_free):
    x, y = some_runs()
    whole, bands, _ = prepared(x, y, unit_free=unit_free)
    deltas = 3 * np.random.default_rng(1).normal(size=(3, 6))
    weights = solve_weights(bands.whole_basis, whole.cross, deltas)
    for voxel in range(6):
        system = whole.gram + np.diag(penalties(whole.gram, deltas[:, voxel], unit_free))
        np.testing.assert_allclose(
            weights[:, voxel], np.linalg.solve(system, whole.cross[:, voxel]), atol=1e-9
        )


def test_spaces_that_are_nearly_the_same_are_solved_without_the_iterations(monkeypatch):
    x, y = some_runs()
    for run in x:
        run[:, [3, 5, 7]] = run[:, [0, 2, 4]]
    whole, bands, _ = prepared(x, y)
    deltas = np.full((3, 6), 9.0)
    by_iterations = solve_weights(bands.whole_basis, whole.cross, deltas)
    monkeypatch.setattr("cinebold.encoding.solvers.banded_systems.WEIGHT_ACCURACY", Accuracy(1e-11, 1))
    np.testing.assert_allclose(
        solve_weights(bands.whole_basis, whole.cross, deltas), by_iterations, atol=1e-6
    )


def test_an_infinite_penalty_leaves_a_space_out():
    x, y = some_runs()
    whole, bands, _ = prepared(x, y)
    deltas = np.zeros((3, 6))
    deltas[2] = -np.inf
    weights = solve_weights(bands.whole_basis, whole.cross, deltas)
    assert (weights[COLUMNS["c"]] == 0).all()
    kept = np.concatenate([COLUMNS["a"], COLUMNS["b"]])
    system = (whole.gram + np.diag(penalties(whole.gram, np.zeros(3), True)))[np.ix_(kept, kept)]
    np.testing.assert_allclose(weights[kept], np.linalg.solve(system, whole.cross[kept]), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_systems_do_not_depend_on_their_neighbours(dtype):
    rng = np.random.default_rng(4)
    coupling = rng.normal(size=(20, 20)).astype(dtype)
    coupling = (coupling + coupling.T) / 40
    roots, right = rng.uniform(size=(20, 30)).astype(dtype), rng.normal(size=(20, 30)).astype(dtype)
    accuracy = Accuracy(1e-3, 50, dtype)
    together, undone = conjugate_gradients(coupling, roots, right, None, accuracy)
    assert not undone.any() and together.dtype == dtype
    for target in range(30):
        own = slice(target, target + 1)
        alone, _ = conjugate_gradients(coupling, roots[:, own], right[:, own], None, accuracy)
        np.testing.assert_allclose(
            together[:, own], alone, atol=1e-5 if dtype is np.float32 else 1e-12
        )  # fmt: skip
        system = np.eye(20) + roots[:, own] * coupling * roots[:, target]
        residual = system @ together[:, target] - right[:, target]
        assert np.linalg.norm(residual) < 2e-3 * np.linalg.norm(right[:, target])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_those_of_himalaya_at_equal_gammas(dtype):
    pytest.importorskip("himalaya")
    from himalaya.backend import set_backend
    from himalaya.ridge import GroupRidgeCV
    from sklearn.model_selection import PredefinedSplit

    set_backend("numpy")
    x, y = some_runs(dtype=dtype)
    whole, bands, _ = prepared(x, y, unit_free=False)
    order = np.concatenate(list(COLUMNS.values()))
    stacked = np.concatenate(x)[:, order].astype(dtype)
    starts = np.cumsum([0, *(len(own) for own in COLUMNS.values())])
    for gamma, alpha in [((0.6, 0.3, 0.1), 1.0), ((0.05, 0.05, 0.9), 30.0)]:
        peer = GroupRidgeCV(
            groups="input",
            cv=PredefinedSplit(np.repeat(np.arange(3), 30)),
            solver_params={
                "n_iter": np.array([gamma], dtype=dtype),
                "alphas": np.array([alpha], dtype=dtype),
                "progress_bar": False,
            },
        ).fit([stacked[:, a:b] for a, b in pairwise(starts)], np.concatenate(y))
        deltas = np.log(np.array(gamma) / alpha)[:, np.newaxis] * np.ones(6)
        weights = solve_weights(bands.whole_basis, whole.cross, deltas)
        np.testing.assert_allclose(weights[order], peer.coef_, atol=1e-5)
