"""Banded ridge: each voxel weighs the feature spaces itself, all from one Gram matrix.

Nunez-Elizalde, Huth & Gallant (2019), NeuroImage 197; random search as in Dupre la Tour et al. (2022),
NeuroImage 264.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from cinebold.encoding.ridge_path import (
    choose,
    gram_root,
    leave_one_out,
    path_sums,
    pool,
    rising,
    scoring_of,
    triangular,
)
from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.statistics import CentredStatistics, RunStatistics
from cinebold.encoding.tiles import one_thread_products
from cinebold.errors import SettingError

#: A candidate must be better than those before it by more than this.
_TIE = 1e-9
#: The share from which a refinement raises a space that a voxel does not use.
_LEAST_GAMMA = 1e-3


@dataclass(frozen=True)
class BandedRidge:
    """Weights of banded ridge and what was chosen for each voxel."""

    weights: np.ndarray  #: (n_features, n_targets)
    gammas: np.ndarray  #: (n_spaces, n_targets), on the simplex
    alpha_index: np.ndarray  #: (n_targets,)
    inner_score: np.ndarray  #: (n_targets,) pooled over the inner folds, at the chosen gammas and alpha


def solve_banded_ridge(
    whole: CentredStatistics,
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    spaces: Sequence[int],
    alphas: Sequence[float],
    candidates: np.ndarray,
    *,
    refinements: Sequence[float] = (),
    scoring: str = "rsquared",
    unit_free: bool = True,
    dtype: type = np.float64,
    voxel_tile: int = 1024,
    progress: bool = False,
) -> BandedRidge:
    """Choose gammas and alpha of each voxel by held-out folds, and fit all rows with them.

        w = argmin |y - Xw|^2 + penalty * sum_k |w_k|^2 / s_k

    s_k = gamma_k / trace(G_kk) and penalty = alpha / p: units of a space and its number of columns do not
    matter, and one space is plain ridge. A candidate scales rows and columns of the same G and C; one
    eigendecomposition a fold serves all alphas and voxels, and no predictions are formed.

    After the random search each refinement factor f multiplies and divides the gamma of one space after the
    other by f (then back on the simplex), for all voxels that share a choice; a voxel moves where its score
    rises. So `inner_score` never falls. It is the score that was maximised, and therefore optimistic: report
    held-out scores of runs outside the folds.

    Parameters
    ----------
    whole : statistics of all training rows
    folds : training and test statistics of each inner fold (`leave_one_run_out`)
    spaces : number of columns of each space, in the order of the columns
    alphas : rising
    candidates : (n_candidates, n_spaces) gammas on the simplex (`gamma_candidates`)
    refinements : factors above 1, such as (4, 2)
    scoring : "rsquared" or "r"
    unit_free : False: s_k = gamma_k and the penalty is alpha itself, as in himalaya
    dtype : of the products that choose; weights are found in float64 either way
    voxel_tile : changes no result
    """
    candidates = _checked(candidates, spaces, len(whole.gram))
    if any(factor <= 1 for factor in refinements):
        raise SettingError(f"refinements must be factors above 1, got {tuple(refinements)}.")
    grid, pooled_score = rising(alphas), scoring_of(scoring)
    roots = [gram_root(test.gram) for _, test in folds]
    n_targets = whole.cross.shape[1]

    def score(gamma: np.ndarray, targets: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        bands = [_Bands(train.gram, spaces, gamma, unit_free) for train, _ in folds]
        tips = [
            triangular(root[:, band.columns] @ band.basis).astype(dtype)
            for root, band in zip(roots, bands, strict=True)
        ]
        shrinkages = [band.shrinkage(grid) for band in bands]
        chosen = np.arange(n_targets)[targets]
        best, index = np.empty(len(chosen)), np.empty(len(chosen), dtype=np.int64)
        for start in range(0, len(chosen), voxel_tile):
            tile = slice(start, start + voxel_tile)
            # A slice of neighbours is a view; scattered voxels are copied.
            own = tile if isinstance(targets, slice) else chosen[tile]
            sums = []
            for (train, test), band, root, shrinkage in zip(folds, bands, tips, shrinkages, strict=True):
                c = band.rotate(train.cross[:, own])
                e = band.rotate(test.cross[:, own])
                pair = path_sums(c.astype(dtype), e, root, shrinkage)
                sums.append(HeldOutSums(test.n, test.total[own], *pair))
            best[tile], index[tile] = choose(pooled_score(sums))
        return best, index

    best = np.full(n_targets, -np.inf)
    alpha_index = np.zeros(n_targets, dtype=np.int64)
    gamma_index = np.zeros(n_targets, dtype=np.int64)
    table = list(candidates)

    def search(tasks: list[tuple[int, np.ndarray | slice]]) -> None:
        def work(task: tuple[int, np.ndarray | slice]) -> tuple[np.ndarray, np.ndarray]:
            return score(table[task[0]], task[1])

        for (index, targets), (scores, alpha) in zip(
            tasks, _in_threads(work, tasks, n_threads, progress), strict=True
        ):
            chosen = np.arange(n_targets)[targets]
            better = scores > best[chosen] + _TIE
            best[chosen[better]] = scores[better]
            alpha_index[chosen[better]] = alpha[better]
            gamma_index[chosen[better]] = index

    with one_thread_products() as n_threads:
        search([(index, slice(None)) for index in range(len(table))])
        for factor in refinements:
            tasks: list[tuple[int, np.ndarray | slice]] = []
            for used in np.unique(gamma_index):
                targets = np.flatnonzero(gamma_index == used)
                for neighbour in _neighbours(table[used], factor):
                    tasks.append((len(table), targets))
                    table.append(neighbour)
            search(tasks)

        weights = np.zeros_like(whole.cross)

        def refit(used: int) -> None:
            band = _Bands(whole.gram, spaces, table[used], unit_free)
            targets = np.flatnonzero(gamma_index == used)
            for start in range(0, len(targets), voxel_tile):
                own = targets[start : start + voxel_tile]
                rotated = band.rotate(whole.cross[:, own])
                own_weights = band.basis @ (rotated * band.shrinkage(grid[alpha_index[own]]).T)
                weights[np.ix_(band.columns, own)] = own_weights

        list(_in_threads(refit, np.unique(gamma_index), n_threads, False))
    return BandedRidge(weights, np.asarray(table)[gamma_index].T, alpha_index, best)


def gamma_candidates(
    n_spaces: int, n_candidates: int, *, concentrations: Sequence[float] = (0.1, 1.0), seed: int = 0
) -> np.ndarray:
    """Gammas to try, (n_candidates, n_spaces): equal ones, each space alone, then Dirichlet samples.

    Concentrations take turns; small ones prefer few spaces.
    """
    if n_spaces < 1 or n_candidates < 1 or not all(value > 0 for value in concentrations):
        raise SettingError(
            "Candidates need at least one space, at least one candidate and concentrations above 0, got "
            f"{n_spaces}, {n_candidates} and {tuple(concentrations)}."
        )
    rng = np.random.default_rng(seed)
    drawn = [
        rng.dirichlet(np.full(n_spaces, concentrations[index % len(concentrations)]))
        for index in range(n_candidates)
    ]
    fixed = np.concatenate([np.full((1, n_spaces), 1 / n_spaces), np.eye(n_spaces)])
    return np.concatenate([fixed, drawn])[:n_candidates] if n_spaces > 1 else np.ones((1, 1))


def leave_one_run_out(
    runs: Sequence[RunStatistics],
) -> tuple[CentredStatistics, list[tuple[CentredStatistics, CentredStatistics]]]:
    """Statistics of all runs, and of the training runs and the held-out run of each fold."""
    folds = [(pool(runs, train), pool(runs, test)) for train, test in leave_one_out(len(runs))]
    return pool(runs, range(len(runs))), folds


class _Bands:
    """Ridge on columns scaled by a candidate, in the basis in which it is diagonal."""

    def __init__(self, gram: np.ndarray, spaces: Sequence[int], gamma: np.ndarray, unit_free: bool) -> None:
        scale = np.repeat(gamma, spaces)
        if unit_free:
            ends = np.cumsum(spaces)
            variance = np.array(
                [
                    np.trace(gram[end - size : end, end - size : end])
                    for end, size in zip(ends, spaces, strict=True)
                ]
            )
            scale = scale * np.repeat(
                np.divide(1.0, variance, out=np.zeros(len(spaces)), where=variance > 0), spaces
            )
        self.columns = np.flatnonzero(scale > 0)
        root = np.sqrt(scale[self.columns])
        scaled = root[:, np.newaxis] * gram[np.ix_(self.columns, self.columns)] * root
        values, vectors = np.linalg.eigh(scaled)
        usable = values > len(values) * np.finfo(np.float64).eps * max(values.max(initial=0), 0)
        self.values = values[usable]
        #: (n_columns, n_directions): weights of the columns at one unit of each direction
        self.basis = root[:, np.newaxis] * vectors[:, usable]
        self.unit = 1.0 / len(gram) if unit_free else 1.0

    def rotate(self, cross: np.ndarray) -> np.ndarray:
        """X'Y in the basis, (n_directions, n_targets)."""
        every = len(self.columns) == len(cross)
        return self.basis.T @ (cross if every else cross[self.columns])

    def shrinkage(self, alphas: np.ndarray) -> np.ndarray:
        """1 / (L + penalty), (n_alphas, n_directions)."""
        return 1.0 / (self.values + self.unit * np.asarray(alphas)[:, np.newaxis])


