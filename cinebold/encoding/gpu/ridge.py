"""Ridge over runs on a device: all folds and alphas of a tile of voxels in a few large products."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cinebold.encoding.gpu.device import (
    Downloads,
    checked_device,
    eigh,
    exact_products,
    runs_to_device,
    to_device,
    voxel_tiles,
)
from cinebold.encoding.gpu.statistics import accumulate_tensors, pool_on_device
from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.solvers.ridge_path import RidgeFit, check_runs, leave_one_out, rising
from cinebold.errors import SettingError

#: Inner scores nearer than this are a tie, which goes to the larger alpha.
_TIE = 1e-9
_N_BLOCKS = 8


def solve_ridge_over_runs(
    features: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    alphas: Sequence[float],
    *,
    device: str,
    scoring: str = "rsquared",
    unit_free: bool = True,
    centre_runs: bool = True,
    dtype: type = np.float64,
    voxel_tile: int = 16384,
) -> RidgeFit:
    """`ridge_path.solve_ridge_over_runs` on a device, whose parameters these are.

    Memory on the device is about 8 (F + 2) p + 80 p + 4 n bytes a voxel of the tile, with p columns, n rows and F
    folds.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N"
    dtype : of the products X'Y and of the scores that choose alpha; sums, decompositions and weights are float64
    """
    import torch

    check_runs(features, responses)
    grid, score, where = rising(alphas), scoring_on_device(scoring), checked_device(device)
    precision = getattr(torch, np.dtype(dtype).name)
    n_targets, n_features = responses[0].shape[1], features[0].shape[1]
    weights = np.empty((n_features, n_targets), dtype=np.result_type(responses[0].dtype, np.float32))
    width = torch.float32 if weights.dtype == np.float32 else torch.float64
    intercept, inner_score = np.empty(n_targets), np.empty(n_targets)
    alpha_index = np.empty(n_targets, dtype=np.int64)
    folds = leave_one_out(len(features))
    with exact_products(), Downloads(where) as results:
        x = [to_device(np.asarray(run), where, torch.float64) for run in features]
        shift = torch.cat(x).mean(dim=0)
        x = [run - shift for run in x]
        penalties = to_device(grid, where, torch.float64)
        known = [accumulate_tensors(run, run[:, :0]) for run in x]
        bases = [RidgeBasis(pool_on_device(known, train, centre_runs).gram, unit_free) for train, _ in folds]
        whole = RidgeBasis(pool_on_device(known, range(len(x)), centre_runs).gram, unit_free)
        roots = [
            triangular(gram_root(pool_on_device(known, test, centre_runs).gram) @ basis.vectors).to(precision)
            for basis, (_, test) in zip(bases, folds, strict=True)
        ]
        shrinkages = [basis.shrinkage(penalties) for basis in bases]
        for part in voxel_tiles(n_targets, voxel_tile):
            y = runs_to_device(responses, part, where)
            runs = [
                accumulate_tensors(run, own, statistics.xx, precision)
                for run, own, statistics in zip(x, y, known, strict=True)
            ]
            del y
            sums = []
            for basis, root, shrinkage, (train, test) in zip(bases, roots, shrinkages, folds, strict=True):
                held_out = pool_on_device(runs, test, centre_runs)
                c = basis.rotate(pool_on_device(runs, train, centre_runs).cross)
                pair = path_sums(c.to(precision), basis.rotate(held_out.cross), root, shrinkage)
                sums.append(HeldOutSums(held_out.n, held_out.total, *pair))
            best, index = choose(score(sums))
            pooled = pool_on_device(runs, range(len(runs)), centre_runs)
            own = whole.weights(pooled.cross, penalties[index])
            results.into(pooled.mean_y - (pooled.mean_x + shift) @ own, intercept[part])
            results.into(own.to(width), weights[:, part])
            results.into(best, inner_score[part])
            results.into(index, alpha_index[part])
    return RidgeFit(weights, intercept, alpha_index, inner_score)


class RidgeBasis:
    """The basis in which ridge is diagonal, from a centred X'X on the device (`ridge.RidgeSolver`)."""

    def __init__(self, gram: Any, unit_free: bool = True) -> None:
        values, self.vectors = eigh(gram)
        self.values = values.clamp(min=0)
        self._usable = values > len(values) * np.finfo(np.float64).eps * values[-1].clamp(min=0)
        self.penalty_unit = gram.trace() / len(gram) if unit_free else 1.0

    def rotate(self, cross: Any) -> Any:
        """X'Y in the basis, (n_features, n_targets)."""
        return self.vectors.T @ cross

    def shrinkage(self, alphas: Any) -> Any:
        """1 / (L + penalty), (n_alphas, n_features), zero in the dropped directions."""
        return (self._usable / (self.values + self.penalty_unit * alphas[:, None])).nan_to_num(nan=0.0)

    def weights(self, cross: Any, alphas: Any) -> Any:
        """Weights (n_features, n_targets) at each target's own alpha (n_targets,)."""
        return self.vectors @ (self.rotate(cross) * self.shrinkage(alphas).T)


