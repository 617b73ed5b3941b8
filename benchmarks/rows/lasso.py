"""LASSO over voxels against scikit-learn, a voxel at a time on all processors (the 2021 project's way)."""

import os
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.registry import Row, Setup, measure, row, timed

N_FEATURES = 81
N_RUNS = 4
#: Voxels that a GPU has at once.
_DEVICE_TILE = 16384


def planted_voxels(n_run: int, n_voxels: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs of autocorrelated features of unit variance, and responses: half noise, half with up to half signal.

    Returns
    -------
    features (n_run, N_FEATURES) float32 and responses (n_run, n_voxels) float32 of each run, each column centred
    and of unit variance in each run
    """
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    planted = rng.random(n_voxels, dtype=np.float32) * 0.5 * (rng.random(n_voxels) < 0.5)
    chosen = rng.integers(0, N_FEATURES, size=(8, n_voxels))
    weights = np.zeros((N_FEATURES, n_voxels), dtype=np.float32)
    np.put_along_axis(weights, chosen, rng.standard_normal(chosen.shape, dtype=np.float32), axis=0)
    weights *= np.sqrt(planted / np.maximum((weights**2).sum(axis=0), 1e-12))
    features, responses = [], []
    for _ in range(N_RUNS):
        x = _unit(lfilter([1], [1, -0.7], rng.standard_normal((n_run, N_FEATURES)), axis=0))
        y = rng.standard_normal((n_run, n_voxels), dtype=np.float32)
        y *= np.sqrt(1 - planted)
        y += x.astype(np.float32) @ weights
        features.append(x.astype(np.float32))
        responses.append(_unit(y))
    return features, responses


@row("lasso-one-alpha")
def lasso_one_alpha(setup: Setup) -> Row:
    """One alpha (.1, scikit-learn's) for all voxels, from the responses to the weights."""
    from joblib import Parallel, delayed
    from sklearn.linear_model import Lasso

    from cinebold.encoding.statistics import shared_panels
    from cinebold.encoding.tiles import one_thread_products, run_tiles

    alpha = 0.1
    accumulate, _, solve_lasso_path = _solvers(setup)
    n_run, n_voxels, n_peer = (100, 2000, 200) if setup.quick else (460, 100_000, 2000)
    runs_x, runs_y = planted_voxels(n_run, n_voxels)
    x, y = np.concatenate(runs_x), np.concatenate(runs_y)
    n_samples = len(x)
    weights = np.empty((n_voxels, N_FEATURES), dtype=np.float32)

    def ours() -> None:
        centre = x - x.mean(axis=0)

        def tile(part: slice) -> None:
            sums = accumulate(centre, y[:, part], known.xx, np.float32, panels)
            # X is centred, so that Y need not be.
            total = sums.yy - sums.sum_y**2 / sums.n
            path, _ = solve_lasso_path(
                known.xx, sums.xy, total, n_samples, np.array([[alpha]]), alpha_max=np.ones(len(total))
            )
            weights[part] = path[:, 0]

        # Library threads that have worked go on waiting for more, on the processors of ours: here there are none.
        with one_thread_products() as n_threads:
            known = accumulate(centre, y[:, :0])
            if setup.on_gpu:
                panels = None
                run_tiles(tile, _tiles(n_voxels, _DEVICE_TILE), 1)
            else:
                panels = shared_panels(centre, y[:, :1024], np.float32)
                run_tiles(tile, _tiles(n_voxels, 1024), n_threads)

    sample = np.linspace(0, n_voxels - 1, n_peer).astype(int)
    # In double precision, as nibabel's get_fdata gives responses.
    wide, columns = x.astype(np.float64), y[:, sample].astype(np.float64)

    def peer() -> None:
        n_workers = os.cpu_count() or 1
        Parallel(n_jobs=n_workers)(delayed(_lasso_voxel)(wide, column, alpha) for column in columns.T)

    ours()  # compiles, on a GPU it starts libraries
    peer()  # starts workers
    # In turns, as the speed of a shared machine changes while they run; the fastest of each counts.
    pairs = [(measure(setup, ours), timed(peer)[0]) for _ in range(15)]
    measured = min((pair[0] for pair in pairs), key=lambda one: one.seconds)
    seconds_peer = min(pair[1] for pair in pairs)
    checked = sample[:: max(len(sample) // 200, 1)]
    exact = np.stack([Lasso(alpha, tol=1e-8).fit(wide, y[:, v].astype(np.float64)).coef_ for v in checked])
    return Row(
        name="lasso-one-alpha",
        peer=f"joblib over voxels, sklearn Lasso (float64, tol 1e-4, CPU), {n_peer} voxels timed and scaled",
        goal=200,
        agreement=float(np.abs(weights[checked] - exact).max()),
        agreement_of="largest difference of coefficients from sklearn at tol 1e-8",
        seconds_peer=seconds_peer * n_voxels / n_peer,
        flops={"float32": 2.0 * n_samples * N_FEATURES * n_voxels},
        device=setup.device,
        **measured.of_row(),
        sizes={"n_samples": n_samples, "n_features": N_FEATURES, "n_voxels": n_voxels, "alpha": alpha},
    )


@row("lasso-path")
def lasso_path(setup: Setup) -> Row:
    """Fifty alphas, each of four runs left out in turn, then a fit of all runs with each voxel's best."""
    from joblib import Parallel, delayed

    from cinebold.encoding.statistics import centred
    from cinebold.encoding.tiles import one_thread_products, run_tiles

    accumulate, choose_lasso_alphas, solve_lasso_path = _solvers(setup)
    n_run, n_voxels, n_peer = (100, 512, 8) if setup.quick else (460, 20_000, 100)
    runs_x, runs_y = planted_voxels(n_run, n_voxels)
    alphas = np.logspace(0, -3, 50)
    chosen = np.empty(n_voxels, dtype=np.int64)
    weights = np.empty((n_voxels, N_FEATURES))

    def ours() -> None:
        def tile(part: slice) -> None:
            runs = [accumulate(x, y[:, part]) for x, y in zip(runs_x, runs_y, strict=True)]
            training = [centred(runs[:index] + runs[index + 1 :]) for index in range(N_RUNS)]
            whole = centred(runs)
            alpha_max = np.abs(whole.cross).max(axis=0) / whole.n
            index, _ = choose_lasso_alphas(training, [centred([run]) for run in runs], alphas, alpha_max)
            path, _ = solve_lasso_path(
                whole.gram, whole.cross, whole.total, whole.n, alphas[index][:, np.newaxis]
            )
            chosen[part], weights[part] = index, path[:, 0]

        with one_thread_products() as n_threads:
            if setup.on_gpu:
                run_tiles(tile, _tiles(n_voxels, _DEVICE_TILE), 1)
            else:
                run_tiles(tile, _tiles(n_voxels, 2048), n_threads)

    x, y = np.concatenate(runs_x).astype(np.float64), np.concatenate(runs_y)
    run_of = np.repeat(np.arange(N_RUNS), n_run)
    folds = [(np.flatnonzero(run_of != run), np.flatnonzero(run_of == run)) for run in range(N_RUNS)]

    sample = np.linspace(0, n_voxels - 1, n_peer).astype(int)
    parts = _shares(y[:, sample].astype(np.float64))

    def peer(tolerance: float = 1e-4) -> np.ndarray:
        found = Parallel(n_jobs=len(parts))(
            delayed(_lasso_cv_each)(x, part, folds, tolerance) for part in parts
        )
        return np.concatenate(found)

    if not setup.on_gpu:
        ours()  # compiles
    measured = measure(setup, ours, repeats=2)
    Parallel(n_jobs=len(parts))(delayed(_lasso_voxel)(x, part[:, 0], 0.1) for part in parts)  # starts workers
    seconds_peer, _, _ = timed(peer)
    centre = x - x.mean(axis=0)
    alpha_max = np.abs(centre.T @ y[:, sample]).max(axis=0) / len(x)
    theirs = np.array(
        [
            np.abs(np.log(alphas * unit / alpha)).argmin()
            for unit, alpha in zip(alpha_max, peer(1e-8), strict=True)
        ]
    )
    return Row(
        name="lasso-path",
        peer=f"sklearn LassoCV a voxel (tol 1e-4, CPU) over joblib, {n_peer} voxels timed and scaled",
        goal=150,
        agreement=float((theirs == chosen[sample]).mean()),
        agreement_of="share of voxels with the alpha of LassoCV at tol 1e-8",
        seconds_peer=seconds_peer * n_voxels / n_peer,
        flops={"float64": 2.0 * len(x) * N_FEATURES * n_voxels},
        device=setup.device,
        **measured.of_row(),
        sizes={
            "n_samples": len(x),
            "n_features": N_FEATURES,
            "n_voxels": n_voxels,
            "n_alphas": len(alphas),
            "n_folds": N_RUNS,
        },
    )


def _solvers(setup: Setup) -> tuple[Callable, Callable, Callable]:
    """Statistics of a run, the choice of alphas and the path, by the CPU or by the device."""
    if not setup.on_gpu:
        from cinebold.encoding.solvers.lasso_choice import choose_lasso_alphas
        from cinebold.encoding.solvers.lasso_path import solve_lasso_path
        from cinebold.encoding.statistics import accumulate

        return accumulate, choose_lasso_alphas, solve_lasso_path
    from cinebold.encoding.gpu import lasso as torch_lasso
    from cinebold.encoding.gpu.statistics import accumulate_on, as_arrays

    def accumulate_there(x, y, xx=None, dtype=np.float64, panels=None):  # type: ignore[no-untyped-def]
        return as_arrays(accumulate_on(setup.device, x, y, xx, dtype=dtype))

    there = {"device": setup.device}
    return (
        accumulate_there,
        partial(torch_lasso.choose_lasso_alphas, **there),
        partial(torch_lasso.solve_lasso_path, **there),
    )


def _shares(columns: np.ndarray) -> list[np.ndarray]:
    """The columns dealt out to as many workers as there are processors."""
    return [np.ascontiguousarray(part) for part in np.array_split(columns, os.cpu_count() or 1, axis=1)]


def _lasso_voxel(x: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    from sklearn.linear_model import Lasso

    return Lasso(alpha, tol=1e-4).fit(x, y).coef_


def _lasso_cv_each(x: np.ndarray, columns: np.ndarray, folds: list, tolerance: float) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LassoCV(alphas=50, cv=folds, tol=tolerance, max_iter=10_000)
        return np.array([model.fit(x, y).alpha_ for y in columns.T])


def _tiles(n_voxels: int, width: int) -> list[slice]:
    return [slice(start, min(start + width, n_voxels)) for start in range(0, n_voxels, width)]


def _unit(columns: np.ndarray) -> np.ndarray:
    columns -= columns.mean(axis=0)
    columns /= columns.std(axis=0)
    return columns
