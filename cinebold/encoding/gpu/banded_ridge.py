"""Banded ridge on a device: the random search over the gammas of feature spaces, for many voxels at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cinebold.encoding.gpu.device import (
    Downloads,
    checked_device,
    eigh,
    exact_products,
    to_device,
    voxel_tiles,
)
from cinebold.encoding.gpu.ridge import choose, gram_root, path_sums, scoring_on_device
from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.solvers.banded_candidates import PreparedBands
from cinebold.encoding.solvers.banded_ridge import BandedRidge
from cinebold.encoding.statistics import CentredStatistics

#: A candidate must be better than those before it by more than this.
_TIE = 1e-9
#: So many numbers are in the decomposed Gram matrices at once.
_NUMBERS = 1 << 25


def choose_and_fit_banded(
    whole: CentredStatistics,
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    bands: PreparedBands,
    *,
    device: str,
    voxel_tile: int = 16384,
) -> BandedRidge:
    """`banded_ridge.choose_and_fit_banded` on a device, without its refinement (`n_steps` of 0).

    The Gram matrices of many candidates and all folds are decomposed in one call; a space whose gamma is 0 has a
    block of zeros, whose directions are dropped.

    Parameters
    ----------
    whole, folds, bands : as there; decompositions that `bands` holds are not used (`memory_bytes=0` makes none)
    device : "cpu", "cuda" or "cuda:N"
    """
    import torch

    where = checked_device(device)
    weights = np.zeros_like(whole.cross)
    gamma_index, alpha_index, inner_score = search(folds, bands, device=device, voxel_tile=voxel_tile)
    with exact_products(), Downloads(where) as results:
        gram, units = to_device(bands.whole, where, torch.float64), bands.units(bands.whole)
        for part in voxel_tiles(len(inner_score), voxel_tile):
            c = to_device(np.asarray(whole.cross)[:, part], where, torch.float64)
            fitted = torch.zeros_like(c)
            alphas = to_device(bands.alphas[alpha_index[part]], where, torch.float64)
            for candidate in np.unique(gamma_index[part]).tolist():
                vectors, values = _Bases(gram, bands, units, [candidate]).of(candidate)
                own = torch.from_numpy(np.flatnonzero(gamma_index[part] == candidate)).to(where)
                rotated = vectors.T @ c[:, own]
                fitted[:, own] = vectors @ (rotated * _shrinkage(values, alphas[own]).T)
            results.into(fitted, weights[:, part])
    gammas = bands.candidates[gamma_index].T
    return BandedRidge(weights, gammas, bands.alphas[alpha_index], alpha_index, inner_score)


def search(
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    bands: PreparedBands,
    *,
    device: str,
    voxel_tile: int = 16384,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each voxel's best candidate, index of its alpha and inner score, (n_targets,) each."""
    import torch

    where = checked_device(device)
    score, precision = scoring_on_device(bands.scoring), getattr(torch, np.dtype(bands.dtype).name)
    n_targets, n_candidates = folds[0][0].cross.shape[1], len(bands.candidates)
    gamma_index, alpha_index = np.zeros(n_targets, dtype=np.int64), np.zeros(n_targets, dtype=np.int64)
    inner_score = np.empty(n_targets)
    with exact_products(), Downloads(where) as results:
        grid = to_device(bands.alphas, where, torch.float64)
        roots = [gram_root(to_device(test, where, torch.float64)) for _, test in bands.folds]
        trains = [(to_device(train, where, torch.float64), bands.units(train)) for train, _ in bands.folds]
        chunk = max(_NUMBERS // (len(trains) * len(bands.whole) ** 2), 1)
        for part in voxel_tiles(n_targets, voxel_tile):

            def upload(values: np.ndarray, part: slice = part) -> Any:
                return to_device(np.asarray(values)[..., part], where, torch.float64)

            crosses = [(upload(train.cross), upload(test.cross)) for train, test in folds]
            totals = [upload(test.total) for _, test in folds]
            best = torch.full_like(totals[0], -torch.inf)
            gamma, alpha = (torch.zeros_like(best, dtype=torch.int64) for _ in range(2))
            for first in range(0, n_candidates, chunk):
                own = range(first, min(first + chunk, n_candidates))
                bases = [_Bases(gram, bands, units, own) for gram, units in trains]
                for candidate in own:
                    sums = []
                    for basis, root, (c, e), total, (_, test) in zip(
                        bases, roots, crosses, totals, folds, strict=True
                    ):
                        vectors, values = basis.of(candidate)
                        pair = path_sums(
                            (vectors.T @ c).to(precision),
                            vectors.T @ e,
                            (root @ vectors).to(precision),
                            _shrinkage(values, grid),
                            is_triangular=False,
                        )
                        sums.append(HeldOutSums(test.n, total, *pair))
                    scores, index = choose(score(sums))
                    better = scores > best + _TIE
                    best = torch.where(better, scores, best)
                    alpha = torch.where(better, index, alpha)
                    gamma = torch.where(better, candidate, gamma)
            for tensor, target in ((gamma, gamma_index), (alpha, alpha_index), (best, inner_score)):
                results.into(tensor, target[part])
    return gamma_index, alpha_index, inner_score


class _Bases:
    """The bases in which ridge is diagonal, of one Gram matrix and some candidates."""

    def __init__(self, gram: Any, bands: PreparedBands, units: np.ndarray, candidates: Sequence[int]) -> None:
        import torch

        self._first = candidates[0]
        gammas = bands.candidates[list(candidates)]
        scale = np.divide(gammas, units, out=np.zeros_like(gammas), where=units > 0)[:, bands.space_of]
        root = to_device(np.sqrt(scale), gram.device, torch.float64)  # (n_candidates, n_columns)
        values, vectors = eigh(root[:, :, None] * gram * root[:, None, :])
        eps = values.shape[1] * np.finfo(np.float64).eps
        usable = values > eps * values[:, -1:].clamp(min=0)
        self._values = torch.where(usable, values, torch.inf)
        self._vectors = root[:, :, None] * vectors

    def of(self, candidate: int) -> tuple[Any, Any]:
        """Weights of the columns at one unit of each direction, and eigenvalues; infinite where dropped."""
        return self._vectors[candidate - self._first], self._values[candidate - self._first]


def _shrinkage(values: Any, alphas: Any) -> Any:
    """1 / (L + alpha), (n_alphas, n_directions)."""
    return 1 / (values + alphas[:, None])
