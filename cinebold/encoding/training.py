"""A tile of voxels learns from one training set, and is held against what that leaves out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.encoding.estimators import Solver
from cinebold.encoding.scores import HeldOutSums, held_out_rsquared
from cinebold.encoding.statistics import CentredStatistics, RunStatistics
from cinebold.encoding.training_sets import CellStatistics, PreparedTraining

#: Two inner R2 nearer than this are a tie, which goes to the larger alpha.
_TIE = 1e-9


@dataclass(frozen=True)
class Trained:
    """What one tile of voxels has learned from a training set."""

    weights: np.ndarray  #: (n_columns, n_targets), of columns as in `PreparedTraining.features`
    alpha_index: np.ndarray  #: (n_targets,) chosen alpha, index into the rising grid
    inner_rsquared: np.ndarray  #: (n_targets,) pooled over the inner folds, at the chosen alpha
    statistics: CentredStatistics
    alphas: np.ndarray  #: (n_targets,) what the weights were found with; banded ridge leaves the grid
    gammas: np.ndarray | None = None  #: (n_spaces, n_targets) of banded ridge


def train(
    prepared: PreparedTraining,
    responses: np.ndarray,
    alphas: Sequence[float],
    statistics: CellStatistics | None = None,
) -> Trained:
    """Choose each voxel's alpha by the inner folds and fit the whole training set with it.

    The choice maximises the held-out R2 pooled over the inner folds (the least squared error); ties go to the
    larger alpha. No row outside `prepared.fold.train` is looked at.

    Parameters
    ----------
    responses : (n_rows, n_targets), the rows of all runs
    alphas : rising
    statistics : of the training cells, where they are known already
    """
    if statistics is None:
        statistics = prepared.statistics(responses, prepared.train)
    pooled = prepared.pooled(statistics, prepared.train)
    solver = prepared.solver
    if len(alphas) == 1 and not hasattr(solver, "fit_folds"):
        # Nothing is to be chosen, and the inner folds have nothing to say.
        index = np.zeros(pooled.cross.shape[1], dtype=np.int64)
        best = np.full(len(index), np.nan)
        return _fitted(prepared, pooled, index, best, alphas)
    folds = [
        (prepared.pooled(statistics, train_cells), prepared.inner_test(statistics, test_cells))
        for train_cells, test_cells in prepared.inner
    ]
    if hasattr(solver, "fit_folds"):
        banded = solver.fit_folds(pooled, folds)
        found = banded.alpha_index, banded.inner_score, pooled, banded.alphas
        return Trained(banded.weights, *found, banded.gammas)
    if hasattr(solver, "choose_alphas"):
        index, best = solver.choose_alphas(*map(list, zip(*folds, strict=True)), alphas, pooled)
    else:
        index, best = _choose(folds, prepared.inner_solvers, alphas)
    return _fitted(prepared, pooled, index, best, alphas)


def _fitted(
    prepared: PreparedTraining,
    pooled: CentredStatistics,
    index: np.ndarray,
    best: np.ndarray,
    alphas: Sequence[float],
) -> Trained:
    """The whole training set with the alphas that were chosen."""
    own = np.asarray(alphas, dtype=np.float64)[index]
    return Trained(prepared.solver.weights(pooled.cross, pooled.total, own), index, best, pooled, own)


def held_out_sums(
    prepared: PreparedTraining,
    weights: np.ndarray,
    responses: np.ndarray,
    statistics: CellStatistics | None = None,
) -> dict[int, HeldOutSums]:
    """The sums of each run's held-out rows, from their statistics: no prediction is formed.

    Parameters
    ----------
    weights : (n_columns, n_targets)
    responses : (n_rows, n_targets), each run about its mean over usable rows
    """
    found = {}
    for run, test in held_out_statistics(prepared, responses, statistics).items():
        found[run] = HeldOutSums(
            test.n,
            test.yy,
            (weights * test.xy).sum(axis=0),
            np.maximum((weights * (test.xx @ weights)).sum(axis=0), 0),
            test.sum_y,
            test.sum_x @ weights,
        )
    return found


def held_out_statistics(
    prepared: PreparedTraining, responses: np.ndarray, statistics: CellStatistics | None = None
) -> dict[int, RunStatistics]:
    """The statistics of each run's held-out rows, columns about the run's means over usable rows."""
    if statistics is None:
        statistics = prepared.statistics(responses, prepared.test)
    return {
        run: sums.about(prepared.run_means[run], np.zeros_like(sums.sum_y))
        for run, sums in prepared.by_run(statistics, prepared.test).items()
    }


def _choose(
    folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
    solvers: Sequence[Solver],
    alphas: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    sums = []
    for (inner, test), solver in zip(folds, solvers, strict=True):
        product, squared = solver.held_out_sums(inner.cross, inner.total, test.gram, test.cross, alphas)
        sums.append(HeldOutSums(test.n, test.total, product, squared))
    rsquared = np.nan_to_num(held_out_rsquared(sums), nan=0.0)  # (n_alphas, n_targets)
    good = rsquared >= rsquared.max(axis=0) - _TIE
    index = len(alphas) - 1 - good[::-1].argmax(axis=0)
    return index, np.take_along_axis(rsquared, index[np.newaxis], axis=0)[0]
