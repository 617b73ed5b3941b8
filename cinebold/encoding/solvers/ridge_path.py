"""Ridge at all alphas, scored on held-out rows without predictions; one alpha a voxel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cinebold.encoding.scores import HeldOutSums, held_out_r, held_out_rsquared
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.statistics import accumulate, centred, shared_panels
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.errors import InputError, SettingError

#: Inner scores nearer than this are a tie, which goes to the larger alpha.
_TIE = 1e-9
_N_BLOCKS = 8
#: Memory for the scaled copies of a fold.
_KEPT_BYTES = 2**26

SCORINGS = {"rsquared": held_out_rsquared, "r": held_out_r}


@dataclass(frozen=True)
class RidgeFit:
    """Weights of ridge whose alphas were chosen by held-out runs."""

    weights: np.ndarray  #: (n_features, n_targets)
    intercept: np.ndarray  #: (n_targets,)
    alpha_index: np.ndarray  #: (n_targets,) index into the alphas
    inner_score: np.ndarray  #: (n_targets,) pooled over the held-out runs, at the chosen alpha


def solve_ridge_over_runs(
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
    """Ridge in the primal, each voxel's alpha chosen by leaving out one run at a time.

        w = (G + alpha * trace(G) / p * I)^-1 c

    with G and c the centred X'X and X'Y; `solve_dual_ridge` gives the same for more columns than rows. Voxels
    are read in tiles, each once; beyond weights and scores, memory is of the order of a tile.

    Parameters
    ----------
    features : a run each, (n_samples, n_features)
    responses : a run each, (n_samples, n_targets)
    alphas : rising
    scoring : "rsquared" or "r", pooled over held-out runs (`cinebold.encoding.scores`)
    unit_free : False: the penalty is alpha itself
    centre_runs : one intercept a run; False: one for all
    dtype : float32: products within a run, about provisional means, and the scores that choose alpha, in half the
        time; runs are added, and equations solved, in float64 either way
    voxel_tile : changes no result
    """
    check_runs(features, responses)
    alphas, score = rising(alphas), scoring_of(scoring)
    x = [np.asarray(run, dtype=np.float64) for run in features]
    # Sums of squares of columns far from 0 would lose digits: a common shift changes nothing else.
    shift = np.concatenate(x).mean(axis=0)
    x = [run - shift for run in x]
    folds = leave_one_out(len(x))
    n_targets = responses[0].shape[1]
    weights = np.empty((x[0].shape[1], n_targets), dtype=np.result_type(responses[0].dtype, np.float32))
    intercept, inner_score = np.empty(n_targets), np.empty(n_targets)
    alpha_index = np.empty(n_targets, dtype=np.int64)

    def solve(tile: slice) -> None:
        y, shift_y = [response[:, tile] for response in responses], 0.0
        if dtype == np.float32:
            # Single precision keeps its digits about a provisional mean.
            shift_y = y[0].mean(axis=0)
            y = [own - shift_y for own in y]
        runs = [
            accumulate(run, own, statistics.xx, dtype, in_panels)
            for run, own, statistics, in_panels in zip(narrow, y, known, panels, strict=True)
        ]
        sums = []
        for basis, form, (train, test) in zip(bases, forms, folds, strict=True):
            held_out = pool(runs, test, centre_runs)
            c = basis.T @ pool(runs, train, centre_runs).cross.astype(dtype)
            e = basis.T @ held_out.cross.astype(dtype)
            sums.append(HeldOutSums(held_out.n, held_out.total, *form.sums(c, e)))
        inner_score[tile], alpha_index[tile] = choose(score(sums))
        pooled = pool(runs, range(len(runs)), centre_runs)
        own = whole.solve(pooled.cross, alphas[alpha_index[tile]])
        weights[:, tile] = own
        intercept[tile] = pooled.mean_y + shift_y - (pooled.mean_x + shift) @ own

    # Threads that share a small decomposition wait for each other: it has one, and tiles have one each.
    with one_thread_products() as n_threads:
        known = [accumulate(run, np.zeros((len(run), 0))) for run in x]
        solvers = [_Primal(pool(known, train, centre_runs).gram, unit_free) for train, _ in folds]
        whole = _Primal(pool(known, range(len(x)), centre_runs).gram, unit_free)
        bases = [solver.vectors.astype(dtype) for solver in solvers]
        forms = [
            HeldOutForms(
                triangular(gram_root(pool(known, test, centre_runs).gram) @ solver.vectors).astype(dtype),
                solver.shrinkage(alphas),
            )
            for solver, (_, test) in zip(solvers, folds, strict=True)
        ]
        narrow = [run.astype(dtype) for run in x]
        panels = [
            shared_panels(run, response[:, :voxel_tile], dtype)
            for run, response in zip(narrow, responses, strict=True)
        ]
        tiles = [slice(start, start + voxel_tile) for start in range(0, n_targets, voxel_tile)]
        run_tiles(solve, tiles, n_threads, progress)
    return RidgeFit(weights, intercept, alpha_index, inner_score)


class HeldOutForms:
    """Sums of y * prediction and of prediction^2 over held-out rows, at all alphas.

    In the basis in which ridge is diagonal, with d = 1 / (L + penalty) of an alpha:

        y'yhat = d'(c * e),    yhat'yhat = |R (d * c)|^2

    Parameters
    ----------
    root : (n_rows, n_directions) upper trapezoidal R, with R'R the test X'X in the basis; its dtype is that of
        the products
    shrinkage : (n_alphas, n_directions) d
    keep : scaled copies of R for the next tile, where they are small
    """

    def __init__(self, root: np.ndarray, shrinkage: np.ndarray, keep: bool = True) -> None:
        self._root, self._shrinkage = root, shrinkage
        # The zeros below the diagonal are not multiplied: blocks of rows, each from its first column on.
        self._bounds = list(pairwise(np.unique(np.linspace(0, len(root), _N_BLOCKS + 1).astype(int))))
        small = len(shrinkage) * root.nbytes <= _KEPT_BYTES
        self._kept = [self._scaled(*bounds) for bounds in self._bounds] if keep and small else None

    def _scaled(self, first: int, last: int) -> np.ndarray:
        """A block of rows scaled by every alpha, (n_alphas * n_rows, n_directions - first): one product for all."""
        d = self._shrinkage.astype(self._root.dtype)[:, np.newaxis, first:]
        return (self._root[first:last, first:] * d).reshape(-1, self._root.shape[1] - first)

    def sums(self, c: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two arrays of shape (n_alphas, n_targets).

        Parameters
        ----------
        c, e : (n_directions, n_targets) training and test X'Y, in the basis
        """
        product = self._shrinkage @ (c * e)
        squared = np.zeros_like(product)
        for number, (first, last) in enumerate(self._bounds):
            block = self._scaled(first, last) if self._kept is None else self._kept[number]
            part = (block @ c[first:]).reshape(len(squared), -1, c.shape[1])
            for own, rows in zip(squared, part, strict=True):
                own += np.einsum("rv,rv->v", rows, rows)
        return product, squared


