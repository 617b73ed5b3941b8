"""Principal components of the training responses: few targets that stand for all voxels."""

from collections.abc import Sequence

import numpy as np

from cinebold.encoding.rows import Rows
from cinebold.errors import InputError

#: Voxels that are read at once for the components of the responses; another number would change roundings.
_TILE = 2048
#: Directions beyond those that are kept, and rounds of the power iteration.
_OVERSAMPLING = 10
_N_ROUNDS = 3


def response_components(
    responses: Sequence[np.ndarray],
    rows: Rows,
    train: np.ndarray,
    n_components: int,
    *,
    centre_runs: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Scores of the training responses on their leading principal components, by power iteration.

    Voxels are centred on their means over the training rows of each run (or of all runs) and scaled to unit
    variance; those that are not finite or constant over these rows are left out. Halko, Martinsson & Tropp (2011),
    SIAM Rev. 53, 217-288, algorithm 4.4, a tile of voxels at a time; exact where n_components reaches the rank.

    Parameters
    ----------
    responses : one (n_volumes, n_targets) a run
    train : (n_rows,) bool; no other row is read

    Returns
    -------
    (n_rows, n_components or fewer), by falling variance; 0 where not trained on
    """
    runs = [run for run in range(len(responses)) if train[rows.run == run].any()]
    of_run = [np.flatnonzero(train[rows.run == run]) for run in runs]
    n_rows, n_targets = sum(map(len, of_run)), responses[0].shape[1]
    tiles = [slice(start, min(start + _TILE, n_targets)) for start in range(0, n_targets, _TILE)]

    scales: dict[
        int, tuple[np.ndarray, np.ndarray]
    ] = {}  # first voxel of a tile -> means by run, 1 / deviation

    def read(part: slice) -> np.ndarray:
        y = [responses[run][own, part].astype(np.float32) for run, own in zip(runs, of_run, strict=True)]
        if part.start not in scales:
            scales[part.start] = _means_and_scale(y, centre_runs)
        means, scale = scales[part.start]
        stacked = np.concatenate(y)
        first = 0
        for run, mean in zip(y, means, strict=True):
            with np.errstate(invalid="ignore"):
                stacked[first : first + len(run)] -= mean
            first += len(run)
        kept = scale > 0
        stacked = stacked if kept.all() else stacked[:, kept]
        stacked *= scale[kept]
        return stacked

    width = min(n_components + _OVERSAMPLING, n_rows)
    basis = np.random.default_rng(seed).normal(size=(n_rows, width))
    for _ in range(_N_ROUNDS):
        basis = np.linalg.qr(basis)[0]
        narrow = basis.astype(np.float32)
        basis, projected, n_valid = np.zeros((n_rows, width)), np.zeros((width, width)), 0
        for part in tiles:
            y = read(part)
            n_valid += y.shape[1]
            weights = narrow.T @ y  # (width, n_targets of the tile)
            basis += y @ weights.T
            projected += weights @ weights.T
    if not n_valid:
        raise InputError("No voxel is finite and varies over the training rows: there is nothing to fit.")
    values, vectors = np.linalg.eigh(projected)
    n_kept = min(n_components, int((values > 1e-6 * values[-1]).sum()))
    order = np.arange(width)[::-1][:n_kept]
    scores = narrow.astype(np.float64) @ (vectors[:, order] * np.sqrt(values[order]))
    scores *= np.where(scores[np.abs(scores).argmax(axis=0), np.arange(n_kept)] < 0, -1.0, 1.0)
    result = np.zeros((len(rows), n_kept))
    result[train] = scores
    return result


def _means_and_scale(y: Sequence[np.ndarray], centre_runs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Means (n_runs, n_targets) and 1 / deviation (n_targets,) of some voxels, 0 for those that cannot be used."""
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.stack([run.mean(axis=0, dtype=np.float64) for run in y])
        lengths = np.array([len(run) for run in y], dtype=np.float64)[:, np.newaxis]
        if not centre_runs:
            means[:] = (means * lengths).sum(axis=0) / lengths.sum()
        means = means.astype(np.float32)
        squares = [
            ((run - mean) ** 2).sum(axis=0, dtype=np.float64) for run, mean in zip(y, means, strict=True)
        ]
        deviation = np.sqrt(sum(squares) / lengths.sum())
        usable = np.isfinite(deviation) & (deviation > 1e-6 * np.abs(means).max(axis=0)) & (deviation > 0)
        return means, np.where(usable, 1.0 / np.where(usable, deviation, 1.0), 0.0).astype(np.float32)
