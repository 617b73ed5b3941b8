"""Banded ridge: each voxel weighs the feature spaces itself, all from one Gram matrix.

Nunez-Elizalde, Huth & Gallant (2019), NeuroImage 197; random search, and the refinement by a gradient, as in Dupre
la Tour et al. (2022), NeuroImage 264.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.solvers.banded_candidates import PreparedBands, gamma_candidates, in_threads
from cinebold.encoding.solvers.banded_gradient import BandedFold
from cinebold.encoding.solvers.banded_refinement import refine
from cinebold.encoding.solvers.banded_systems import solve_weights
from cinebold.encoding.solvers.ridge_path import choose, leave_one_out, path_sums, pool
from cinebold.encoding.statistics import CentredStatistics, RunStatistics
from cinebold.encoding.tiles import one_thread_products
from cinebold.errors import SettingError

__all__ = [
    "BandedRidge",
    "PreparedBands",
    "choose_and_fit_banded",
    "gamma_candidates",
    "leave_one_run_out",
    "solve_banded_ridge",
]

#: A candidate, or a refinement, must be better than what came before by more than this.
_TIE = 1e-9
#: Voxels that the random search and the refinement take at once; no voxel's steps depend on the others.
_SEARCHED, _REFINED = 1024, 512
#: Most steps of the refinement; voxels need about five.
N_STEPS = 10
#: Of folds and bands: each voxel's best candidate, index of its alpha and inner score.
Search = Callable[
    [Sequence[tuple[CentredStatistics, CentredStatistics]], PreparedBands],
    tuple[np.ndarray, np.ndarray, np.ndarray],
]


@dataclass(frozen=True)
class BandedRidge:
    """Weights of banded ridge and what was chosen for each voxel."""

    weights: np.ndarray  #: (n_columns, n_targets)
    gammas: np.ndarray  #: (n_spaces, n_targets), on the simplex
    alphas: np.ndarray  #: (n_targets,); off the grid where the gradient led there
    alpha_index: np.ndarray  #: (n_targets,) of the grid's alpha that is nearest, as a ratio
    inner_score: np.ndarray  #: (n_targets,) pooled over the inner folds, at the chosen gammas and alpha


def choose_and_fit_banded(
    whole: CentredStatistics,
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    bands: PreparedBands,
    *,
    n_steps: int = N_STEPS,
    n_threads: int = 1,
    progress: bool = False,
    search: Search | None = None,
) -> BandedRidge:
    """Choose gammas and alpha of each voxel by held-out folds, and fit all rows with them.

        w = argmin |y - Xw|^2 + sum_k D_k |w_k|^2,    D_k = alpha / gamma_k * u_k

    All candidates of `bands` are tried with all alphas: a candidate scales rows and columns of the same G and C,
    one eigendecomposition a fold serves all alphas and voxels, and no predictions are formed. From its best
    candidate each voxel whose inner score is above 0 then follows the slope of that score in the logarithms of
    its penalties (`banded_refinement`), and stays where it was if that led nowhere better. `inner_score` is
    what was maximised, and therefore optimistic: report held-out scores of runs outside the folds.

    Voxels of a NaN have NaN weights and an inner score of 0; they do not touch the others. With one space it is
    plain ridge. Safe from many threads at once with the same `bands`; with `n_threads=1` it starts none.

    Parameters
    ----------
    whole : statistics of all training rows, of a tile of voxels
    folds : training and test statistics of each inner fold
    bands : of the same Gram matrices
    n_steps : of the refinement; 0: the best candidate
    n_threads : more than 1 only inside `one_thread_products`; changes no byte
    search : done elsewhere (`gpu.banded_ridge.search`); None: here
    """
    if search is None:
        search = partial(_search, n_threads=n_threads, progress=progress)
    gamma_index, alpha_index, best = search(folds, bands)
    gammas, alphas = bands.candidates[gamma_index].T, bands.alphas[alpha_index]
    weights = np.zeros_like(whole.cross)
    moved = np.zeros(len(best), dtype=bool)

    def move(own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        near = [BandedFold(*basis, *fold, own) for basis, fold in zip(bands.fold_bases, folds, strict=True)]
        deltas, scores = refine(near, bands, gammas[:, own], alphas[own], n_steps)
        better = scores > best[own] + _TIE
        own, deltas = own[better], deltas[:, better]
        return own, deltas, scores[better], solve_weights(bands.whole_basis, whole.cross[:, own], deltas)

    if n_steps and bands.n_spaces > 1:
        for own, deltas, scores, own_weights in in_threads(
            move, _parts((best > _TIE) & (alphas > 0), _REFINED), n_threads
        ):
            moved[own], best[own], weights[:, own] = True, scores, own_weights
            total = np.exp(deltas).sum(axis=0)
            gammas[:, own], alphas[own] = np.exp(deltas) / total, 1 / total
            with np.errstate(divide="ignore"):
                distance = np.abs(np.log(bands.alphas)[:, np.newaxis] + np.log(total))
            alpha_index[own] = distance.argmin(axis=0)

    def stay(candidate: int) -> None:
        fit = bands.of_whole(candidate)
        for own in _parts(~moved & (gamma_index == candidate), _SEARCHED):
            rotated = fit.rotate(whole.cross[:, own])
            weights[np.ix_(fit.columns, own)] = fit.basis @ (rotated * fit.shrinkage(alphas[own]).T)

    list(in_threads(stay, np.unique(gamma_index[~moved]), n_threads))
    return BandedRidge(weights, gammas, alphas, alpha_index, best)


def solve_banded_ridge(
    whole: CentredStatistics,
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    spaces: Sequence[int],
    alphas: Sequence[float],
    candidates: np.ndarray,
    *,
    n_steps: int = N_STEPS,
    scoring: str = "rsquared",
    unit_free: bool = True,
    dtype: type = np.float64,
    progress: bool = False,
) -> BandedRidge:
    """`choose_and_fit_banded` of all voxels at once, with as many threads as linear algebra may use.

    Parameters
    ----------
    spaces : number of columns of each space, in the order of the columns
    alphas, candidates, scoring, unit_free, dtype : as in `PreparedBands`
    """
    ends = np.cumsum(spaces)
    if len(ends) and ends[-1] != len(whole.gram):
        raise SettingError(
            f"spaces must be column counts that sum to {len(whole.gram)}, got {tuple(spaces)}."
        )
    columns = {
        str(space): np.arange(end - size, end)
        for space, (end, size) in enumerate(zip(ends, spaces, strict=True))
    }
    with one_thread_products() as n_threads:
        grams = [(train.gram, test.gram) for train, test in folds]
        options = {"scoring": scoring, "unit_free": unit_free, "dtype": dtype, "memory_bytes": 0}
        bands = PreparedBands(whole.gram, grams, columns, alphas, candidates, **options)
        return choose_and_fit_banded(
            whole, folds, bands, n_steps=n_steps, n_threads=n_threads, progress=progress
        )


def leave_one_run_out(
    runs: Sequence[RunStatistics],
) -> tuple[CentredStatistics, list[tuple[CentredStatistics, CentredStatistics]]]:
    """Statistics of all runs, and of the training runs and the held-out run of each fold."""
    folds = [(pool(runs, train), pool(runs, test)) for train, test in leave_one_out(len(runs))]
    return pool(runs, range(len(runs))), folds


def _search(
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    bands: PreparedBands,
    n_threads: int,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each voxel's best candidate, index of its alpha and inner score, (n_targets,) each."""
    n_targets = folds[0][0].cross.shape[1]
    tiles = [slice(start, start + _SEARCHED) for start in range(0, n_targets, _SEARCHED)]

    def score(candidate: int) -> tuple[np.ndarray, np.ndarray]:
        best, index = np.empty(n_targets), np.empty(n_targets, dtype=np.int64)
        decomposed = bands.of_folds(candidate)
        shrinkages = [fold.shrinkage(bands.alphas) for fold, _ in decomposed]
        for tile in tiles:
            sums = []
            for (train, test), (fold, root), shrinkage in zip(folds, decomposed, shrinkages, strict=True):
                c, e = fold.rotate(train.cross[:, tile]), fold.rotate(test.cross[:, tile])
                pair = path_sums(c.astype(bands.dtype), e, root, shrinkage)
                sums.append(HeldOutSums(test.n, test.total[tile], *pair))
            best[tile], index[tile] = choose(bands.score(sums))
        return best, index

    best = np.full(n_targets, -np.inf)
    gamma_index, alpha_index = np.zeros(n_targets, dtype=np.int64), np.zeros(n_targets, dtype=np.int64)
    candidates = range(len(bands.candidates))
    for candidate, (scores, alpha) in enumerate(in_threads(score, candidates, n_threads, progress)):
        better = scores > best + _TIE
        best[better], alpha_index[better], gamma_index[better] = scores[better], alpha[better], candidate
    return gamma_index, alpha_index, best


def _parts(chosen: np.ndarray, size: int) -> list[np.ndarray]:
    """Indices of the chosen, at most `size` at once."""
    indices = np.flatnonzero(chosen)
    return [indices[start : start + size] for start in range(0, len(indices), size)]
