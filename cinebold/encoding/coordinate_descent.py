"""Coordinate descent for LASSO and elastic net on statistics, compiled: one voxel at a time, Gram matrix in cache.

All voxels of a training set share its Gram matrix, so a voxel costs no sample: the gradient c - Gw is kept and
each changed weight updates it by one row of G (covariance updates; Friedman, Hastie & Tibshirani, 2010, J. Stat.
Software 33(1)). Only weights that are not zero, and those whose gradient exceeds the penalty, are visited (active
set); the duality gap over all features says when to stop. Voxels never share a sum, so that neither tiles nor
threads change a digit.

The compiled functions let go of the interpreter's lock: call them from threads, a tile of voxels each.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

#: Sums may be taken in any order (vector registers); NaN and infinity keep their meaning.
_FAST = frozenset({"reassoc", "contract", "nsz", "arcp"})
#: Gram rows are padded to whole registers.
_LANES = 8


def padded_rows(matrix: np.ndarray) -> np.ndarray:
    """A copy in float64, its rows (last axis) filled up with zeros to a multiple of the register width."""
    missing = -matrix.shape[-1] % _LANES
    widths = [(0, 0)] * (matrix.ndim - 1) + [(0, missing)]
    return np.pad(np.asarray(matrix, dtype=np.float64), widths)


@cache
def descend_path() -> Callable[..., None]:
    """The compiled path solver of some voxels, see `_descend_path`."""
    return _compiled(_descend_path, descend=_descender())


@cache
def held_out_path() -> Callable[..., None]:
    """The compiled path solver that gives held-out sums in place of weights, see `_held_out_path`."""
    return _compiled(_held_out_path, descend=_descender())


@cache
def choose_on_path() -> Callable[..., None]:
    """The compiled choice of each voxel's alpha over folds, see `_choose_on_path`."""
    return _compiled(_choose_on_path, descend=_descender())


@cache
def _descender() -> Callable[..., float]:
    # Voxels with NaN never get here; without "nnan" a maximum is not taken in vector registers.
    return _compiled(_descend, fastmath=_FAST | {"nnan"})


def _compiled(
    function: Callable[..., Any], fastmath: frozenset[str] = _FAST, **globals_: Any
) -> Callable[..., Any]:
    """Compile; in memory only, as an installed package and a home folder may be read-only."""
    import types

    import numba

    bound = types.FunctionType(function.__code__, {**function.__globals__, **globals_}, function.__name__)
    return numba.njit(nogil=True, cache=False, fastmath=set(fastmath))(bound)


def _descend(  # type: ignore[no-untyped-def]
    gram, cross, total, penalty, ridge, tolerance, max_iterations, w, gradient, active, listed
):
    """Solve one voxel at one penalty from where `w` and `gradient` stand; gives the relative duality gap.

    min over w of total / 2 - w'cross + w'(gram)w / 2 + penalty |w|_1 + ridge |w|^2 / 2, sums divided by n.
    The gap is scikit-learn's (`cd_fast.enet_coordinate_descent_gram`) over y'y.

    Parameters
    ----------
    gram : (n_features, width) rows padded with zeros
    cross, w, gradient : (width,); gradient = cross - gram @ w
    active, listed : (n_features,) scratch, int64 and bool
    """
    n_features, width = gram.shape
    n_active = 0
    for j in range(n_features):
        listed[j] = gram[j, j] > 0.0 and (w[j] != 0.0 or abs(gradient[j]) > penalty)
        if listed[j]:
            active[n_active] = j
            n_active += 1
    gap = np.inf
    for _ in range(max_iterations):
        for position in range(n_active):
            j = active[position]
            curvature = gram[j, j]
            old = w[j]
            pull = gradient[j] + curvature * old
            # The soft threshold without a branch: what of the pull exceeds the penalty, on either side.
            new = (max(pull - penalty, 0.0) + min(pull + penalty, 0.0)) / (curvature + ridge)
            if new != old:
                change = new - old
                w[j] = new
                for i in range(width):
                    gradient[i] -= change * gram[j, i]
        l1 = 0.0
        squares = 0.0
        fitted = 0.0  # w'X'y / n
        through = 0.0  # w'X'(y - Xw) / n
        dual_norm = 0.0
        for i in range(width):
            l1 += abs(w[i])
            squares += w[i] * w[i]
            fitted += w[i] * cross[i]
            through += w[i] * gradient[i]
        for i in range(width):
            slope = abs(gradient[i] - ridge * w[i])
            if slope > dual_norm:
                dual_norm = slope
        residual = total - fitted - through  # |y - Xw|^2 / n
        if penalty > 0.0:
            shrink = penalty / dual_norm if dual_norm > penalty else 1.0
            gap = (
                0.5 * (residual + ridge * squares) * (1.0 + shrink * shrink)
                + penalty * l1
                - shrink * (total - fitted)
            )
        else:
            # Without an l1 penalty there is no such dual point; the slope along w says how far it may go.
            gap = dual_norm * l1
        if gap <= tolerance * total:
            break
        if dual_norm > penalty:
            for j in range(n_features):
                if not listed[j] and gram[j, j] > 0.0 and abs(gradient[j]) > penalty:
                    listed[j] = True
                    active[n_active] = j
                    n_active += 1
    return max(gap / total, 0.0)


