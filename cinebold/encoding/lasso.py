"""LASSO on centred statistics: coordinate descent for each voxel, all voxels sharing one Gram matrix."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from cinebold.encoding.tiles import n_linear_algebra_threads
from cinebold.errors import SettingError

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-8
#: Scores that choose alpha need fewer digits than weights that are kept.
_SELECTION_TOLERANCE = 1e-5
_MAX_ITERATIONS = 10_000
_CHUNK = 256


class LassoSolver:
    """LASSO on one training set: min over w of |y - Xw|^2 / 2n + alpha * alpha_max * |w|_1, alpha_max =
    max|X'y| / n.

    See `solve_lasso_path`. Alphas are shares of each voxel's own alpha_max.

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X of the training rows
    n_samples : number of training rows
    """

    default_alphas = tuple(float(alpha) for alpha in np.logspace(-2.5, 0, 16))

    def __init__(self, gram: np.ndarray, n_samples: int) -> None:
        self.gram, self.n_samples = gram, n_samples

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_features, n_targets) at each target's own alpha (n_targets,)."""
        grid = np.asarray(alphas, dtype=np.float64)[:, np.newaxis]
        path, _ = solve_lasso_path(self.gram, cross, total, self.n_samples, grid)
        return path[:, 0].T

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2 over centred test rows, each (n_alphas, n_targets)."""
        n_targets = cross.shape[1]
        falling = np.argsort(alphas)[::-1]
        y_prediction = np.empty((len(alphas), n_targets))
        prediction_squared = np.empty_like(y_prediction)
        grid = np.asarray(alphas, dtype=np.float64)[falling]
        # A path of all alphas for all voxels of a tile at once would not fit in memory.
        for start in range(0, n_targets, 4 * _CHUNK):
            part = slice(start, start + 4 * _CHUNK)
            path, _ = solve_lasso_path(
                self.gram, cross[:, part], total[part], self.n_samples, grid[np.newaxis]
            )
            for position, index in enumerate(falling):
                weights = path[:, position].T  # (n_features, n_targets of the part)
                y_prediction[index, part] = (weights * test_cross[:, part]).sum(axis=0)
                prediction_squared[index, part] = (weights * (test_gram @ weights)).sum(axis=0)
        return y_prediction, np.maximum(prediction_squared, 0)

    def diagnostics(self) -> dict[str, float]:
        """Condition number and rank of the Gram matrix."""
        values = np.linalg.eigvalsh(self.gram)
        usable = values[values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0)]
        return {"condition_number": float(usable[-1] / usable[0]), "rank": len(usable)}


def solve_lasso_path(
    gram: np.ndarray,
    cross: np.ndarray,
    total: np.ndarray,
    n_samples: int,
    alphas: np.ndarray,
    tolerance: float = _TOLERANCE,
    max_iterations: int = _MAX_ITERATIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """LASSO for many targets and falling alphas by coordinate descent with covariance updates.

    Each alpha starts from the solution of the one before. It stops when the duality gap, which needs no
    samples either, is below `tolerance` * y'y (the criterion of scikit-learn's Lasso).
    Friedman, Hastie & Tibshirani (2010), J. Stat. Software 33(1).

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X
    cross : (n_features, n_targets) centred X'Y
    total : (n_targets,) centred sums of squares of Y
    alphas : (1 or n_targets, n_alphas) falling shares of alpha_max = max|X'y| / n of each target

    Returns
    -------
    weights (n_targets, n_alphas, n_features), relative duality gaps (n_targets, n_alphas)
    """
    n_features, n_targets = cross.shape
    alphas = np.ascontiguousarray(alphas, dtype=np.float64)
    if (alphas < 0).any() or (np.diff(alphas, axis=1) > 0).any():
        raise SettingError("The alphas of a LASSO path must be falling and not negative.")
    weights = np.zeros((n_targets, alphas.shape[1], n_features))
    gaps = np.zeros((n_targets, alphas.shape[1]))
    scaled_gram = np.ascontiguousarray(gram, dtype=np.float64) / n_samples
    scaled_cross = np.ascontiguousarray(np.asarray(cross, dtype=np.float64).T) / n_samples
    scaled_total = np.asarray(total, dtype=np.float64) / n_samples
    kernel = _kernel()

    def solve(start: int) -> None:
        part = slice(start, start + _CHUNK)
        own = alphas[part] if len(alphas) > 1 else alphas
        kernel(
            scaled_gram,
            scaled_cross[part],
            scaled_total[part],
            own,
            tolerance,
            max_iterations,
            weights[part],
            gaps[part],
        )

    # Each target is solved by one thread alone: the number of threads changes nothing.
    with ThreadPoolExecutor(n_linear_algebra_threads()) as threads:
        list(threads.map(solve, range(0, n_targets, _CHUNK)))
    n_open = int((gaps > tolerance).sum())
    if n_open:
        logger.warning(
            "LASSO: %d of %d fits did not reach the duality gap of %g in %d iterations; the largest "
            "relative gap is %g.",
            n_open,
            gaps.size,
            tolerance,
            max_iterations,
            gaps.max(),
        )
    return weights, gaps


@cache
def _kernel() -> Callable[..., None]:
    """Compile the coordinate descent; kept in memory only, as an installed package may be read-only."""
    import numba

    return numba.njit(nogil=True, cache=False)(_descend)


def _descend(gram, cross, total, alphas, tolerance, max_iterations, weights, gaps):  # type: ignore[no-untyped-def]
    """Coordinate descent for some targets. All sums are divided by n; `cross` is (n_targets, n_features)."""
    n_targets, n_features = cross.shape
    w = np.zeros(n_features)
    gradient = np.zeros(n_features)  # X'(y - Xw) / n
    active = np.zeros(n_features, dtype=np.bool_)
    # The gap is of second order in the step, so that it falls below the tolerance at about this step.
    settled = np.sqrt(tolerance)
    for target in range(n_targets):
        own = target if alphas.shape[0] > 1 else 0
        alpha_max = 0.0
        for j in range(n_features):
            w[j] = 0.0
            gradient[j] = cross[target, j]
            alpha_max = max(alpha_max, abs(gradient[j]))
        if not (alpha_max > 0.0 and total[target] > 0.0):
            continue
        for step in range(alphas.shape[1]):
            penalty = alphas[own, step] * alpha_max
            relative_gap = np.inf
            only_active = False
            for _ in range(max_iterations):
                largest_step = 0.0
                largest_weight = 0.0
                for j in range(n_features):
                    curvature = gram[j, j]
                    if curvature <= 0.0 or (only_active and not active[j]):
                        continue
                    old = w[j]
                    pull = gradient[j] + curvature * old
                    if pull > penalty:
                        new = (pull - penalty) / curvature
                    elif pull < -penalty:
                        new = (pull + penalty) / curvature
                    else:
                        new = 0.0
                    if new != old:
                        change = new - old
                        w[j] = new
                        for i in range(n_features):
                            gradient[i] -= change * gram[j, i]
                        largest_step = max(largest_step, abs(change))
                    active[j] = new != 0.0
                    largest_weight = max(largest_weight, abs(new))
                if only_active:
                    # Back to all features once the active ones have settled.
                    only_active = largest_step > settled * largest_weight
                    continue
                l1 = 0.0
                fitted = 0.0  # w'X'y / n
                through_gradient = 0.0  # w'X'(y - Xw) / n
                dual_norm = 0.0
                for j in range(n_features):
                    l1 += abs(w[j])
                    fitted += w[j] * cross[target, j]
                    through_gradient += w[j] * gradient[j]
                    dual_norm = max(dual_norm, abs(gradient[j]))
                residual = total[target] - fitted - through_gradient  # |y - Xw|^2 / n
                shrink = penalty / dual_norm if dual_norm > penalty else 1.0
                gap = (
                    0.5 * residual * (1.0 + shrink * shrink)
                    + penalty * l1
                    - shrink * (total[target] - fitted)
                )
                relative_gap = gap / total[target]
                if relative_gap <= tolerance:
                    break
                only_active = True
            for j in range(n_features):
                weights[target, step, j] = w[j]
            gaps[target, step] = max(relative_gap, 0.0)