def _neighbours(gamma: np.ndarray, factor: float) -> list[np.ndarray]:
    neighbours = []
    for space in range(len(gamma) if len(gamma) > 1 else 0):
        for change in (factor, 1 / factor):
            near = gamma.copy()
            near[space] = max(near[space], _LEAST_GAMMA if change > 1 else 0) * change
            neighbours.append(near / near.sum())
    return neighbours


def _checked(candidates: np.ndarray, spaces: Sequence[int], n_features: int) -> np.ndarray:
    candidates = np.asarray(candidates, dtype=np.float64)
    if sum(spaces) != n_features or any(size < 1 for size in spaces):
        raise SettingError(f"spaces must be column counts that sum to {n_features}, got {tuple(spaces)}.")
    if candidates.ndim != 2 or candidates.shape[1] != len(spaces) or not len(candidates):
        raise SettingError(
            f"candidates must have the shape (n_candidates, {len(spaces)}), got {candidates.shape}."
        )
    if (candidates < 0).any() or not np.allclose(candidates.sum(axis=1), 1):
        raise SettingError("Each candidate's gammas must not be negative and must sum to 1.")
    return candidates


def _in_threads(work: Callable, tasks: Sequence, n_threads: int, progress: bool):  # type: ignore[no-untyped-def]
    """Results in the order of the tasks, each done by one thread alone."""
    with ThreadPoolExecutor(n_threads) as threads:
        done = threads.map(work, tasks)
        if progress:
            from tqdm import tqdm

            done = tqdm(done, total=len(tasks), desc="banded ridge", unit="candidate")
        yield from done
