"""Gammas and alphas of each voxel, refined from those of a random search by the gradient of the inner score."""

from collections.abc import Sequence

import numpy as np

from cinebold.encoding.banded_candidates import PreparedBands
from cinebold.encoding.banded_gradient import Accuracy, BandedFold, FoldState, loss_gradient, solve_fold

#: A space that a voxel does not use starts from this gamma: at 0 the gradient vanishes.
_LEAST_GAMMA = 1e-2
#: No space's gamma falls below this at the largest alpha.
_FLOOR = 1e-5
#: The longest step and the first one, in natural logarithms of a penalty.
_LONGEST, _FIRST = 2.0, 1.0
#: A voxel stops where a step promises less, in units of the score; and after so many steps that did not help.
_LEAST_GAIN, _MOST_REJECTED = 1e-6, 3
_TOLERANCE, _MAX_ITERATIONS = 1e-4, 50
_SCORE_ACCURACY = Accuracy(1e-8, 500)


def refine(
    folds: Sequence[BandedFold], bands: PreparedBands, gammas: np.ndarray, alphas: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deltas (n_spaces, n_targets) and inner scores (n_targets,) after at most `n_steps` quasi-Newton steps.

    Each voxel goes its own way, by BFGS in its few deltas (Nocedal & Wright, 2006, section 6.1): a step is taken
    only where the inner loss falls, and a fourth of it is tried next where it does not. The scores that are
    given back are found anew, in float64. Voxels do not depend on their neighbours.

    Parameters
    ----------
    gammas : (n_spaces, n_targets), on the simplex, where to start
    alphas : (n_targets,), above 0
    """
    accuracy = Accuracy(_TOLERANCE, _MAX_ITERATIONS, bands.dtype)
    low, high = _bounds(bands.alphas)
    delta = np.clip(np.log(np.maximum(gammas, _LEAST_GAMMA) / alphas), low, high)
    every = np.arange(delta.shape[1])
    states = [solve_fold(fold, delta, every, None, accuracy) for fold in folds]
    solutions = [state.solution for state in states]
    loss = _loss(bands, states)
    slope, adjoints = loss_gradient(folds, states, every, [None] * len(folds), bands.scoring, accuracy)
    search = _QuasiNewton(delta, slope, low, high)
    going = np.isfinite(loss)

    for _ in range(n_steps):
        step, promise = search.step()
        going &= (promise > _LEAST_GAIN) & (search.rejected < _MOST_REJECTED)
        own = np.flatnonzero(going)
        if not len(own):
            break
        trial = np.clip(search.point[:, own] + step[:, own], low, high)
        states = [
            solve_fold(fold, trial, own, solution[:, own], accuracy)
            for fold, solution in zip(folds, solutions, strict=True)
        ]
        tried = _loss(bands, states)
        better = tried < loss[own]
        search.reject(own[~better])
        taken = own[better]
        if not len(taken):
            continue
        going[taken] = loss[taken] - tried[better] > _LEAST_GAIN
        loss[taken] = tried[better]
        states = [state.of(better) for state in states]
        slope, new_adjoints = loss_gradient(
            folds, states, taken, [adjoint[:, taken] for adjoint in adjoints], bands.scoring, accuracy
        )
        for old, new in zip(
            (*solutions, *adjoints), (*(s.solution for s in states), *new_adjoints), strict=True
        ):
            old[:, taken] = new
        search.accept(taken, trial[:, better], slope)

    final = [
        solve_fold(fold, search.point, every, solution.astype(np.float64), _SCORE_ACCURACY)
        for fold, solution in zip(folds, solutions, strict=True)
    ]
    return search.point, -_loss(bands, final)


class _QuasiNewton:
    """BFGS between bounds, one problem a target, without the loss: points, slopes, inverse Hessians."""

    def __init__(self, point: np.ndarray, slope: np.ndarray, low: float, high: float) -> None:
        n_spaces, n_targets = point.shape
        self.point, self.slope, self.low, self.high = point, slope, low, high
        self.inverse = np.zeros((n_targets, n_spaces, n_spaces))
        self.known = np.zeros(n_targets, dtype=bool)
        self.scale, self.rejected = np.ones(n_targets), np.zeros(n_targets, dtype=np.int64)

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps (n_spaces, n_targets), and by how much the loss would fall if it were linear (n_targets,)."""
        outward = ((self.point <= self.low) & (self.slope > 0)) | (
            (self.point >= self.high) & (self.slope < 0)
        )
        slope = np.where(outward, 0.0, self.slope)
        newton = -np.einsum("vkl,lv->kv", self.inverse, slope)
        newton[outward] = 0
        largest = np.abs(slope).max(axis=0)
        steepest = -_FIRST * np.divide(slope, largest, out=np.zeros_like(slope), where=largest > 0)
        step = np.where(self.known & ((newton * slope).sum(axis=0) < 0), newton, steepest)
        length = np.abs(step).max(axis=0)
        step = step * (self.scale * np.minimum(1.0, _LONGEST / np.maximum(length, _LONGEST)))
        return step, -(step * slope).sum(axis=0)

    def reject(self, targets: np.ndarray) -> None:
        """Shorten the next step."""
        self.scale[targets] /= 4
        self.rejected[targets] += 1

    def accept(self, targets: np.ndarray, point: np.ndarray, slope: np.ndarray) -> None:
        """Move, and learn the curvature that was met."""
        s, y = point - self.point[:, targets], slope - self.slope[:, targets]
        self.point[:, targets], self.slope[:, targets] = point, slope
        self.scale[targets], self.rejected[targets] = 1.0, 0
        curvature = (s * y).sum(axis=0)
        convex = curvature > 1e-10 * np.sqrt((s * s).sum(axis=0) * (y * y).sum(axis=0))
        self.known[targets[~convex]] = False
        own, s, y, curvature = targets[convex], s[:, convex].T, y[:, convex].T, curvature[convex]
        unit = np.eye(s.shape[1])
        first = (curvature / np.maximum((y * y).sum(axis=1), np.finfo(float).tiny))[:, np.newaxis, np.newaxis]
        inverse = np.where(self.known[own][:, np.newaxis, np.newaxis], self.inverse[own], first * unit)
        rho = (1 / curvature)[:, np.newaxis, np.newaxis]
        left = unit - rho * s[:, :, np.newaxis] * y[:, np.newaxis, :]
        self.inverse[own] = (
            left @ inverse @ left.transpose(0, 2, 1) + rho * s[:, :, np.newaxis] * s[:, np.newaxis]
        )
        self.known[own] = True


def _bounds(alphas: np.ndarray) -> tuple[float, float]:
    positive = alphas[alphas > 0]
    return float(np.log(_FLOOR / positive[-1])), float(-np.log(positive[0]))


def _loss(bands: PreparedBands, states: Sequence[FoldState]) -> np.ndarray:
    return -bands.score([state.sums for state in states])
