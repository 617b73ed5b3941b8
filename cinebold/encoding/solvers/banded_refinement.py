"""Gammas and alphas of each voxel, refined from those of a random search by Newton's method on the inner score."""

from collections.abc import Sequence

import numpy as np

from cinebold.encoding.solvers.banded_candidates import PreparedBands
from cinebold.encoding.solvers.banded_gradient import BandedFold, FoldState, loss_derivatives, solve_fold
from cinebold.encoding.solvers.banded_systems import Accuracy

#: A space that a voxel does not use starts from this gamma: at 0 the gradient vanishes.
_LEAST_GAMMA = 1e-2
#: No space's gamma falls below this at the largest alpha.
_FLOOR = 1e-5
#: The longest step, in natural logarithms of a penalty.
_LONGEST = 2.0
#: Relative residuals: of the solutions and adjoints on the way, and of the tangents, which only the Hessian needs.
_TOLERANCE, _HESSIAN_TOLERANCE, _MAX_ITERATIONS = 1e-3, 3e-2, 50
#: A voxel stops where a step promises less, in units of the score; and after so many steps that did not help.
_LEAST_GAIN, _MOST_REJECTED = 1e-5, 3
_SCORE_ACCURACY = Accuracy(1e-8, 500)


def refine(
    folds: Sequence[BandedFold], bands: PreparedBands, gammas: np.ndarray, alphas: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deltas (n_spaces, n_targets) and inner scores (n_targets,) after at most `n_steps` Newton steps.

    Each voxel goes its own way. Its Hessian is made positive by the absolute values of its eigenvalues (Nocedal &
    Wright, 2006, section 3.4); a step is taken only where the inner loss falls, and a fourth of it is tried next
    where it does not. The scores that are given back are found anew, in float64. Voxels do not depend on their
    neighbours.

    Parameters
    ----------
    gammas : (n_spaces, n_targets), on the simplex, where to start
    alphas : (n_targets,), above 0
    """
    accuracy = Accuracy(_TOLERANCE, _MAX_ITERATIONS, bands.dtype)
    of_hessian = Accuracy(_HESSIAN_TOLERANCE, _MAX_ITERATIONS, bands.dtype)
    low, high = _bounds(bands.alphas)
    point = np.clip(np.log(np.maximum(gammas, _LEAST_GAMMA) / alphas), low, high)
    every = np.arange(point.shape[1])
    states = [solve_fold(fold, point, every, None, accuracy) for fold in folds]
    solutions = [state.solution for state in states]
    loss = _loss(bands, states)
    known = loss_derivatives(folds, states, every, None, bands.scoring, accuracy, of_hessian)
    scale, rejected = np.ones(len(every)), np.zeros(len(every), dtype=np.int64)
    going = np.isfinite(loss)

    for index in range(n_steps):
        own = np.flatnonzero(going)
        step, promise = _newton(point[:, own], known.gradient[:, own], known.hessian[:, :, own], low, high)
        step *= scale[own]
        worth = (promise > _LEAST_GAIN) & (rejected[own] < _MOST_REJECTED)
        going[own] = worth
        own, step = own[worth], step[:, worth]
        if not len(own):
            break
        trial = np.clip(point[:, own] + step, low, high)
        states = [
            solve_fold(fold, trial, own, solution[:, own], accuracy)
            for fold, solution in zip(folds, solutions, strict=True)
        ]
        tried = _loss(bands, states)
        better = tried < loss[own]
        rejected[own] = np.where(better, 0, rejected[own] + 1)
        scale[own] = np.where(better, 1.0, scale[own] / 4)
        taken = own[better]
        going[taken] = loss[taken] - tried[better] > _LEAST_GAIN
        loss[taken], point[:, taken] = tried[better], trial[:, better]
        for solution, state in zip(solutions, states, strict=True):
            solution[:, taken] = state.solution[:, better]
        on = better & going[own]
        taken = own[on]
        if index == n_steps - 1 or not len(taken):
            continue
        starts = [
            (adjoint[:, taken], tangent[:, :, taken])
            for adjoint, tangent in zip(known.adjoints, known.tangents, strict=True)
        ]
        new = loss_derivatives(
            folds, [state.of(on) for state in states], taken, starts, bands.scoring, accuracy, of_hessian
        )
        known.gradient[:, taken], known.hessian[:, :, taken] = new.gradient, new.hessian
        for old, found in zip(
            (*known.adjoints, *known.tangents), (*new.adjoints, *new.tangents), strict=True
        ):
            old[..., taken] = found

    final = [
        solve_fold(fold, point, every, solution.astype(np.float64), _SCORE_ACCURACY)
        for fold, solution in zip(folds, solutions, strict=True)
    ]
    return point, -_loss(bands, final)


def _newton(
    point: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (n_spaces, n_targets), and by how much the loss would fall if it were linear (n_targets,)."""
    outward = ((point <= low) & (gradient > 0)) | ((point >= high) & (gradient < 0))
    slope = np.where(outward, 0.0, gradient).T
    free = ~outward.T
    matrix = hessian.transpose(2, 0, 1) * (free[:, :, np.newaxis] & free[:, np.newaxis])
    values, vectors = np.linalg.eigh(matrix)
    along = np.einsum("vkl,vk->vl", vectors, slope)
    curvature = np.maximum(np.abs(values), np.finfo(np.float32).tiny)
    # No direction goes further than the longest step; where nothing slopes, nothing moves.
    lengths = np.clip(along / curvature, -_LONGEST, _LONGEST)
    step = -np.einsum("vkl,vl->vk", vectors, lengths)
    step[outward.T] = 0
    length = np.abs(step).max(axis=1, keepdims=True)
    step *= np.minimum(1.0, _LONGEST / np.maximum(length, _LONGEST))
    return step.T, -(step * slope).sum(axis=1)


def _bounds(alphas: np.ndarray) -> tuple[float, float]:
    positive = alphas[alphas > 0]
    return float(np.log(_FLOOR / positive[-1])), float(-np.log(positive[0]))


def _loss(bands: PreparedBands, states: Sequence[FoldState]) -> np.ndarray:
    return -bands.score([state.sums for state in states])
