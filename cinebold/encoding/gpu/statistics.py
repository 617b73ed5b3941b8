"""Run statistics on a device: the sums of `statistics`, as float64 tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cinebold.encoding.gpu.device import checked_device, exact_products, to_device
from cinebold.encoding.statistics import CentredStatistics, RunStatistics

#: So many rows are multiplied in float32 at once; longer sums would lose digits.
_ROWS = 512


def accumulate_on(
    device: str,
    features: np.ndarray,
    responses: np.ndarray,
    xx: Any = None,
    *,
    dtype: type = np.float32,
) -> RunStatistics:
    """The statistics of some rows of a run, as `statistics.accumulate` has them, in tensors on the device.

    X'Y is multiplied in `dtype`, of columns less their means over the run and at most 512 rows at a time, without
    TF32; everything is added up in float64, X'X and squares from the start.

    Parameters
    ----------
    features : (n_samples, n_features)
    responses : (n_samples, n_targets)
    xx : X'X when it is known from another tile of voxels
    dtype : float32 or float64, of the products X'Y
    """
    import torch

    where = checked_device(device)
    x = to_device(np.asarray(features), where, torch.float64)
    y = to_device(np.asarray(responses), where)
    with exact_products():
        return accumulate_tensors(x, y, xx, getattr(torch, np.dtype(dtype).name))


def accumulate_tensors(x: Any, y: Any, xx: Any = None, dtype: Any = None) -> RunStatistics:
    """`accumulate_on` of tensors that are on the device; call it inside `exact_products`.

    Parameters
    ----------
    x : (n_samples, n_features) float64
    y : (n_samples, n_targets) of either width
    dtype : torch.float32 or torch.float64, of the products X'Y; None: float64
    """
    import torch

    dtype = dtype or torch.float64
    n = len(x)
    # Products of what is far from 0 would lose digits in float32: means are put back in float64.
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0, dtype=torch.float64)
    sum_x = torch.zeros_like(mean_x)
    sum_y, yy = torch.zeros_like(mean_y), torch.zeros_like(mean_y)
    xy = torch.zeros((x.shape[1], y.shape[1]), dtype=torch.float64, device=x.device)
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        centred_x, centred_y = x[rows] - mean_x, y[rows].to(torch.float64) - mean_y
        sum_x += centred_x.sum(dim=0)
        sum_y += centred_y.sum(dim=0)
        yy += torch.linalg.vector_norm(centred_y, dim=0).square()
        xy += centred_x.to(dtype).T @ centred_y.to(dtype)
    xy += torch.outer(mean_x, sum_y) + torch.outer(sum_x, mean_y) + n * torch.outer(mean_x, mean_y)
    yy += mean_y * (2 * sum_y + n * mean_y)
    return RunStatistics(n, sum_x + n * mean_x, sum_y + n * mean_y, x.T @ x if xx is None else xx, xy, yy)


def centred_on_device(runs: Sequence[RunStatistics]) -> CentredStatistics:
    """`statistics.centred` of tensors: runs pooled, each centred on its own means."""
    import torch

    pooled = sum(runs[1:], start=runs[0])
    gram, cross, total = pooled.xx.clone(), pooled.xy.clone(), pooled.yy.clone()
    for run in runs:
        gram -= torch.outer(run.sum_x, run.sum_x) / run.n
        cross -= torch.outer(run.sum_x, run.sum_y / run.n)
        total -= run.sum_y.square() / run.n
    return CentredStatistics(
        pooled.n, pooled.sum_x / pooled.n, pooled.sum_y / pooled.n, gram, cross, total.clamp(min=0)
    )


def pool_on_device(
    runs: Sequence[RunStatistics], members: Sequence[int], centre_runs: bool = True
) -> CentredStatistics:
    """Statistics of some runs, each centred on its own means or all on common ones (`ridge_path.pool`)."""
    chosen = [runs[index] for index in members]
    return centred_on_device(chosen if centre_runs else [sum(chosen[1:], start=chosen[0])])


def as_arrays(statistics: RunStatistics | CentredStatistics) -> Any:
    """The same statistics with numpy arrays in place of tensors."""
    fields = {
        name: value.cpu().numpy() if hasattr(value, "cpu") else value
        for name, value in vars(statistics).items()
    }
    return type(statistics)(**fields)