def path_sums(c: Any, e: Any, root: Any, shrinkage: Any, *, is_triangular: bool = True) -> tuple[Any, Any]:
    """`ridge_path.path_sums` of tensors: y'yhat and yhat'yhat at all alphas, each (n_alphas, n_targets) float64.

    All alphas of a block of rows of R are one product, (n_alphas * n_rows, n_directions) by (n_directions,
    n_targets).

    Parameters
    ----------
    is_triangular : False: R is any matrix (n_rows, n_directions), at twice the work
    """
    import torch

    product = shrinkage @ (c * e)
    squared = torch.zeros_like(product)
    narrow = shrinkage.to(root.dtype)
    # The zeros below the diagonal are not multiplied: blocks of rows, each from its first column on.
    bounds = np.unique(np.linspace(0, len(root), _N_BLOCKS + 1).astype(int)).tolist()
    for first, last in pairwise(bounds):
        own = slice(first if is_triangular else 0, None)
        scaled = root[first:last, own] * narrow[:, None, own]  # (n_alphas, n_rows, n_directions)
        part = scaled.reshape(-1, scaled.shape[-1]) @ c[own]
        norms = torch.linalg.vector_norm(part.reshape(len(shrinkage), last - first, -1), dim=1)
        squared += norms.to(torch.float64).square()
    return product, squared


def gram_root(gram: Any) -> Any:
    """B of shape (rank, n_features) with B'B = gram (`ridge_path.gram_root`)."""
    import torch

    scale = gram.diagonal().sqrt()
    inverse = torch.where(scale > 0, 1 / scale, 0.0)
    values, vectors = eigh(inverse[:, None] * gram * inverse)
    usable = values > len(values) * np.finfo(np.float64).eps * values[-1].clamp(min=0)
    return values[usable].sqrt()[:, None] * vectors[:, usable].T * scale


def triangular(root: Any) -> Any:
    """Upper trapezoidal R with R'R = root'root."""
    import torch

    return torch.linalg.qr(root, mode="r").R


def scoring_on_device(name: str) -> Callable[[Sequence[HeldOutSums]], Any]:
    """The score of that name (`ridge_path.SCORINGS`) for sums that are tensors; a SettingError for another."""
    if name not in SCORINGS:
        raise SettingError(f"Unknown scoring {name!r}: choose one of {', '.join(SCORINGS)}.")
    return SCORINGS[name]


def choose(scores: Any) -> tuple[Any, Any]:
    """`ridge_path.choose` of tensors: best score of each target, index of its alpha; ties to the larger alpha."""
    import torch

    scores = scores.nan_to_num(nan=0.0)
    good = scores >= scores.amax(dim=0) - _TIE
    order = torch.arange(len(scores), device=scores.device)[:, None]
    index = torch.where(good, order, 0).amax(dim=0)
    return scores.gather(0, index[None])[0], index


def _held_out_r(runs: Sequence[HeldOutSums]) -> Any:
    return sum(run.n * _r(run) for run in runs) / sum(run.n for run in runs)


def _r(run: HeldOutSums) -> Any:
    import torch

    scale = (run.response_squared * run.prediction_squared).sqrt()
    r = torch.where(scale > 0, run.product / scale, 0.0)
    return torch.where(run.response_squared > 0, r, torch.nan)


def _held_out_rsquared(runs: Sequence[HeldOutSums]) -> Any:
    import torch

    error = sum(run.response_squared - 2 * run.product + run.prediction_squared for run in runs)
    total = sum(run.response_squared for run in runs)
    return 1 - error / torch.where(total > 0, total, torch.nan)


SCORINGS = {"rsquared": _held_out_rsquared, "r": _held_out_r}
