"""Block permutation of held-out predictions within runs: thousands of permutations for a table of block products."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cinebold.encoding.significance import LEAVE_ONE_OUT_COUPLING, family_wise_p, p_values
from cinebold.errors import InputError

#: Voxels that are permuted together, and permutations that are summed together: both sums stay in the cache.
_LANES = 64
_CHUNK = 64
_FEW_BLOCKS = 5
#: The margin lets rounding never tell two equal correlations apart.
_TIE = 1e-10


@dataclass(frozen=True)
class BlockTest:
    r"""Predictions of each run cut into blocks that change places, the same way for all voxels.

    Under the null hypothesis the blocks of a run are exchangeable: which block of the prediction meets which
    block of the response says nothing. Inside a block time runs on, so that the autocorrelation of both is
    kept but for the borders; the variance of the permuted statistic is too small by about the share
    :math:`\sum_k |k| \rho_y(k) \rho_{\hat y}(k) / (L \sum_k \rho_y(k) \rho_{\hat y}(k))`, with L the length
    of a block: blocks must be many times longer than the time over which both series correlate with themselves.
    In simulated null fits at the level .05 (four runs, `coupling` as it stands) blocks of 10 volumes reject
    4 % where the lag-one autocorrelation of films and noise is .3, but 6 % where it is .8; blocks of 20
    volumes reject 4 to 5 %, of 30 volumes 3 %, whichever it is.

    A run of n volumes has n // B volumes a block, B the number of blocks; the fewer than B volumes that are
    left at its end take no part, neither in the observed nor in the permuted statistic. Blocks of unequal
    length would not be exchangeable.

    `coupling` corrects for predictions that were learned from each other's runs, as in
    `significance.ShiftTest`, whose argument does not depend on how the predictions of two runs are moved
    independently of each other: permuted r are multiplied by the bound sqrt(2). Use 1 where the predictions
    were learned elsewhere.

    Winkler et al. (2015), NeuroImage 123, 253-268 (exchangeability blocks).
    """

    orders: tuple[
        np.ndarray, ...
    ]  #: one (n_permutations, n_blocks) a run: the block that comes to each place
    block_volumes: tuple[int, ...]  #: volumes of a block, one a run
    coupling: float = LEAVE_ONE_OUT_COUPLING

    def __post_init__(self) -> None:
        if len(self.orders) != len(self.block_volumes) or not self.orders:
            raise InputError(
                f"A block test needs one order and one block length a run, got {len(self.orders)} and "
                f"{len(self.block_volumes)}."
            )
        if len({len(order) for order in self.orders}) > 1:
            raise InputError("Every run of a block test needs the same number of permutations.")

    @property
    def n_permutations(self) -> int:
        """Number of permutations, the same in every run."""
        return len(self.orders[0])

    def volume_orders(self, permutation: int) -> list[np.ndarray]:
        """The volume of the prediction that comes to each volume, one (n_blocks * block_volumes,) a run."""
        return [
            (order[permutation][:, np.newaxis] * length + np.arange(length)).ravel()
            for order, length in zip(self.orders, self.block_volumes, strict=True)
        ]


@dataclass(frozen=True)
class BlockPermutations:
    """What the permutations of some voxels amount to."""

    observed_r: (
        np.ndarray
    )  #: (n_targets,) held-out r over the volumes in blocks; NaN where a response is constant
    n_at_least: np.ndarray  #: (n_targets,) int, permutations that reach the observed r
    maxima: np.ndarray  #: (n_permutations,) largest permuted r of all voxels

    def p(self) -> np.ndarray:
        """One-sided p of each voxel, (b + 1) / (m + 1); NaN where r is."""
        p = p_values(self.n_at_least, len(self.maxima))
        return np.where(np.isfinite(self.observed_r), p, np.nan)

    def family_wise_p(self) -> np.ndarray:
        """p against the largest permuted r of all voxels (`significance.family_wise_p`)."""
        return family_wise_p(self.observed_r, self.maxima)


def draw_blocks(
    n_volumes: Sequence[int],
    least_block_volumes: int,
    n_permutations: int,
    seed: int,
    coupling: float = LEAVE_ONE_OUT_COUPLING,
) -> tuple[BlockTest, list[str]]:
    """Random orders of the blocks of each run, uniform over all orders, and warnings.

    Each run has as many blocks of at least `least_block_volumes` as fit. Drawn once from the seed, before any
    voxel is looked at.

    Raises
    ------
    InputError : no run holds two blocks
    """
    if least_block_volumes < 1 or n_permutations < 1:
        raise InputError(
            f"A block needs at least one volume and a test one permutation, got {least_block_volumes} and "
            f"{n_permutations}."
        )
    n_blocks = [max(int(n) // least_block_volumes, 1) for n in n_volumes]
    if max(n_blocks) < 2:
        raise InputError(
            f"No run holds two blocks of {least_block_volumes} volumes (the longest has {max(n_volumes)}): "
            "take circular shifts, or shorter blocks."
        )
    warnings = []
    if min(n_blocks) < _FEW_BLOCKS:
        warnings.append(
            f"A run holds only {min(n_blocks)} blocks of at least {least_block_volumes} volumes: the p values "
            "of the block permutation are rough."
        )
    generator = np.random.default_rng(seed)
    orders = tuple(
        generator.permuted(np.tile(np.arange(n, dtype=np.int32), (n_permutations, 1)), axis=1)
        for n in n_blocks
    )
    lengths = tuple(int(n) // blocks for n, blocks in zip(n_volumes, n_blocks, strict=True))
    return BlockTest(orders, lengths, coupling), warnings


def permute_blocks(
    test: BlockTest,
    responses: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    scored: Sequence[np.ndarray],
) -> BlockPermutations:
    r"""Permute the predictions of some voxels and correlate them with the responses.

    The products of all pairs of blocks,

    .. math:: M_{ij} = \sum_{t \in \text{block}} y_i(t) \, \hat y_j(t),

    are formed once; the product of a permutation is then the sum of B of their entries instead of n products.
    Volumes that are not scored keep their place in time with weight 0, as in
    `significance.permute_shifts`, and predictions move over them; sums and squares of the predictions over
    the scored volumes come from tables of the same kind. Every voxel is summed in the same order whatever
    voxels stand beside it, so tiles change nothing.

    Parameters
    ----------
    responses, predictions : one (n_volumes, n_targets) a run
    scored : one (n_volumes,) bool a run

    Returns
    -------
    BlockPermutations ; those of several tiles are put together by `join_tiles`
    """
    n_targets = responses[0].shape[1]
    columns = [np.ascontiguousarray(order.T) for order in test.orders]  # (n_blocks, n_permutations)
    scored = [
        np.asarray(weight, dtype=bool)[: len(places) * length]
        for weight, places, length in zip(scored, columns, test.block_volumes, strict=True)
    ]
    n_scored = sum(int(weight.sum()) for weight in scored)
    if n_scored == 0:
        raise InputError("No volume is scored: a block permutation has nothing to correlate.")
    observed = np.full(n_targets, np.nan)
    n_at_least = np.zeros(n_targets, dtype=np.int64)
    maxima = np.full(test.n_permutations, -np.inf)
    for start in range(0, n_targets, _LANES):
        lanes = slice(start, min(start + _LANES, n_targets))
        n_lanes = lanes.stop - lanes.start
        # Unused lanes at the end are zero, so that the innermost loop has one length for all tiles.
        permuted_r = np.zeros((test.n_permutations, _LANES))
        r = np.zeros(n_lanes)
        for places, length, weight, response, prediction in zip(
            columns, test.block_volumes, scored, responses, predictions, strict=True
        ):
            if weight.any():
                share = weight.sum() / n_scored
                y, guess = _lanes(response, lanes, len(weight)), _lanes(prediction, lanes, len(weight))
                r += _permute_run(y, guess, weight, places, length, share, permuted_r)[:n_lanes]
        permuted_r *= test.coupling
        observed[lanes] = r
        valid = np.isfinite(r)
        n_at_least[lanes] = (permuted_r[:, :n_lanes] >= np.where(valid, r, np.inf) - _TIE).sum(axis=0)
        if valid.any():
            np.maximum(maxima, permuted_r[:, :n_lanes][:, valid].max(axis=1), out=maxima)
    return BlockPermutations(observed, n_at_least, maxima)


def join_tiles(tiles: Sequence[BlockPermutations]) -> BlockPermutations:
    """One result of tiles of voxels that went through the same permutations, in the order of the tiles."""
    return BlockPermutations(
        np.concatenate([tile.observed_r for tile in tiles]),
        np.concatenate([tile.n_at_least for tile in tiles]),
        np.maximum.reduce([tile.maxima for tile in tiles]),
    )


def _lanes(values: np.ndarray, lanes: slice, n_volumes: int) -> np.ndarray:
    """The volumes in blocks of some voxels, (n_volumes, _LANES) float64."""
    part = np.zeros((n_volumes, _LANES))
    part[:, : lanes.stop - lanes.start] = values[:n_volumes, lanes]
    return part


def _permute_run(
    y: np.ndarray,
    prediction: np.ndarray,
    weight: np.ndarray,
    places: np.ndarray,
    length: int,
    share: float,
    permuted_r: np.ndarray,
) -> np.ndarray:
    """Add a run's share of every permuted r to `permuted_r`; its share of the observed r, (_LANES,)."""
    table, add = _kernels()
    n_blocks = len(places)
    # What is not scored may be anything, NaN too; there the prediction still moves on.
    y = np.where(weight[:, np.newaxis], y - y[weight].mean(axis=0), 0.0)
    prediction = prediction - prediction[weight].mean(axis=0)
    y_squared = np.einsum("tv,tv->v", y, y)
    in_blocks = (n_blocks, length, _LANES)
    y_blocks, blocks = y.reshape(in_blocks), prediction.reshape(in_blocks)
    scored = prediction[weight]  # centred on the scored volumes
    scale = np.sqrt(y_squared * np.einsum("tv,tv->v", scored, scored))
    observed = np.divide((y * prediction).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)
    observed = np.where(y_squared > 0, observed, np.nan) * share

    products = np.empty((n_blocks, n_blocks, _LANES))
    table(y_blocks, blocks, products)
    if weight.all():
        products *= np.divide(share, scale, out=np.zeros_like(scale), where=scale > 0)
        add(products, places, permuted_r)
        return observed
    window = np.broadcast_to(weight[:, np.newaxis].astype(np.float64), y.shape).reshape(in_blocks)
    window = np.ascontiguousarray(window)
    found = []
    for left, right in ((None, None), (window, blocks), (window, blocks**2)):
        if left is not None:
            table(left, right, products)
        permuted = np.zeros_like(permuted_r)
        add(products, places, permuted)
        found.append(permuted)
    product, sums, squares = found
    squares -= sums**2 / weight.sum()
    scale = np.sqrt(y_squared * np.maximum(squares, 0))
    permuted_r += share * np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    return observed


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile the two loops; kept in memory only, as an installed package may be read-only."""
    import numba

    compiled = numba.njit(nogil=True, cache=False)
    return compiled(_block_products), compiled(_add_blocks)


def _block_products(left, right, products):  # type: ignore[no-untyped-def]
    """products[i, j] = sum over time of left block i times right block j; voxels are lanes of the processor."""
    n_blocks, length, _ = left.shape
    for i in range(n_blocks):
        for j in range(n_blocks):
            for v in range(_LANES):
                products[i, j, v] = 0.0
            for t in range(length):
                for v in range(_LANES):
                    products[i, j, v] += left[i, t, v] * right[j, t, v]


def _add_blocks(products, places, permuted):  # type: ignore[no-untyped-def]
    """Add the block products of every permutation, a chunk of permutations at a time."""
    n_blocks, n_permutations = places.shape
    for first in range(0, n_permutations, _CHUNK):
        last = min(first + _CHUNK, n_permutations)
        # Four places at a time: fewer passes over the sums.
        whole = n_blocks - n_blocks % 4
        for i in range(0, whole, 4):
            for permutation in range(first, last):
                a, b = places[i, permutation], places[i + 1, permutation]
                c, d = places[i + 2, permutation], places[i + 3, permutation]
                for v in range(_LANES):
                    permuted[permutation, v] += (products[i, a, v] + products[i + 1, b, v]) + (
                        products[i + 2, c, v] + products[i + 3, d, v]
                    )
        for i in range(whole, n_blocks):
            for permutation in range(first, last):
                a = places[i, permutation]
                for v in range(_LANES):
                    permuted[permutation, v] += products[i, a, v]
