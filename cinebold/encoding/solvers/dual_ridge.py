"""Ridge with more columns than rows: weights of samples from one kernel matrix, cut in run blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.solvers.ridge_path import (
    RidgeFit,
    check_runs,
    choose,
    leave_one_out,
    path_sums,
    rising,
    scoring_of,
    triangular,
)
from cinebold.encoding.tiles import give_back_freed_memory, one_thread_products, run_tiles

#: An eigendecomposition takes as long as a matrix product of so many n^3 operations: 9 to 15 at n 200 to 1600.
_DECOMPOSITION = 12
#: So many columns of the features are gone over at once; for the kernel in float64.
_COLUMNS = 2048
#: Means beyond so many standard deviations are taken from the columns before products in single precision.
_FAR = 10.0
#: Most voxels of a tile: what threads have used and given back may stay with the process when the weights of all voxels
#: need the memory.
_LARGEST_TILE = 128


@dataclass(frozen=True)
class RidgeCost:
    """Floating-point operations of ridge over runs."""

    primal: float
    dual: float

    @property
    def path(self) -> str:
        """ "primal" or "dual", the one with fewer operations."""
        return "dual" if self.dual < self.primal else "primal"


def ridge_cost(n_samples: int, n_features: int, n_targets: int, n_folds: int, n_alphas: int) -> RidgeCost:
    """How much work ridge over runs is by either path.

    With n samples, p features, V targets, K folds of n/K test rows m and t = n - m training rows, A alphas, q =
    min(m, p) rows of the triangular factor of the test rows, r = min(p, t) and R = min(p, n) directions of the
    kernels and s = min(m, r):

        primal = n p^2 + 2 n p V                        sums
               + K [12 p^3 + 4 p^2 V                    decomposition; both X'Y in its basis
                    + A V (2 q p - q^2)]                norms of predictions
               + 12 p^3 + 4 p^2 V                       weights
        dual   = n^2 p                                  kernel
               + K [12 t^3 + 2 m t r + 2 t r V + 2 m r V + A V (2 s r - s^2)]
               + 12 n^3 + 4 n R V + 2 n p V             weights of samples, then of features

    Near the break-even, at p = n/3 to p = n, both take about as long, and the model may choose the slower.
    """
    n, p, v = float(n_samples), float(n_features), float(n_targets)
    m = n / n_folds
    t = n - m
    q, of_fold, of_whole = min(m, p), min(p, t), min(p, n)
    s = min(m, of_fold)
    primal = n * p**2 + 2 * n * p * v + (n_folds + 1) * (_DECOMPOSITION * p**3 + 4 * p**2 * v)
    primal += n_folds * n_alphas * v * (2 * q * p - q**2)
    dual = n**2 * p + _DECOMPOSITION * n**3 + 4 * n * of_whole * v + 2 * n * p * v
    dual += n_folds * (_DECOMPOSITION * t**3 + 2 * of_fold * (m * t + t * v + m * v))
    dual += n_folds * n_alphas * v * (2 * s * of_fold - s**2)
    return RidgeCost(primal, dual)


def solve_dual_ridge(
    features: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    alphas: Sequence[float],
    *,
    scoring: str = "rsquared",
    unit_free: bool = True,
    centre_runs: bool = True,
    dtype: type = np.float64,
    voxel_tile: int = 1024,
    progress: bool = False,
) -> RidgeFit:
    """Ridge in the dual, each voxel's alpha chosen by leaving out one run at a time.

        w = X' (K + alpha * trace(K) / p * I)^-1 y,    K = X X'

    Equal to `solve_ridge_over_runs`, whose parameters these are. Where each run is centred on its own mean,
    K does not depend on the fold: training and test kernels are its blocks. The columns are gone over twice,
    for K and for the weights.
    """
    check_runs(features, responses)
    alphas, score = rising(alphas), scoring_of(scoring)
    folds = leave_one_out(len(features))
    starts = np.cumsum([0, *(len(run) for run in features)])
    rows = [np.arange(start, start + len(run)) for start, run in zip(starts, features, strict=False)]
    run_of = np.repeat(np.arange(len(features)), [len(run) for run in features])
    group = run_of if centre_runs else np.zeros_like(run_of)

    mean_x, kernel, far = _kernel(features, group)
    # Products with columns far from 0 would lose digits: those get a copy about their means.
    x = [(run - mean_x).astype(run.dtype) for run in features] if far else features
    n_targets, n_features = responses[0].shape[1], features[0].shape[1]
    weights = np.empty((n_features, n_targets), dtype=np.result_type(responses[0].dtype, np.float32))
    intercept, inner_score = np.empty(n_targets), np.empty(n_targets)
    alpha_index = np.empty(n_targets, dtype=np.int64)

    # Few large decompositions: here threads may share the work.
    prepared = [
        _Fold(
            kernel,
            np.concatenate([rows[run] for run in train]),
            np.concatenate([rows[run] for run in test]),
            group,
            n_features,
            unit_free,
            alphas,
            dtype,
        )
        for train, test in folds
    ]
    whole = _Dual(kernel, n_features, unit_free)
    del kernel
    vectors = whole.vectors = whole.vectors.astype(dtype, copy=False)

    def read(tile: slice) -> np.ndarray:
        return np.concatenate([np.asarray(run[:, tile], dtype=np.float64) for run in responses])

    def choose_tile(tile: slice) -> None:
        y = read(tile)
        inner_score[tile], alpha_index[tile] = choose(score([fold.sums(y) for fold in prepared]))

    def solve(tile: slice) -> None:
        y = read(tile)
        c = vectors.T @ _centred(y, group).astype(dtype, copy=False)
        c *= whole.shrinkage(alphas[alpha_index[tile]]).T
        dual = vectors @ c
        # Centred rows times dual weights are plain rows times centred dual weights: no copy of the features.
        dual = _centred(dual, group).astype(weights.dtype)
        intercept[tile] = y.mean(axis=0)
        for start in range(0, n_features, _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            own = sum(run[:, columns].T @ dual[at] for run, at in zip(x, rows, strict=True))
            weights[columns, tile] = own
            intercept[tile] -= mean_x[columns] @ own

    width = min(voxel_tile, _LARGEST_TILE)
    tiles = [slice(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]
    with one_thread_products() as n_threads:
        run_tiles(choose_tile, tiles, n_threads, progress)
        prepared.clear()  # the weights of all voxels may need the memory
        give_back_freed_memory()
        run_tiles(solve, tiles, n_threads, progress)
    return RidgeFit(weights, intercept, alpha_index, inner_score)


class _Dual:
    """Eigenvectors of a centred kernel (n_samples, n_samples), without the directions of no variance."""

    def __init__(self, kernel: np.ndarray, n_features: int, unit_free: bool) -> None:
        values, vectors = np.linalg.eigh(kernel)
        usable = values > max(len(values), n_features) * np.finfo(np.float64).eps * max(values[-1], 0)
        self.values, self.vectors = values[usable], vectors[:, usable]
        self.unit = float(np.trace(kernel)) / n_features if unit_free else 1.0

    def shrinkage(self, alphas: np.ndarray) -> np.ndarray:
        """1 / (L + penalty), (n_alphas, n_directions)."""
        return 1.0 / (self.values + self.unit * alphas[:, np.newaxis])


class _Fold:
    """What the tiles need of one fold: blocks of the kernel, decomposed."""

    def __init__(
        self,
        kernel: np.ndarray,
        train: np.ndarray,
        test: np.ndarray,
        group: np.ndarray,
        n_features: int,
        unit_free: bool,
        alphas: np.ndarray,
        dtype: type,
    ) -> None:
        self.train, self.test = train, test
        self.train_group, self.test_group = group[train], group[test]
        own = kernel[np.ix_(train, train)]
        own = _centred(_centred(own, self.train_group).T, self.train_group)
        across = kernel[np.ix_(test, train)]
        across = _centred(_centred(across, self.test_group).T, self.train_group).T
        dual = _Dual(own, n_features, unit_free)
        projected = across @ dual.vectors  # (n_test, n_directions): predictions of one unit each
        self.root = triangular(projected).astype(dtype)
        self.shrinkage = dual.shrinkage(alphas)
        self.vectors, self.projected = dual.vectors.astype(dtype), projected.astype(dtype)
        self.dtype = dtype

    def sums(self, y: np.ndarray) -> HeldOutSums:
        train = _centred(y[self.train], self.train_group).astype(self.dtype)
        test = _centred(y[self.test], self.test_group)
        c, e = self.vectors.T @ train, self.projected.T @ test.astype(self.dtype)
        pair = path_sums(c, e, self.root, self.shrinkage)
        return HeldOutSums(len(test), np.einsum("tv,tv->v", test, test), *pair)


def _kernel(features: Sequence[np.ndarray], group: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Means of the columns, X X' of centred rows summed in float64 a block of columns at a time, and whether a mean is
    many times its column's standard deviation.
    """
    n_features = features[0].shape[1]
    mean, kernel, far = np.empty(n_features), np.zeros((len(group), len(group))), False
    for start in range(0, n_features, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        block = np.concatenate([np.asarray(run[:, columns], dtype=np.float64) for run in features])
        mean[columns] = block.mean(axis=0)
        block = _centred(block, group)
        far = far or bool((np.abs(mean[columns]) > _FAR * block.std(axis=0)).any())
        kernel += block @ block.T
    return mean, kernel, far


def _centred(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Rows minus the mean of those of their group."""
    result = rows.copy()
    for member in np.unique(group):
        own = group == member
        result[own] -= rows[own].mean(axis=0)
    return result
