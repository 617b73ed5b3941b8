"""Ridge, banded ridge and the dual path against himalaya's torch backend, all chosen by correlation."""

from collections.abc import Callable

import numpy as np

from benchmarks.registry import Row, Setup, row, timed

N_RUNS = 4
ALPHAS = np.logspace(-1, 5, 20)
#: Sizes of himalaya's batches, so that its predictions fit in memory; others were not tried.
BATCHES = {"n_targets_batch": 1000, "n_alphas_batch": 5, "n_targets_batch_refit": 1000}


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

    from cinebold.encoding.sklearn_api import EncodingRidge

    n_samples, n_features, n_voxels, n_peer = (
        (400, 50, 1000, 200) if setup.quick else (3600, 400, 100_000, 4000)
    )
    x, y, runs = planted_runs(n_samples, n_features, n_voxels)
    model = EncodingRidge(ALPHAS, scoring="r", unit_free=False, single_precision=True)
    seconds, peak_mb, _ = timed(lambda: model.fit(x, y, groups=runs))
    options = _himalaya(runs)

    def peer(voxels: np.ndarray) -> RidgeCV:
        return RidgeCV(ALPHAS, **options).fit(x, y[:, voxels])

    sample = np.linspace(0, n_voxels - 1, n_peer).astype(int)
    seconds_peer, theirs = _scaled(peer, sample, n_voxels)
    same = np.isclose(model.alpha_[sample], np.asarray(theirs.best_alphas_), rtol=1e-4)
    return Row(
        name="ridge",
        peer=f"himalaya RidgeCV (torch), {n_peer} voxels timed and scaled beyond its fixed time",
        goal=20,
        agreement=_difference(model.coef_[sample].T, np.asarray(theirs.coef_), same),
        agreement_of="largest difference of weights where the alphas are the same",
        seconds_ours=seconds,
        seconds_peer=seconds_peer,
        peak_mb=peak_mb,
        sizes=_sizes(x, y) | {"same_alphas": float(same.mean())},
    )


@row("banded-ridge")
def banded_ridge(setup: Setup) -> Row:
    """Three feature spaces, the same random gammas for both, then a fit with each voxel's best."""
    from himalaya.ridge import GroupRidgeCV

    from cinebold.encoding.banded_ridge import gamma_candidates, leave_one_run_out, solve_banded_ridge
    from cinebold.encoding.statistics import accumulate

    n_samples, size, n_voxels, n_peer, n_candidates = (
        (400, 15, 400, 100, 5) if setup.quick else (3600, 100, 10_000, 1000, 100)
    )
    x, y, runs = planted_runs(n_samples, 3 * size, n_voxels)
    # Without the candidates of one space alone: himalaya divides by gammas of 0.
    candidates = gamma_candidates(3, n_candidates + 4)[4:]

    def ours():  # type: ignore[no-untyped-def]
        statistics = [accumulate(x[runs == run], y[runs == run]) for run in range(N_RUNS)]
        return solve_banded_ridge(
            *leave_one_run_out(statistics),
            [size] * 3,
            ALPHAS,
            candidates,
            scoring="r",
            unit_free=False,
            dtype=np.float32,
        )

    seconds, peak_mb, fit = timed(ours)
    options = _himalaya(runs)
    options["solver_params"] |= {"n_iter": candidates.astype(np.float32), "alphas": ALPHAS.astype(np.float32)}
    options["solver_params"] |= {"progress_bar": False}
    spaces = np.split(x, 3, axis=1)

    def peer(voxels: np.ndarray) -> GroupRidgeCV:
        return GroupRidgeCV(groups="input", **options).fit(spaces, y[:, voxels])

    sample = np.linspace(0, n_voxels - 1, n_peer).astype(int)
    seconds_peer, theirs = _scaled(peer, sample, n_voxels)
    shortfall = np.asarray(theirs.cv_scores_).max(axis=0) - fit.inner_score[sample]
    return Row(
        name="banded-ridge",
        peer=f"himalaya GroupRidgeCV (torch), {n_peer} voxels timed and scaled beyond its fixed time",
        goal=5,
        agreement=float(shortfall.max()),
        agreement_of="largest amount by which the peer's held-out r is higher",
        seconds_ours=seconds,
        seconds_peer=seconds_peer,
        peak_mb=peak_mb,
        sizes=_sizes(x, y) | {"n_spaces": 3, "n_candidates": len(candidates)},
    )


@row("ridge-many-features")
def ridge_many_features(setup: Setup) -> Row:
    """More features than samples: by the path that the cost model chooses, to weights of features."""
    from himalaya.kernel_ridge import KernelRidgeCV

    from cinebold.encoding.sklearn_api import EncodingRidge

    x, y, runs = planted_runs(*((200, 1000, 500) if setup.quick else (3600, 20_000, 10_000)))
    model = EncodingRidge(ALPHAS, scoring="r", unit_free=False, single_precision=True)
    seconds, peak_mb, _ = timed(lambda: model.fit(x, y, groups=runs))
    options = _himalaya(runs)

    def peer() -> tuple[np.ndarray, np.ndarray]:
        theirs = KernelRidgeCV(ALPHAS, **options).fit(x, y)
        return np.asarray(theirs.best_alphas_), np.asarray(theirs.get_primal_coef())

    seconds_peer, _, (alphas, weights) = timed(peer)
    same = np.isclose(model.alpha_, alphas, rtol=1e-4)
    return Row(
        name="ridge-many-features",
        peer="himalaya KernelRidgeCV (torch), with its primal weights",
        goal=0.9,
        agreement=_difference(model.coef_.T, weights, same),
        agreement_of="largest difference of weights where the alphas are the same",
        seconds_ours=seconds,
        seconds_peer=seconds_peer,
        peak_mb=peak_mb,
        sizes=_sizes(x, y) | {"same_alphas": float(same.mean()), "path": model.path_},
    )


def _himalaya(runs: np.ndarray) -> dict:
    from himalaya.backend import set_backend
    from himalaya.scoring import correlation_score
    from sklearn.model_selection import PredefinedSplit

    set_backend("torch")
    return {"cv": PredefinedSplit(runs), "solver_params": {"score_func": correlation_score, **BATCHES}}


def _scaled(peer: Callable, sample: np.ndarray, n_voxels: int) -> tuple[float, object]:
    """Seconds for all voxels: what a few need, which is decompositions, and the rest in proportion."""
    fixed, _, _ = timed(lambda: peer(sample[:2]))
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