def path_sums(
    c: np.ndarray, e: np.ndarray, root: np.ndarray, shrinkage: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sums of `HeldOutForms`, for a root that is used once."""
    return HeldOutForms(root, shrinkage, keep=False).sums(c, e)


def gram_root(gram: np.ndarray) -> np.ndarray:
    """B of shape (rank, n_features) with B'B = gram; columns of any unit count alike in what the rank is."""
    scale = np.sqrt(np.maximum(np.diag(gram), 0))  # a column of zeros can be below by rounding
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    values, vectors = np.linalg.eigh(inverse[:, np.newaxis] * gram * inverse)
    usable = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    return np.sqrt(values[usable])[:, np.newaxis] * vectors[:, usable].T * scale


def triangular(root: np.ndarray) -> np.ndarray:
    """Upper trapezoidal R with R'R = root'root."""
    return np.linalg.qr(root, mode="r")


def choose(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each target and the index of its alpha; ties go to the larger alpha, NaN counts as 0.

    Parameters
    ----------
    scores : (n_alphas, n_targets), alphas rising
    """
    scores = np.nan_to_num(scores, nan=0.0)
    good = scores >= scores.max(axis=0) - _TIE
    index = len(scores) - 1 - good[::-1].argmax(axis=0)
    return np.take_along_axis(scores, index[np.newaxis], axis=0)[0], index


def scoring_of(name: str) -> Callable[[Sequence[HeldOutSums]], np.ndarray]:
    """The score of that name; a SettingError for another."""
    if name not in SCORINGS:
        raise SettingError(f"Unknown scoring {name!r}: choose one of {', '.join(SCORINGS)}.")
    return SCORINGS[name]


def leave_one_out(n_runs: int) -> list[tuple[list[int], list[int]]]:
    """Indices of training and test runs of each fold."""
    return [([other for other in range(n_runs) if other != run], [run]) for run in range(n_runs)]


def pool(runs, members, centre_runs: bool = True):  # type: ignore[no-untyped-def]
    """Statistics of some runs, each centred on its own means or all on common ones."""
    chosen = [runs[index] for index in members]
    return centred(chosen if centre_runs else [sum(chosen[1:], start=chosen[0])])


def rising(alphas: Sequence[float]) -> np.ndarray:
    """The alphas as an array; a SettingError unless finite, not negative and rising."""
    grid = np.asarray(alphas, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or not np.isfinite(grid).all() or (grid < 0).any():
        raise SettingError(f"alphas must be a list of finite numbers that are not negative, got {alphas}.")
    if (np.diff(grid) <= 0).any():
        raise SettingError(f"alphas must rise, got {alphas}.")
    return grid


def check_runs(features: Sequence[np.ndarray], responses: Sequence[np.ndarray]) -> None:
    """An InputError unless there are two runs or more of equal columns, with a response to each sample."""
    if len(features) < 2 or len(features) != len(responses):
        raise InputError(
            "Leaving out one run at a time needs at least two runs with features and responses, found "
            f"{len(features)} and {len(responses)}."
        )
    for run, (x, y) in enumerate(zip(features, responses, strict=True)):
        if len(x) != len(y) or x.shape[1] != features[0].shape[1] or y.shape[1] != responses[0].shape[1]:
            raise InputError(
                f"Run {run} has features {x.shape} and responses {y.shape}: expected as many samples in both, "
                f"{features[0].shape[1]} features and {responses[0].shape[1]} targets as in run 0."
            )


class _Primal(RidgeSolver):
    """A ridge solver whose penalty can be absolute."""

    def __init__(self, gram: np.ndarray, unit_free: bool) -> None:
        super().__init__(gram, 0)
        if not unit_free:
            self.penalty_unit = 1.0

    def shrinkage(self, alphas: np.ndarray) -> np.ndarray:
        return self._shrinkage(alphas)

    def solve(self, cross: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        return self.weights(cross, np.empty(0), alphas)
