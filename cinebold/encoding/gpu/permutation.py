"""Permuted blocks and circular shifts of held-out predictions on a device: sums of products once, then gathers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cinebold.encoding.block_permutation import BlockPermutations, BlockTest
from cinebold.encoding.gpu.device import (
    Downloads,
    checked_device,
    exact_products,
    runs_to_device,
    to_device,
    voxel_tiles,
)
from cinebold.encoding.significance import ShiftTest
from cinebold.errors import InputError

#: The margin lets rounding never tell two equal correlations apart.
_TIE = 1e-10
#: So many permuted r are on the device at once.
_NUMBERS = 1 << 25


def permute_blocks(
    test: BlockTest,
    responses: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    scored: Sequence[np.ndarray],
    *,
    device: str,
    voxel_tile: int = 8192,
) -> BlockPermutations:
    """`block_permutation.permute_blocks` on a device, whose parameters these are.

    The tables of block products are batched matrix products; a permutation is the sum of their rows that it names
    (`torch.nn.functional.embedding_bag`), which is done for many permutations in one pass. All in float64.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N"
    voxel_tile : changes no result
    """
    import torch

    where = checked_device(device)
    n_targets, n_permutations = responses[0].shape[1], test.n_permutations
    n_blocks = [order.shape[1] for order in test.orders]
    in_blocks = [count * length for count, length in zip(n_blocks, test.block_volumes, strict=True)]
    scored = [np.asarray(weight, dtype=bool)[:n] for weight, n in zip(scored, in_blocks, strict=True)]
    n_scored = sum(int(weight.sum()) for weight in scored)
    if n_scored == 0:
        raise InputError("No volume is scored: a block permutation has nothing to correlate.")
    used = [run for run, weight in enumerate(scored) if weight.any()]
    observed = np.full(n_targets, np.nan)
    n_at_least = np.zeros(n_targets, dtype=np.int64)
    with exact_products(), Downloads(where) as results:
        maxima = torch.full((n_permutations,), -torch.inf, dtype=torch.float64, device=where)
        # Row i * n_blocks + j of a run's table is the product of response block i and prediction block j.
        rows = [
            torch.from_numpy(np.asarray(test.orders[run], dtype=np.int64)).to(where)
            + torch.arange(n_blocks[run], device=where) * n_blocks[run]
            for run in used
        ]
        weights = [to_device(scored[run].astype(np.float64), where, torch.float64) for run in used]
        for part in voxel_tiles(n_targets, voxel_tile):
            cut = [slice(0, in_blocks[run]) for run in used]
            y = runs_to_device([responses[run][own] for run, own in zip(used, cut, strict=True)], part, where)
            guess = runs_to_device(
                [predictions[run][own] for run, own in zip(used, cut, strict=True)], part, where
            )
            tables = [
                _RunTables(own, prediction, weight, n_blocks[run], n_scored)
                for run, own, prediction, weight in zip(used, y, guess, weights, strict=True)
            ]
            del y, guess
            r = sum(table.observed for table in tables)
            valid = torch.isfinite(r)
            reached = torch.where(valid, r, torch.inf) - _TIE
            count = torch.zeros_like(r, dtype=torch.int64)
            chunk = max(_NUMBERS // len(r), 1)
            for first in range(0, n_permutations, chunk):
                own = slice(first, min(first + chunk, n_permutations))
                permuted = sum(table.permuted(row[own]) for table, row in zip(tables, rows, strict=True))
                permuted *= test.coupling
                count += (permuted >= reached).sum(dim=0)
                largest = torch.where(valid, permuted, -torch.inf).amax(dim=1)
                maxima[own] = torch.maximum(maxima[own], largest)
            results.into(r, observed[part])
            results.into(count, n_at_least[part])
    return BlockPermutations(observed, n_at_least, maxima.cpu().numpy())


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


class _RunTables:
    """Block products of one run and some voxels, from which the run's share of the observed r (`observed`) and of any
    permuted r follows.
    """

    def __init__(self, y: Any, prediction: Any, weight: Any, n_blocks: int, n_scored: int) -> None:
        import torch

        kept = weight > 0
        n_kept = int(kept.sum())
        self._share, self._n_kept = n_kept / n_scored, n_kept
        y, prediction = y.to(torch.float64), prediction.to(torch.float64)
        # What is not scored may be anything, NaN too; there the prediction still moves on.
        y = torch.where(kept[:, None], y - y[kept].mean(dim=0), 0.0)
        prediction = prediction - prediction[kept].mean(dim=0)
        self._y_squared = y.square().sum(dim=0)
        scale = (self._y_squared * prediction[kept].square().sum(dim=0)).sqrt()
        observed = torch.where(scale > 0, (y * prediction).sum(dim=0) / scale, 0.0)
        self.observed = torch.where(self._y_squared > 0, observed, torch.nan) * self._share
        self._products = _block_products(y, prediction, n_blocks)
        self._sums = self._squares = None
        if n_kept == len(weight):
            self._products *= torch.where(scale > 0, self._share / scale, 0.0)
        else:
            window = weight[:, None].expand_as(y)
            self._sums = _block_products(window, prediction, n_blocks)
            self._squares = _block_products(window, prediction.square(), n_blocks)

    def permuted(self, rows: Any) -> Any:
        """The run's share of the permuted r, (n_permutations, n_targets), of rows (n_permutations, n_blocks)."""
        import torch

        product = _summed_rows(self._products, rows)
        if self._sums is None:
            return product
        squares = _summed_rows(self._squares, rows) - _summed_rows(self._sums, rows).square() / self._n_kept
        scale = (self._y_squared * squares.clamp(min=0)).sqrt()
        return torch.where(scale > 0, product / scale, 0.0) * self._share


def _block_products(left: Any, right: Any, n_blocks: int) -> Any:
    """(n_blocks * n_blocks, n_targets): sums over time of left block i times right block j."""
    import torch

    n_targets = left.shape[1]
    left, right = (values.reshape(n_blocks, -1, n_targets) for values in (left, right))
    products = torch.bmm(left.permute(2, 0, 1), right.permute(2, 1, 0))  # (n_targets, n_blocks, n_blocks)
    return products.permute(1, 2, 0).reshape(n_blocks * n_blocks, n_targets).contiguous()


def _summed_rows(table: Any, rows: Any) -> Any:
    """Sums of the rows of a table that each permutation names, (n_permutations, n_targets)."""
    import torch

    return torch.nn.functional.embedding_bag(rows, table, mode="sum")


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
