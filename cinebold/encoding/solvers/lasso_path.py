"""Paths of LASSO and elastic net over falling alphas for many voxels at once."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cinebold.encoding.tiles import n_linear_algebra_threads
from cinebold.errors import SettingError

logger = logging.getLogger(__name__)

TOLERANCE = 1e-8
MAX_ITERATIONS = 10_000
#: Voxels that one thread solves at a time: their state stays in the second-level cache.
_CHUNK = 256
#: As much, where one voxel after another is solved.
_SPARSE_CHUNK = 2048
#: So that alpha_max silences a voxel whichever way its division was rounded.
SILENCES = 1.0 + 1e-15


def solve_lasso_path(
    gram: np.ndarray,
    cross: np.ndarray,
    total: np.ndarray,
    n_samples: int,
    alphas: np.ndarray,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    *,
    l1_ratio: float = 1.0,
    alpha_max: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""LASSO or elastic net for many targets and falling alphas by coordinate descent with covariance updates.

    .. math:: \min_w \tfrac{1}{2n} |y - Xw|^2 + a \rho |w|_1 + \tfrac{a (1 - \rho)}{2} |w|^2,

    with rho = `l1_ratio` and a = alpha * alpha_max; alpha_max = max|X'y| / (n rho) silences the target. Each
    alpha starts from the solutions before it. It stops when the duality gap, which needs no samples either, is
    below `tolerance` * y'y / n (the criterion of scikit-learn's Lasso and ElasticNet).
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
    weights (n_targets, n_alphas, n_features), duality gaps over y'y / n (n_targets, n_alphas); both 0 for a target
    that is constant or not finite
    """
    alphas = np.asarray(alphas, dtype=np.float64)
    if not (alphas >= 0).all() or (np.diff(alphas, axis=1) > 0).any():
        raise SettingError("The alphas of a LASSO path must be falling and not negative.")
    check_l1_ratio(l1_ratio)
    unit = alpha_max_of(cross, n_samples, l1_ratio) if alpha_max is None else alpha_max
    paths = LassoPaths(penalties_of(alphas, unit), l1_ratio, tolerance)
    weights = np.zeros((cross.shape[1], alphas.shape[1], cross.shape[0]))
    targets = None
    if alphas.shape[1] == 1 and l1_ratio == 1:
        from cinebold.encoding.solvers.lasso_sparse import solve_sparse

        solved = np.zeros(len(total), dtype=bool)
        known = (gram / n_samples, _contiguous(cross), np.asarray(total, dtype=np.float64), n_samples)
        found = (weights[:, 0], paths.gaps[:, 0], solved)

        def solve(part: slice) -> None:
            solve_sparse(*known, paths.penalties[:, 0], tolerance, part, *found)

        _in_chunks(solve, len(total), _SPARSE_CHUNK)
        targets = np.flatnonzero(~solved)
    paths.follow(
        np.float64,
        [(gram, cross, total, n_samples)],
        weights=weights,
        max_iterations=max_iterations,
        targets=targets,
    )
    paths.warn_of_open_gaps(max_iterations)
    return weights, np.nan_to_num(paths.gaps)


class LassoPaths:
    """What is known of all targets' paths: w'e, w'Hw and duality gaps at each penalty, NaN where not followed."""

    def __init__(self, penalties: np.ndarray, l1_ratio: float, tolerance: float) -> None:
        self.penalties, self.l1_ratio, self.tolerance = penalties, float(l1_ratio), tolerance
        self.along, self.length, self.gaps = (np.full(penalties.shape, np.nan) for _ in range(3))

    def follow(
        self,
        dtype: Any,
        problems: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, int]],
        *,
        max_iterations: int,
        held_out: Sequence[tuple[np.ndarray, np.ndarray]] = (),
        bound: Any = None,
        weights: np.ndarray | None = None,
        targets: np.ndarray | None = None,
    ) -> None:
        """Follow the paths of some targets (None: of all) in each fold; each is solved by one thread alone.

        Parameters
        ----------
        problems : gram, cross, total, n of each fold; held_out : gram, cross of each
        """
        order = np.arange(len(self.penalties)) if targets is None else targets
        if not order.size:
            return
        from cinebold.encoding.solvers.coordinate_descent import follow_paths

        counts = np.array([n for *_, n in problems], dtype=np.float64)
        totals = np.stack([np.asarray(total, dtype=np.float64) for _, _, total, _ in problems])
        crosses = tuple(_contiguous(cross) for _, cross, _, _ in problems)
        with np.errstate(divide="ignore", invalid="ignore"):
            signal = alpha_max_of(crosses[0], 1, 1.0)[order] / np.sqrt(totals[0, order])
        # Alike voxels leave together and need the same weights.
        order = order[np.argsort(signal, kind="stable")]
        usable = np.isfinite(totals).all(axis=0) & (totals > 0).any(axis=0)
        order = order[usable[order]]
        shared = {
            "test_grams": np.stack([gram for gram, _ in held_out]) if held_out else None,
            "test_crosses": tuple(_contiguous(cross) for _, cross in held_out),
            "bound": bound,
            "weights": weights,
        }
        grams = np.stack([gram / n for gram, _, _, n in problems])

        def solve(part: slice) -> None:
            follow_paths(
                dtype,
                grams,
                crosses,
                totals,
                counts,
                order[part],
                self.penalties,
                self.l1_ratio,
                self.tolerance,
                max_iterations,
                self.along,
                self.length,
                self.gaps,
                **shared,
            )

        _in_chunks(solve, len(order))

    def warn_of_open_gaps(self, max_iterations: int) -> None:
        """Say how many fits stopped before the duality gap was small enough."""
        n_open = int((self.gaps > self.tolerance).sum())
        if n_open:
            logger.warning(
                "LASSO: %d of %d fits did not reach the duality gap of %g in %d iterations; the largest "
                "relative gap is %g.",
                n_open,
                int(np.isfinite(self.gaps).sum()),
                self.tolerance,
                max_iterations,
                np.nanmax(self.gaps),
            )


def _contiguous(cross: np.ndarray) -> np.ndarray:
    """In rows, in single or double precision: what the compiled functions read."""
    return np.ascontiguousarray(cross, dtype=np.float32 if cross.dtype == np.float32 else np.float64)


def alpha_max_of(cross: np.ndarray, n_samples: int, l1_ratio: float) -> np.ndarray:
    """alpha_max of each target, (n_targets,), from X'y (n_features, n_targets)."""
    return np.maximum(cross.max(axis=0), -cross.min(axis=0)) / (n_samples * l1_ratio)


def penalties_of(alphas: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(n_targets, n_alphas) from alphas (n_alphas,) or (1 or n_targets, n_alphas) and their unit (n_targets,)."""
    return np.asarray(alphas, dtype=np.float64) * np.asarray(unit, dtype=np.float64)[:, np.newaxis]


def check_l1_ratio(l1_ratio: float) -> None:
    if not 0 < l1_ratio <= 1:
        raise SettingError(f"l1_ratio must be above 0 and at most 1, got {l1_ratio}.")


def _in_chunks(solve: Callable[[slice], None], n_targets: int, chunk: int = _CHUNK) -> None:
    """Each target is solved by one thread alone: the number of threads changes nothing."""
    parts = [slice(start, min(start + chunk, n_targets)) for start in range(0, n_targets, chunk)]
    if len(parts) < 2:
        for part in parts:
            solve(part)
        return
    with ThreadPoolExecutor(n_linear_algebra_threads()) as threads:
        list(threads.map(solve, parts))
