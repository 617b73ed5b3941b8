"""Ridge, banded ridge and the dual path against himalaya's torch backend, all chosen by correlation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.registry import Row, Setup, measure, row, timed

N_RUNS = 4
ALPHAS = np.logspace(-1, 5, 20)
#: Sizes of himalaya's batches (benchmarks/README.md tells which others were tried).
BATCHES = {
    "cpu": {"n_targets_batch": 250, "n_alphas_batch": 20, "n_targets_batch_refit": 1000},
    "cuda": {"n_targets_batch": 10_000, "n_alphas_batch": 20, "n_targets_batch_refit": 10_000},
}


def planted_runs(
    n_samples: int, n_features: int, n_voxels: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features whose variance falls off as that of components does, responses of unit variance, and runs.

    Returns
    -------
    features (n_samples, n_features) float32, responses (n_samples, n_voxels) float32, both centred in each run,
    and the run of each sample (n_samples,)
    """
    rng = np.random.default_rng(seed)
    scale = np.logspace(0, -1.5, n_features, dtype=np.float32)
    x = rng.standard_normal((n_samples, n_features), dtype=np.float32) * scale
    weights = rng.standard_normal((n_features, n_voxels), dtype=np.float32)
    weights *= rng.random(n_voxels, dtype=np.float32) / np.sqrt((scale**2).sum())
    y = x @ weights
    y += rng.standard_normal(y.shape, dtype=np.float32)
    runs = np.repeat(np.arange(N_RUNS), n_samples // N_RUNS)
    for run in range(N_RUNS):
        own = slice(run * n_samples // N_RUNS, (run + 1) * n_samples // N_RUNS)
        x[own] -= x[own].mean(axis=0)
        y[own] -= y[own].mean(axis=0)
        y[own] /= y[own].std(axis=0)
    return x, y, runs


@row("ridge")
def ridge(setup: Setup) -> Row:
    """Twenty alphas, each of four runs left out in turn, then a fit of all runs with each voxel's best."""
    from himalaya.ridge import RidgeCV

    n_samples, n_features, n_voxels, n_peer = (
        (400, 50, 1000, 200) if setup.quick else (3600, 400, 100_000, 20_000 if setup.on_gpu else 4000)
    )
    x, y, runs = planted_runs(n_samples, n_features, n_voxels)
    measured = measure(setup, lambda: _fit(setup, x, y, runs, "primal"))
    weights, alphas, _ = measured.result
    options = _himalaya(setup, runs)

    def peer(voxels: np.ndarray) -> RidgeCV:
        return RidgeCV(ALPHAS, **options).fit(x, y[:, voxels])

    sample = np.linspace(0, n_voxels - 1, n_peer).astype(int)
    seconds_peer, theirs = _scaled(peer, sample, n_voxels)
    same = np.isclose(alphas[sample], _array(theirs.best_alphas_), rtol=1e-4)
    return Row(
        name="ridge",
        peer=f"himalaya RidgeCV ({_backend(setup)}), {n_peer} voxels timed and scaled beyond its fixed time",
        goal=20,
        agreement=_difference(weights[:, sample], _array(theirs.coef_), same),
        agreement_of="largest difference of weights where the alphas are the same",
        seconds_peer=seconds_peer,
        sizes=_sizes(x, y) | {"same_alphas": float(same.mean())},
        flops=ridge_flops(n_samples, n_features, n_voxels, setup.on_gpu),
        device=setup.device,
        **measured.of_row(),
    )


@row("banded-ridge")
def banded_ridge(setup: Setup) -> Row:
    """Three feature spaces, the same random gammas for both, then a fit with each voxel's best.

    Our refinement by the gradient, which the peer's search has not, is left out.
    """
    from himalaya.ridge import GroupRidgeCV

    from cinebold.encoding.gpu.banded_ridge import choose_and_fit_banded as on_device
    from cinebold.encoding.gpu.statistics import accumulate_on, as_arrays
    from cinebold.encoding.solvers.banded_ridge import PreparedBands, gamma_candidates, leave_one_run_out
    from cinebold.encoding.solvers.banded_ridge import choose_and_fit_banded as on_cpu
    from cinebold.encoding.statistics import accumulate
    from cinebold.encoding.tiles import one_thread_products

    n_samples, size, n_voxels, n_peer, n_candidates = (
        (400, 15, 400, 100, 5) if setup.quick else (3600, 100, 10_000, 1000, 100)
    )
    x, y, runs = planted_runs(n_samples, 3 * size, n_voxels)
    # Without the candidates of one space alone: himalaya divides by gammas of 0.
    candidates = gamma_candidates(3, n_candidates + 4)[4:]
    columns = {str(space): np.arange(space * size, (space + 1) * size) for space in range(3)}

    def ours():  # type: ignore[no-untyped-def]
        own = [runs == run for run in range(N_RUNS)]
        if setup.on_gpu:
            statistics = [as_arrays(accumulate_on(setup.device, x[rows], y[rows])) for rows in own]
        else:
            statistics = [accumulate(x[rows], y[rows]) for rows in own]
        whole, folds = leave_one_run_out(statistics)
        grams = [(train.gram, test.gram) for train, test in folds]
        options = {"scoring": "r", "unit_free": False, "dtype": np.float32, "memory_bytes": 0}
        if setup.on_gpu:
            bands = PreparedBands(whole.gram, grams, columns, ALPHAS, candidates, **options)
            return on_device(whole, folds, bands, device=setup.device)
        with one_thread_products() as n_threads:
            bands = PreparedBands(whole.gram, grams, columns, ALPHAS, candidates, **options)
            return on_cpu(whole, folds, bands, n_steps=0, n_threads=n_threads)

    measured = measure(setup, ours)
    options = _himalaya(setup, runs)
    options["solver_params"] |= {"n_iter": candidates.astype(np.float32), "alphas": ALPHAS.astype(np.float32)}
    options["solver_params"] |= {"progress_bar": False}
    spaces = np.split(x, 3, axis=1)

    def peer(voxels: np.ndarray) -> GroupRidgeCV:
        return GroupRidgeCV(groups="input", **options).fit(spaces, y[:, voxels])

    sample = np.linspace(0, n_voxels - 1, n_peer).astype(int)
    seconds_peer, theirs = _scaled(peer, sample, n_voxels)
    shortfall = _array(theirs.cv_scores_).max(axis=0) - measured.result.inner_score[sample]
    return Row(
        name="banded-ridge",
        peer=f"himalaya GroupRidgeCV ({_backend(setup)}), {n_peer} voxels timed and scaled beyond its fixed time",
        goal=5,
        agreement=float(shortfall.max()),
        agreement_of="largest amount by which the peer's held-out r is higher",
        seconds_peer=seconds_peer,
        sizes=_sizes(x, y) | {"n_spaces": 3, "n_candidates": len(candidates)},
        flops=banded_flops(3 * size, n_voxels, len(candidates)),
        device=setup.device,
        **measured.of_row(),
    )


@row("ridge-many-features")
def ridge_many_features(setup: Setup) -> Row:
    """More features than samples: by the path that the cost model chooses, to weights of features."""
    from himalaya.kernel_ridge import KernelRidgeCV

    x, y, runs = planted_runs(*((200, 1000, 500) if setup.quick else (3600, 20_000, 10_000)))
    measured = measure(setup, lambda: _fit(setup, x, y, runs, "auto"))
    weights, alphas, path = measured.result
    options = _himalaya(setup, runs)

    def peer() -> tuple[np.ndarray, np.ndarray]:
        theirs = KernelRidgeCV(ALPHAS, **options).fit(x, y)
        return _array(theirs.best_alphas_), _array(theirs.get_primal_coef())

    if setup.on_gpu:
        peer()  # starts its libraries
    seconds_peer, _, (their_alphas, their_weights) = timed(peer)
    same = np.isclose(alphas, their_alphas, rtol=1e-4)
    count = ridge_flops if path == "primal" else dual_flops
    return Row(
        name="ridge-many-features",
        peer=f"himalaya KernelRidgeCV ({_backend(setup)}), with its primal weights",
        goal=0.9,
        agreement=_difference(weights, their_weights, same),
        agreement_of="largest difference of weights where the alphas are the same",
        seconds_peer=seconds_peer,
        sizes=_sizes(x, y) | {"same_alphas": float(same.mean()), "path": path},
        flops=count(*x.shape, y.shape[1], setup.on_gpu),
        device=setup.device,
        **measured.of_row(),
    )


def ridge_flops(n_samples: int, n_features: int, n_voxels: int, on_gpu: bool = False) -> dict[str, float]:
    """X'Y, 2npV (float32 on a GPU), rotations to and fro, 4(F + 1)p^2V, and norms of predictions, FAp^2V."""
    n, p, v = float(n_samples), float(n_features), float(n_voxels)
    sums, rotations, norms = 2 * n * p * v, 4 * (N_RUNS + 1) * p**2 * v, N_RUNS * len(ALPHAS) * p**2 * v
    if on_gpu:
        return {"float32": sums + norms, "float64": rotations}
    return {"float32": norms, "float64": sums + rotations}


def banded_flops(n_features: int, n_voxels: int, n_candidates: int) -> dict[str, float]:
    """Each candidate and fold: rotations 4p^2V and norms of predictions Ap^2V, without decompositions."""
    once = float(n_candidates) * N_RUNS * n_features**2 * n_voxels
    return {"float32": len(ALPHAS) * once, "float64": 4 * once}


def dual_flops(n_samples: int, n_features: int, n_voxels: int, on_gpu: bool = False) -> dict[str, float]:
    """The terms of `dual_ridge.ridge_cost` without decompositions, those of folds and features in float32."""
    n, p, v = float(n_samples), float(n_features), float(n_voxels)
    m = n / N_RUNS
    t = n - m
    s = min(m, t)
    folds = N_RUNS * v * (2 * t**2 + 2 * m * t + len(ALPHAS) * (2 * s * t - s**2))
    return {"float32": folds + 2 * n * p * v, "float64": n**2 * p + 4 * n**2 * v + 2 * N_RUNS * m * t**2}


def _fit(
    setup: Setup, x: np.ndarray, y: np.ndarray, runs: np.ndarray, path: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """Weights (n_features, n_voxels), alphas (n_voxels,) and the path that was taken."""
    from cinebold.encoding.gpu.dual_ridge import solve_dual_ridge
    from cinebold.encoding.gpu.ridge import solve_ridge_over_runs
    from cinebold.encoding.sklearn_api import EncodingRidge
    from cinebold.encoding.solvers.dual_ridge import ridge_cost

    if not setup.on_gpu:
        model = EncodingRidge(ALPHAS, scoring="r", unit_free=False, single_precision=True, path=path)
        model.fit(x, y, groups=runs)
        return model.coef_.T, model.alpha_, model.path_
    if path == "auto":
        path = ridge_cost(*x.shape, y.shape[1], N_RUNS, len(ALPHAS)).path
    solve = {"primal": solve_ridge_over_runs, "dual": solve_dual_ridge}[path]
    ends = np.flatnonzero(np.diff(runs)) + 1  # a run's rows are neighbours: views
    options = {"scoring": "r", "unit_free": False, "dtype": np.float32}
    fit = solve(np.split(x, ends), np.split(y, ends), ALPHAS, device=setup.device, **options)
    return fit.weights, ALPHAS[fit.alpha_index], path


def _himalaya(setup: Setup, runs: np.ndarray) -> dict[str, Any]:
    from himalaya.backend import set_backend
    from himalaya.scoring import correlation_score
    from sklearn.model_selection import PredefinedSplit

    set_backend(_backend(setup))
    batches = BATCHES["cuda" if setup.on_gpu else "cpu"]
    return {"cv": PredefinedSplit(runs), "solver_params": {"score_func": correlation_score, **batches}}


def _backend(setup: Setup) -> str:
    return "torch_cuda" if setup.on_gpu else "torch"


def _array(tensor: Any) -> np.ndarray:
    return tensor.cpu().numpy() if hasattr(tensor, "cpu") else np.asarray(tensor)


def _scaled(peer: Callable, sample: np.ndarray, n_voxels: int) -> tuple[float, Any]:
    """Seconds for all voxels: what a few need, which is decompositions, and the rest in proportion."""
    fixed, _, _ = timed(lambda: peer(sample[:2]), repeats=2)  # the first starts its libraries
    seconds, _, result = timed(lambda: peer(sample))
    return fixed + max(seconds - fixed, 0.0) * n_voxels / len(sample), result


def _difference(ours: np.ndarray, theirs: np.ndarray, same: np.ndarray) -> float:
    return float(np.abs(ours - theirs)[:, same].max())


def _sizes(x: np.ndarray, y: np.ndarray) -> dict:
    return {
        "n_samples": len(x),
        "n_features": x.shape[1],
        "n_voxels": y.shape[1],
        "n_alphas": len(ALPHAS),
        "n_folds": N_RUNS,
    }
