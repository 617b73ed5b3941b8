"""The choice of LASSO and elastic-net alphas over folds, for many voxels at once."""

from collections.abc import Sequence

import numpy as np

from cinebold.encoding.solvers.lasso_path import (
    MAX_ITERATIONS,
    TOLERANCE,
    LassoPaths,
    check_l1_ratio,
    penalties_of,
)
from cinebold.encoding.statistics import CentredStatistics

#: Scores that choose alpha need fewer digits than weights that are kept.
SELECTION_TOLERANCE = 1e-6
#: Held-out errors nearer than this share of y'y are a tie, which goes to the larger alpha.
_TIE = 1e-9
#: Errors of two alphas nearer than this share of y'y are computed again to the tolerance of kept weights.
_NEAR_TIE = 1e-5
#: Least over largest eigenvalue of a Gram matrix from which on single precision serves to compare alphas.
_SINGLE_PRECISION_FROM = 1e-3
#: The bound that ends paths early is not used below.
_WELL_POSED_FROM = 1e-8
#: The voxels that need more sweeps than this for an alpha in single precision are solved in double precision.
_SINGLE_PRECISION_SWEEPS = 20


def choose_lasso_alphas(
    training: Sequence[CentredStatistics],
    held_out: Sequence[CentredStatistics],
    alphas: Sequence[float],
    alpha_max: np.ndarray,
    *,
    l1_ratio: float = 1.0,
    tolerance: float = SELECTION_TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Each target's alpha by the least held-out squared error, pooled over folds; ties go to the larger alpha.

    All folds of a voxel go down their paths together, and a path ends where no smaller alpha can be the best
    (`lasso_bound`).
    The bound is exact: it leaves out alphas, never the best one. It is not used for the elastic net, nor where
    a Gram matrix is singular. Paths are followed in single precision where the Gram matrices allow it; alphas whose
    errors come out nearly equal are compared once more in double precision.

    Parameters
    ----------
    training, held_out : statistics of each fold
    alphas : shares of alpha_max, in any order
    alpha_max : (n_targets,) the same for all folds, as in scikit-learn's LassoCV

    Returns
    -------
    index into `alphas` (n_targets,), held-out errors less y'y (n_alphas, n_targets), NaN where not needed
    """
    check_l1_ratio(l1_ratio)
    falling = np.argsort(alphas, kind="stable")[::-1]
    penalties = penalties_of(np.asarray(alphas, dtype=np.float64)[falling], alpha_max)
    problems = [(fold.gram, fold.cross, fold.total, fold.n) for fold in training]
    tests = [(fold.gram, fold.cross) for fold in held_out]
    held_out_total = np.sum([fold.total for fold in held_out], axis=0)
    least_over_largest = min(_least_over_largest(fold.gram) for fold in training)
    bound = None
    if l1_ratio == 1 and least_over_largest > _WELL_POSED_FROM:
        from cinebold.encoding.solvers.lasso_bound import prepare_bound

        bound = prepare_bound(training, held_out)

    paths = LassoPaths(penalties, l1_ratio, tolerance)
    if least_over_largest > _SINGLE_PRECISION_FROM:
        paths.follow(
            np.float32, problems, held_out=tests, bound=bound, max_iterations=_SINGLE_PRECISION_SWEEPS
        )
        again = np.flatnonzero((paths.gaps > tolerance).any(axis=1))
    else:
        again = np.arange(len(penalties))
    paths.follow(
        np.float64, problems, held_out=tests, bound=bound, max_iterations=MAX_ITERATIONS, targets=again
    )
    paths.warn_of_open_gaps(MAX_ITERATIONS)
    errors = paths.length - 2 * paths.along
    chosen = _first_least(errors, _TIE * held_out_total)

    near, rivals = _rivals(errors, chosen, _NEAR_TIE * held_out_total)
    if near.size:
        closer = LassoPaths(np.take_along_axis(penalties[near], rivals, axis=1), l1_ratio, TOLERANCE)
        closer.follow(
            np.float64,
            [(gram, cross[:, near], total[near], n) for gram, cross, total, n in problems],
            held_out=[(gram, cross[:, near]) for gram, cross in tests],
            max_iterations=MAX_ITERATIONS,
        )
        closer.warn_of_open_gaps(MAX_ITERATIONS)
        found = closer.length - 2 * closer.along
        best = _first_least(found, _TIE * held_out_total[near])
        chosen[near] = rivals[np.arange(len(near)), best]
        errors[near[:, np.newaxis], rivals] = found
    return falling[chosen], errors[:, np.argsort(falling)].T


def _first_least(errors: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """The step (n_targets,) of the least error (n_targets, n_steps), the first of those within `tie`."""
    best = np.full(len(errors), np.inf)
    chosen = np.zeros(len(errors), dtype=np.int64)
    for step, error in enumerate(errors.T):
        better = error < best - tie
        best[better], chosen[better] = error[better], step
    return chosen


def _rivals(errors: np.ndarray, chosen: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets with an alpha whose error is not the chosen one's but within `near` of it, and the steps to compare.

    Returns
    -------
    targets (n,), steps (n, 3 or n_steps) rising: the chosen one and its nearest rivals
    """
    best = np.take_along_axis(errors, chosen[:, np.newaxis], axis=1)
    distance = np.where(errors == best, np.inf, np.abs(errors - best))
    distance[~(distance <= near[:, np.newaxis])] = np.inf
    targets = np.flatnonzero(np.isfinite(distance).any(axis=1))
    distance = distance[targets]
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :2]
    rival = np.isfinite(np.take_along_axis(distance, nearest, axis=1))
    own = chosen[targets, np.newaxis]
    return targets, np.sort(np.concatenate([own, np.where(rival, nearest, own)], axis=1), axis=1)


def _least_over_largest(gram: np.ndarray) -> float:
    values = np.linalg.eigvalsh(gram)
    return float(values[0] / values[-1]) if values[-1] > 0 else 0.0
