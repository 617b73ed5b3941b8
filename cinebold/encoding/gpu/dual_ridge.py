"""Ridge with more columns than rows on a device: weights of samples from one kernel matrix, cut in run blocks."""

from collections.abc import Sequence
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
from cinebold.encoding.gpu.ridge import choose, path_sums, scoring_on_device, triangular
from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.solvers.ridge_path import RidgeFit, check_runs, leave_one_out, rising

#: So many columns of the features are on the device in float64 at once.
_COLUMNS = 4096


def solve_dual_ridge(
    features: Sequence[np.ndarray],
    responses: Sequence[np.ndarray],
    alphas: Sequence[float],
    *,
    device: str,
    scoring: str = "rsquared",
    unit_free: bool = True,
    centre_runs: bool = True,
    dtype: type = np.float64,
    voxel_tile: int = 8192,
) -> RidgeFit:
    """`dual_ridge.solve_dual_ridge` on a device, whose parameters these are.

    The features stay on the device in their own width, and kernels and decompositions are float64 there.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N"
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
    ends = np.cumsum([len(run) for run in features])
    rows = [torch.arange(end - len(run), end, device=where) for end, run in zip(ends, features, strict=True)]
    with exact_products(), Downloads(where) as results:
        x = torch.cat([to_device(np.asarray(run), where) for run in features])
        # Rows that are centred together: those of a run, or all.
        groups = rows if centre_runs else [torch.arange(len(x), device=where)]
        mean_x = x.mean(dim=0, dtype=torch.float64)
        kernel = torch.zeros((len(x), len(x)), dtype=torch.float64, device=where)
        for start in range(0, n_features, _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            block = _centred(x[:, columns].to(torch.float64) - mean_x[columns], groups)
            kernel += block @ block.T
            x[:, columns] = block.to(x.dtype)
        penalties = to_device(grid, where, torch.float64)
        folds = []
        for train, test in leave_one_out(len(features)):
            parts = [[rows[run] for run in members] for members in (train, test)]
            folds.append(_Fold(kernel, *parts, centre_runs, n_features, unit_free, penalties, precision))
        whole = _Dual(kernel, n_features, unit_free)
        del kernel
        for part in voxel_tiles(n_targets, voxel_tile):
            y = torch.cat(runs_to_device(responses, part, where, torch.float64))
            best, index = choose(score([fold.sums(y) for fold in folds]))
            c = whole.vectors.T @ _centred(y, groups)
            dual = whole.vectors @ (c * whole.shrinkage(penalties[index]).T)
            own = x.T @ dual.to(x.dtype)
            results.into(y.mean(dim=0) - mean_x @ own.to(torch.float64), intercept[part])
            results.into(own.to(width), weights[:, part])
            results.into(best, inner_score[part])
            results.into(index, alpha_index[part])
    return RidgeFit(weights, intercept, alpha_index, inner_score)


class _Dual:
    """Eigenvectors of a centred kernel (n_samples, n_samples), without the directions of no variance."""

    def __init__(self, kernel: Any, n_features: int, unit_free: bool) -> None:
        values, vectors = eigh(kernel)
        least = max(len(values), n_features) * np.finfo(np.float64).eps * values[-1].clamp(min=0)
        self.values, self.vectors = values[values > least], vectors[:, values > least]
        self.unit = kernel.trace() / n_features if unit_free else 1.0

    def shrinkage(self, alphas: Any) -> Any:
        """1 / (L + penalty), (n_alphas, n_directions)."""
        return 1 / (self.values + self.unit * alphas[:, None])


class _Fold:
    """What the tiles need of one fold: blocks of the kernel, decomposed."""

    def __init__(
        self,
        kernel: Any,
        train: list[Any],
        test: list[Any],
        centre_runs: bool,
        n_features: int,
        unit_free: bool,
        alphas: Any,
        dtype: Any,
    ) -> None:
        import torch

        self._train, self._test = torch.cat(train), torch.cat(test)
        self._train_groups, self._test_groups = (
            _places(members if centre_runs else [torch.cat(members)]) for members in (train, test)
        )
        own = kernel[self._train][:, self._train]
        own = _centred(_centred(own, self._train_groups).T, self._train_groups)
        across = kernel[self._test][:, self._train]
        across = _centred(_centred(across, self._test_groups).T, self._train_groups).T
        dual = _Dual(own, n_features, unit_free)
        projected = across @ dual.vectors  # (n_test, n_directions): predictions of one unit each
        self._root, self._shrinkage = triangular(projected).to(dtype), dual.shrinkage(alphas)
        self._vectors, self._projected = dual.vectors.to(dtype), projected.to(dtype)

    def sums(self, y: Any) -> HeldOutSums:
        """The sums of the fold's test rows at all alphas, of responses (n_samples, n_targets)."""
        train = _centred(y[self._train], self._train_groups).to(self._vectors.dtype)
        test = _centred(y[self._test], self._test_groups)
        c, e = self._vectors.T @ train, self._projected.T @ test.to(self._vectors.dtype)
        pair = path_sums(c, e.to(y.dtype), self._root, self._shrinkage)
        return HeldOutSums(len(test), test.square().sum(dim=0), *pair)


def _places(members: list[Any]) -> list[Any]:
    """Where each group's rows are once the groups stand one after the other."""
    import torch

    device = members[0].device
    return list(torch.arange(sum(map(len, members)), device=device).split([len(own) for own in members]))


def _centred(rows: Any, groups: list[Any]) -> Any:
    """Rows minus the mean of those of their group."""
    result = rows.clone()
    for own in groups:
        result[own] -= rows[own].mean(dim=0)
    return result
