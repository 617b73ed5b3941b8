"""X'X of delayed columns from one product a lag, without the delayed columns, with exact edges."""

from collections.abc import Iterator, Sequence

import numpy as np

#: A column of which the nuisance leaves less than this share of its squares is projected before it is multiplied.
_LEAST_LEFT = 1e-5


def lagged_grams(
    columns: np.ndarray,
    delays: Sequence[int],
    cells: Sequence[np.ndarray],
    nuisance: np.ndarray | None = None,
) -> list[np.ndarray]:
    """X'X over each of some cells of a run's rows, X the delayed columns without what the nuisance explains.

    Block (c, d) of the Gram matrix of delayed columns z over the rows t of a cell is

        sum_t z_{t-c} z_{t-d}' = sum_s z_s z_{s-l}',   l = d - c,   s = t - c

    so that all blocks of one lag l share all but the first and the last of their terms, n_delays large products in
    place of n_delays (n_delays + 1) / 2. Rows before the run's start are zero. Sums are put together from
    disjoint rows and nothing is subtracted, but for the nuisance N: with B = N'X over the run and C = N'X over
    the cell, X'X - C'B - B'C + B'(N'N)B of low rank; where that would lose digits the columns are projected first.

    Parameters
    ----------
    columns : (n_volumes, n_columns) of one run, undelayed
    delays : whole volumes, not negative
    cells : rows of each cell, rising
    nuisance : (n_volumes, rank) orthonormal

    Returns
    -------
    (n_delays * n_columns, n_delays * n_columns) float64 of each cell, delays outermost as in `design.delays.delayed`
    """
    z = np.ascontiguousarray(columns, dtype=np.float64)
    grams = [_delayed_gram(z, delays, rows) for rows in cells]
    if nuisance is None:
        return grams
    basis = np.asarray(nuisance, dtype=np.float64)
    loadings = _delayed_products(z, delays, basis, np.arange(len(z)))
    for number, rows in enumerate(cells):
        own = _delayed_products(z, delays, basis, rows)
        within = basis[rows].T @ basis[rows]
        half = (own - within @ loadings / 2).T @ loadings
        projected = grams[number] - half - half.T
        if (np.diag(projected) < _LEAST_LEFT * np.diag(grams[number])).any():
            left = np.concatenate([_delayed_rows(z, delay, rows) for delay in delays], axis=1)
            left -= basis[rows] @ loadings
            projected = left.T @ left
        grams[number] = projected
    return grams


def _delayed_gram(z: np.ndarray, delays: Sequence[int], rows: np.ndarray) -> np.ndarray:
    p = z.shape[1]
    gram = np.zeros((len(delays) * p, len(delays) * p))
    pairs: dict[int, list[tuple[int, int]]] = {}
    for later, long in enumerate(delays):
        for sooner, short in enumerate(delays):
            if short < long or sooner == later:
                pairs.setdefault(long - short, []).append((sooner, later))
    for first, last in _stretches(rows):
        for lag, blocks in pairs.items():
            # Where s = t - c runs for each block, and the part that all have.
            begins = [max(first - delays[sooner], lag) for sooner, _ in blocks]
            ends = [
                max(last - delays[sooner], begin) for (sooner, _), begin in zip(blocks, begins, strict=True)
            ]
            begin, end = max(begins), min(ends)
            shared = _lagged(z, lag, begin, end) if end > begin else None
            for (sooner, later), own_begin, own_end in zip(blocks, begins, ends, strict=True):
                if shared is None:
                    block = _lagged(z, lag, own_begin, own_end)
                else:
                    block = shared + _lagged(z, lag, own_begin, begin) + _lagged(z, lag, end, own_end)
                gram[sooner * p : (sooner + 1) * p, later * p : (later + 1) * p] += block
                if lag:
                    gram[later * p : (later + 1) * p, sooner * p : (sooner + 1) * p] += block.T
    return gram


def _lagged(z: np.ndarray, lag: int, first: int, last: int) -> np.ndarray:
    """The sum of z_s z_{s-lag}' over first <= s < last, first not below lag."""
    return z[first:last].T @ z[first - lag : last - lag]


def _delayed_products(
    z: np.ndarray, delays: Sequence[int], basis: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """N'X over some rows, (rank, n_delays * n_columns)."""
    return np.concatenate([basis[rows].T @ _delayed_rows(z, delay, rows) for delay in delays], axis=1)


def _delayed_rows(z: np.ndarray, delay: int, rows: np.ndarray) -> np.ndarray:
    """Some rows of the columns at one delay, zero before the run's start."""
    values = z[np.maximum(rows - delay, 0)]
    values[rows < delay] = 0
    return values


def _stretches(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """First row and one past the last of each stretch of consecutive rows."""
    rows = np.asarray(rows)
    if not len(rows):
        return
    for stretch in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        yield int(stretch[0]), int(stretch[-1]) + 1
