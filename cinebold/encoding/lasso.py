"""LASSO and elastic net on centred statistics: all voxels share one Gram matrix, each has its own alpha."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cinebold.encoding import coordinate_descent
from cinebold.encoding.coordinate_descent import padded_rows
from cinebold.encoding.statistics import CentredStatistics
from cinebold.encoding.tiles import n_linear_algebra_threads
from cinebold.errors import SettingError

logger = logging.getLogger(__name__)

_TOLERANCE = 1e-8
#: Scores that choose alpha need fewer digits than weights that are kept.
_SELECTION_TOLERANCE = 1e-6
_MAX_ITERATIONS = 10_000
_CHUNK = 256
#: Held-out errors nearer than this share of y'y are a tie, which goes to the larger alpha.
_TIE = 1e-9


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
    #: Share of the penalty that is l1.
    l1_ratio = 1.0

    def __init__(self, gram: np.ndarray, n_samples: int) -> None:
        self.gram, self.n_samples = gram, n_samples

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_features, n_targets) at each target's own alpha (n_targets,)."""
        grid = np.asarray(alphas, dtype=np.float64)[:, np.newaxis]
        path, _ = solve_lasso_path(self.gram, cross, total, self.n_samples, grid, l1_ratio=self.l1_ratio)
        return path[:, 0].T

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2 over centred test rows, each (n_alphas, n_targets).

        They are summed along the path: neither predictions nor the weights at all alphas are ever in memory.
        """
        n_targets = cross.shape[1]
        falling = np.argsort(alphas)[::-1]
        grid = np.asarray(alphas, dtype=np.float64)[falling]
        product, squared, gaps = (np.zeros((n_targets, len(grid))) for _ in range(3))
        shared = padded_rows(self.gram) / self.n_samples
        test_rows = padded_rows(test_gram)
        kernel = coordinate_descent.held_out_path()

        def solve(part: slice) -> None:
            scaled = padded_rows(cross[:, part].T) / self.n_samples
            kernel(
                shared,
                scaled,
                np.asarray(total[part], dtype=np.float64) / self.n_samples,
                _largest(scaled, self.l1_ratio) * grid,
                self.l1_ratio,
                _SELECTION_TOLERANCE,
                _MAX_ITERATIONS,
                test_rows,
                padded_rows(test_cross[:, part].T),
                product[part],
                squared[part],
                gaps[part],
            )

        _in_chunks(solve, n_targets)
        _warn_of_open_gaps(gaps, _SELECTION_TOLERANCE, _MAX_ITERATIONS)
        rising = np.argsort(falling)
        return product.T[rising], np.maximum(squared.T[rising], 0)

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
    *,
    l1_ratio: float = 1.0,
    alpha_max: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""LASSO or elastic net for many targets and falling alphas by coordinate descent with covariance updates.

    .. math:: \min_w \tfrac{1}{2n} |y - Xw|^2 + a \rho |w|_1 + \tfrac{a (1 - \rho)}{2} |w|^2,

    with rho = `l1_ratio` and a = alpha * alpha_max; alpha_max = max|X'y| / (n rho) silences the target. Each
    alpha starts from the solution of the one before. It stops when the duality gap, which needs no samples
    either, is below `tolerance` * y'y / n (the criterion of scikit-learn's Lasso and ElasticNet).
    Friedman, Hastie & Tibshirani (2010), J. Stat. Software 33(1); Zou & Hastie (2005), J. R. Stat. Soc. B 67.

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X
    cross : (n_features, n_targets) centred X'Y
    total : (n_targets,) centred sums of squares of Y
    alphas : (1 or n_targets, n_alphas) falling shares of alpha_max
    l1_ratio : share of the penalty that is l1, above 0 and at most 1
    alpha_max : (n_targets,) what the alphas are shares of; 1 everywhere for alphas in scikit-learn's unit;
        None: of these statistics

    Returns
    -------
    weights (n_targets, n_alphas, n_features), duality gaps over y'y / n (n_targets, n_alphas)
    """
    n_features, n_targets = cross.shape
    alphas = np.asarray(alphas, dtype=np.float64)
    if not (alphas >= 0).all() or (np.diff(alphas, axis=1) > 0).any():
        raise SettingError("The alphas of a LASSO path must be falling and not negative.")
    _check_l1_ratio(l1_ratio)
    weights = np.zeros((n_targets, alphas.shape[1], n_features))
    gaps = np.zeros((n_targets, alphas.shape[1]))
    shared = padded_rows(gram) / n_samples
    kernel = coordinate_descent.descend_path()

    def solve(part: slice) -> None:
        scaled = padded_rows(cross[:, part].T) / n_samples
        unit = _largest(scaled, l1_ratio) if alpha_max is None else np.asarray(alpha_max)[part, np.newaxis]
        kernel(
            shared,
            scaled,
            np.asarray(total[part], dtype=np.float64) / n_samples,
            unit * (alphas[part] if len(alphas) > 1 else alphas),
            float(l1_ratio),
            tolerance,
            max_iterations,
            weights[part],
            gaps[part],
        )

    _in_chunks(solve, n_targets)
    _warn_of_open_gaps(gaps, tolerance, max_iterations)
    return weights, gaps