def _descend_path(  # type: ignore[no-untyped-def]
    gram, cross, total, penalties, share, tolerance, max_iterations, weights, gaps
):
    """Fill `weights` (n_targets, n_alphas, n_features) and `gaps` (n_targets, n_alphas) along falling penalties.

    Parameters
    ----------
    cross : (n_targets, width); total : (n_targets,)
    penalties : (n_targets or 1, n_alphas), of the l1 and the squared norm together
    share : of the penalty that is l1 (l1_ratio)
    """
    n_features, width = gram.shape
    w = np.zeros(width)
    gradient = np.zeros(width)
    active = np.empty(n_features, dtype=np.int64)
    listed = np.empty(n_features, dtype=np.bool_)
    for target in range(cross.shape[0]):
        if not total[target] > 0.0:
            continue
        w[:] = 0.0
        gradient[:] = cross[target]
        for step in range(penalties.shape[1]):
            penalty = penalties[target, step]
            gaps[target, step] = descend(  # noqa: F821
                gram,
                cross[target],
                total[target],
                penalty * share,
                penalty * (1.0 - share),
                tolerance,
                max_iterations,
                w,
                gradient,
                active,
                listed,
            )
            for j in range(n_features):
                weights[target, step, j] = w[j]


def _held_out_path(  # type: ignore[no-untyped-def]
    gram,
    cross,
    total,
    penalties,
    share,
    tolerance,
    max_iterations,
    test_gram,
    test_cross,
    product,
    squared,
    gaps,
):
    """As `_descend_path`, but fills w'test_cross and w'test_gram w, (n_targets, n_alphas) each."""
    n_features, width = gram.shape
    w = np.zeros(width)
    gradient = np.zeros(width)
    active = np.empty(n_features, dtype=np.int64)
    listed = np.empty(n_features, dtype=np.bool_)
    image = np.zeros(width)
    for target in range(cross.shape[0]):
        if not total[target] > 0.0:
            continue
        w[:] = 0.0
        gradient[:] = cross[target]
        for step in range(penalties.shape[1]):
            penalty = penalties[target, step]
            gaps[target, step] = descend(  # noqa: F821
                gram,
                cross[target],
                total[target],
                penalty * share,
                penalty * (1.0 - share),
                tolerance,
                max_iterations,
                w,
                gradient,
                active,
                listed,
            )
            image[:] = 0.0
            for j in range(n_features):
                if w[j] != 0.0:
                    for i in range(width):
                        image[i] += w[j] * test_gram[j, i]
            along = 0.0
            length = 0.0
            for i in range(width):
                along += w[i] * test_cross[target, i]
                length += w[i] * image[i]
            product[target, step] = along
            squared[target, step] = length


def _choose_on_path(  # type: ignore[no-untyped-def]
    grams,
    crosses,
    totals,
    penalties,
    share,
    tolerance,
    max_iterations,
    test_grams,
    test_crosses,
    least_squares_error,
    reach,
    tie,
    chosen,
    errors,
):
    """Fill `chosen` (n_targets,), the step along the falling penalties of the least held-out error.

    Parameters
    ----------
    grams, test_grams : (n_folds, n_features, width), divided by n and not
    crosses, test_crosses : (n_targets, n_folds, width)
    totals : (n_targets, n_folds), divided by n
    penalties : (n_targets, n_alphas)
    least_squares_error, reach : (n_targets,) of all folds: at a penalty a the error is at least
        least_squares_error - a * reach, so that the path ends where no penalty below can be the best
    tie : (n_targets,) errors nearer than this are equal, and the larger penalty is kept
    errors : (n_targets, n_alphas) held-out squared errors less y'y; NaN where the path had ended
    """
    n_folds, n_features, width = grams.shape
    w = np.zeros((n_folds, width))
    gradient = np.zeros((n_folds, width))
    active = np.empty(n_features, dtype=np.int64)
    listed = np.empty(n_features, dtype=np.bool_)
    image = np.zeros(width)
    for target in range(crosses.shape[0]):
        w[:] = 0.0
        gradient[:] = crosses[target]
        best = np.inf
        chosen[target] = 0
        for step in range(penalties.shape[1]):
            penalty = penalties[target, step]
            if least_squares_error[target] - penalty * reach[target] >= best:
                break
            error = 0.0
            for fold in range(n_folds):
                if not totals[target, fold] > 0.0:
                    continue
                descend(  # noqa: F821
                    grams[fold],
                    crosses[target, fold],
                    totals[target, fold],
                    penalty * share,
                    penalty * (1.0 - share),
                    tolerance,
                    max_iterations,
                    w[fold],
                    gradient[fold],
                    active,
                    listed,
                )
                image[:] = 0.0
                for j in range(n_features):
                    if w[fold, j] != 0.0:
                        for i in range(width):
                            image[i] += w[fold, j] * test_grams[fold, j, i]
                for i in range(width):
                    error += w[fold, i] * (image[i] - 2.0 * test_crosses[target, fold, i])
            errors[target, step] = error
            if error < best - tie[target]:
                best = error
                chosen[target] = step
