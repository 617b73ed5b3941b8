"""Circular shifts of held-out predictions on a device: one cross-correlation a run, then gathers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cinebold.encoding.gpu.device import (
    Downloads,
    checked_device,
    exact_products,
    runs_to_device,
    to_device,
    voxel_tiles,
)
from cinebold.encoding.significance import ShiftTest

#: The margin lets rounding never tell two equal correlations apart.
_TIE = 1e-10
#: So many permuted r are on the device at once.
_NUMBERS = 1 << 25


def permute_shifts(
    test: ShiftTest,
    observed_r: np.ndarray,
    responses: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    scored: Sequence[np.ndarray],
    *,
    device: str,
    voxel_tile: int = 8192,
) -> tuple[np.ndarray, np.ndarray]:
    """`significance.permute_shifts` on a device, whose parameters these are; all in float64.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N"
    voxel_tile : changes no result
    """
    import torch

    where = checked_device(device)
    n_targets, n_permutations = len(observed_r), len(test.shifts)
    n_scored = sum(int(weight.sum()) for weight in scored)
    n_at_least = np.zeros(n_targets, dtype=np.int64)
    with exact_products(), Downloads(where) as results:
        maxima = torch.full((n_permutations,), -torch.inf, dtype=torch.float64, device=where)
        weights = [to_device(weight.astype(np.float64), where, torch.float64) for weight in scored]
        shifts = torch.from_numpy(np.ascontiguousarray(test.shifts.T)).to(where)
        for part in voxel_tiles(n_targets, min(voxel_tile, max(_NUMBERS // n_permutations, 1))):
            permuted = torch.zeros((), dtype=torch.float64, device=where)
            runs = zip(
                runs_to_device(responses, part, where, torch.float64),
                runs_to_device(predictions, part, where, torch.float64),
                weights,
                shifts,
                strict=True,
            )
            for y, prediction, weight, shift in runs:
                permuted = permuted + (_all_shifts(y, prediction, weight) * (weight.sum() / n_scored))[shift]
            permuted *= test.coupling
            reached = to_device(observed_r[part], where, torch.float64) - _TIE
            maxima = torch.maximum(maxima, permuted.amax(dim=1))
            results.into((permuted >= reached).sum(dim=0), n_at_least[part])
    return n_at_least, maxima.cpu().numpy()


def _all_shifts(y: Any, prediction: Any, weight: Any) -> Any:
    """r of a run at every shift of its prediction, (n_volumes, n_targets); 0 where there is none."""
    import torch

    kept, n = weight > 0, len(y)
    n_kept = weight.sum()
    y = torch.where(kept[:, None], y - y[kept].mean(dim=0), 0.0)
    prediction = prediction - prediction[kept].mean(dim=0)
    spectrum = torch.fft.rfft(prediction, dim=0).conj()
    product = torch.fft.irfft(torch.fft.rfft(y, dim=0) * spectrum, n=n, dim=0)
    if bool(kept.all()):
        squares = prediction.square().sum(dim=0) - prediction.sum(dim=0).square() / n
    else:
        window = torch.fft.rfft(weight)[:, None]
        sums = torch.fft.irfft(window * spectrum, n=n, dim=0)
        squares = torch.fft.irfft(window * torch.fft.rfft(prediction.square(), dim=0).conj(), n=n, dim=0)
        squares = (squares - sums.square() / n_kept).clamp(min=0)
    scale = (squares * y.square().sum(dim=0)).sqrt()
    return torch.where(scale > 0, product / scale, 0.0)