def choose_lasso_alphas(
    training: Sequence[CentredStatistics],
    held_out: Sequence[CentredStatistics],
    alphas: Sequence[float],
    alpha_max: np.ndarray,
    *,
    l1_ratio: float = 1.0,
    tolerance: float = _SELECTION_TOLERANCE,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Each target's alpha by the least held-out squared error, pooled over folds; ties go to the larger alpha.

    All folds of a voxel go down their paths together, and the path ends where no smaller alpha can be the best.
    With e and H the held-out X'y and X'X, the error without y'y is E(w) = w'Hw - 2w'e. A LASSO solution lies at
    w = v - a n G^{-1} z, where v is the least-squares solution and all |z_j| <= 1, so that by convexity

    .. math:: E(w) \ge E(v) - 2 a n |G^{-1} (H v - e)|_1 .

    The bound is exact: it leaves out alphas, never the best one. It is not used for the elastic net, nor where
    a Gram matrix is singular.

    Parameters
    ----------
    training, held_out : statistics of each fold
    alphas : shares of alpha_max, in any order
    alpha_max : (n_targets,) the same for all folds, as in scikit-learn's LassoCV

    Returns
    -------
    index into `alphas` (n_targets,), held-out errors less y'y (n_alphas, n_targets), NaN where not needed
    """
    _check_l1_ratio(l1_ratio)
    falling = np.argsort(alphas, kind="stable")[::-1]
    penalties = np.asarray(alphas, dtype=np.float64)[falling] * np.asarray(alpha_max)[:, np.newaxis]
    n_targets = len(penalties)
    grams = np.stack([padded_rows(fold.gram) / fold.n for fold in training])
    test_grams = np.stack([padded_rows(fold.gram) for fold in held_out])
    totals = np.stack([fold.total / fold.n for fold in training], axis=1)
    tie = _TIE * sum(fold.total for fold in held_out)
    bounded = l1_ratio == 1 and all(_well_posed(fold.gram) for fold in training)
    chosen = np.zeros(n_targets, dtype=np.int64)
    errors = np.full(penalties.shape, np.nan)
    kernel = coordinate_descent.choose_on_path()

    def solve(part: slice) -> None:
        if bounded:
            floor, reach = _least_squares_bound(training, held_out, part)
        else:
            floor, reach = np.full(len(chosen[part]), -np.inf), np.zeros(len(chosen[part]))
        kernel(
            grams,
            np.stack([padded_rows(fold.cross[:, part].T) / fold.n for fold in training], axis=1),
            totals[part],
            penalties[part],
            float(l1_ratio),
            tolerance,
            _MAX_ITERATIONS,
            test_grams,
            np.stack([padded_rows(fold.cross[:, part].T) for fold in held_out], axis=1),
            floor,
            reach,
            tie[part],
            chosen[part],
            errors[part],
        )

    _in_chunks(solve, n_targets)
    return falling[chosen], errors[:, np.argsort(falling)].T


def _least_squares_bound(
    training: Sequence[CentredStatistics], held_out: Sequence[CentredStatistics], part: slice
) -> tuple[np.ndarray, np.ndarray]:
    """E(v), and the slope 2 n |G^-1 (Hv - e)|_1 by which it can fall with alpha, summed over folds."""
    error, reach = 0.0, 0.0
    for train, test in zip(training, held_out, strict=True):
        least_squares = np.linalg.solve(train.gram, train.cross[:, part])
        image = test.gram @ least_squares
        crossed = test.cross[:, part]
        error = error + (least_squares * (image - 2 * crossed)).sum(axis=0)
        reach = reach + 2 * train.n * np.abs(np.linalg.solve(train.gram, image - crossed)).sum(axis=0)
    return error, reach


def _well_posed(gram: np.ndarray) -> bool:
    values = np.linalg.eigvalsh(gram)
    return bool(values[0] > 1e-10 * values[-1])


def _largest(cross: np.ndarray, l1_ratio: float) -> np.ndarray:
    """alpha_max of each target, (n_targets, 1), from X'y / n (n_targets, width)."""
    return np.abs(cross).max(axis=1, keepdims=True) / l1_ratio


def _check_l1_ratio(l1_ratio: float) -> None:
    if not 0 < l1_ratio <= 1:
        raise SettingError(f"l1_ratio must be above 0 and at most 1, got {l1_ratio}.")


def _in_chunks(solve: Callable[[slice], None], n_targets: int) -> None:
    """Each target is solved by one thread alone: the number of threads changes nothing."""
    parts = [slice(start, min(start + _CHUNK, n_targets)) for start in range(0, n_targets, _CHUNK)]
    with ThreadPoolExecutor(n_linear_algebra_threads()) as threads:
        list(threads.map(solve, parts))


def _warn_of_open_gaps(gaps: np.ndarray, tolerance: float, max_iterations: int) -> None:
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
