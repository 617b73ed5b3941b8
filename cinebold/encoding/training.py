"""One training set: what is learned of the features once, and of each tile of voxels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.design.delays import delayed
from cinebold.design.run_design import RunDesign
from cinebold.encoding.estimators import Solver, solver_factory
from cinebold.encoding.folds import TrainingSet
from cinebold.encoding.preprocessing import SpaceReducer, fit_reducer
from cinebold.encoding.rows import Rows
from cinebold.encoding.scores import HeldOutSums, held_out_rsquared
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.statistics import CentredStatistics, RunStatistics, accumulate, centred

#: Two inner R2 nearer than this are a tie, which goes to the larger alpha.
_TIE = 1e-9


@dataclass(frozen=True)
class Trained:
    """What one tile of voxels has learned from a training set."""

    weights: np.ndarray  #: (n_columns, n_targets), of columns as in `PreparedTraining.features`
    alpha_index: np.ndarray  #: (n_targets,) chosen alpha, index into the rising grid
    inner_rsquared: np.ndarray  #: (n_targets,) pooled over the inner folds, at the chosen alpha
    statistics: CentredStatistics


@dataclass(frozen=True)
class PreparedTraining:
    """A training set's projection of all runs, and the cells of rows from which its statistics are summed."""

    fold: TrainingSet
    reducers: dict[str, SpaceReducer]
    features: np.ndarray  #: (n_rows, n_columns) delayed scores of all runs, each space divided by its unit
    cells: list[np.ndarray]  #: row indices; rows of one run that the folds never part
    cell_runs: list[int]
    cell_features: list[RunStatistics]  #: without responses
    train: list[int]  #: cells to train on
    test: list[int]  #: held-out cells
    inner: list[tuple[list[int], list[int]]]  #: cells of each inner fold
    solver: Solver
    inner_solvers: list[Solver]

    def statistics(self, responses: np.ndarray, cells: Sequence[int]) -> dict[int, RunStatistics]:
        """The statistics of some cells; `responses` (n_rows, n_targets)."""
        return {
            cell: accumulate(
                self.features[self.cells[cell]], responses[self.cells[cell]], self.cell_features[cell].xx
            )
            for cell in cells
        }

    def pooled(self, statistics: dict[int, RunStatistics], cells: Sequence[int]) -> CentredStatistics:
        """Cells summed to runs, runs centred and pooled."""
        return _pooled(statistics, self.cell_runs, cells)


def prepare_training(
    fold: TrainingSet,
    rows: Rows,
    designs: Sequence[RunDesign],
    delays: Sequence[int],
    settings: EncodingSettings,
) -> PreparedTraining:
    """Learn scale and components on the training rows, project all runs, delay them, and decompose.

    The projection is learned on the volumes of the training runs that show a film which the held-out run does
    not. Inner folds share their outer fold's projection: the run that is held out is never seen by it.
    """
    forbidden = rows.films_of(fold.test) if fold.test.any() else np.zeros(len(rows.film_ids), dtype=bool)
    training_runs = np.unique(rows.run[fold.train])
    shown = np.isin(rows.run, training_runs) & rows.shows.any(axis=1) & ~rows.shows[:, forbidden].any(axis=1)
    reducers = {}
    for space in designs[0].features:
        stacked = np.concatenate([design.features[space] for design in designs])
        reducers[space] = fit_reducer(stacked[shown], settings.pca, settings.standardise == "features", space)
    features = np.concatenate([_delayed_scores(design, reducers, delays) for design in designs])

    masks = np.stack(
        [fold.train, fold.test, *(mask for inner in fold.inner for mask in (inner.train, inner.test))]
    )
    cells, cell_runs, members = _cells(rows.run, masks)
    cell_features = [accumulate(features[cell], np.zeros((len(cell), 0))) for cell in cells]
    chosen = [list(np.flatnonzero(member)) for member in members.T]
    inner = [(chosen[2 + 2 * index], chosen[3 + 2 * index]) for index in range(len(fold.inner))]
    solver_of = solver_factory(settings)
    known = dict(enumerate(cell_features))
    pooled = [_pooled(known, cell_runs, train) for train in (chosen[0], *(train for train, _ in inner))]
    solvers = [solver_of(statistics.gram, statistics.n) for statistics in pooled]
    return PreparedTraining(
        fold=fold,
        reducers=reducers,
        features=features,
        cells=cells,
        cell_runs=cell_runs,
        cell_features=cell_features,
        train=chosen[0],
        test=chosen[1],
        inner=inner,
        solver=solvers[0],
        inner_solvers=solvers[1:],
    )


def train(prepared: PreparedTraining, responses: np.ndarray, alphas: Sequence[float]) -> Trained:
    """Choose each voxel's alpha by the inner folds and fit the whole training set with it.

    The choice maximises the held-out R2 pooled over the inner folds (the least squared error); ties go to the
    larger alpha. No row outside `prepared.fold.train` is looked at.

    Parameters
    ----------
    responses : (n_rows, n_targets), the rows of all runs
    alphas : rising
    """
    statistics = prepared.statistics(responses, prepared.train)
    pooled = prepared.pooled(statistics, prepared.train)
    folds = []
    for (train_cells, test_cells), solver in zip(prepared.inner, prepared.inner_solvers, strict=True):
        inner = prepared.pooled(statistics, train_cells)
        test = prepared.pooled(statistics, test_cells)
        product, squared = solver.held_out_sums(inner.cross, inner.total, test.gram, test.cross, alphas)
        folds.append(HeldOutSums(test.n, test.total, product, squared))
    rsquared = np.nan_to_num(held_out_rsquared(folds), nan=0.0)  # (n_alphas, n_targets)
    good = rsquared >= rsquared.max(axis=0) - _TIE
    index = len(alphas) - 1 - good[::-1].argmax(axis=0)
    weights = prepared.solver.weights(pooled.cross, pooled.total, np.asarray(alphas)[index])
    best = np.take_along_axis(rsquared, index[np.newaxis], axis=0)[0]
    return Trained(weights, index, best, pooled)


def held_out_sums(prepared: PreparedTraining, trained: Trained, responses: np.ndarray) -> HeldOutSums:
    """The sums of the held-out run, from its statistics: no prediction is formed."""
    statistics = prepared.statistics(responses, prepared.test)
    test = prepared.pooled(statistics, prepared.test)
    weights = trained.weights
    return HeldOutSums(
        test.n,
        test.total,
        (weights * test.cross).sum(axis=0),
        np.maximum((weights * (test.gram @ weights)).sum(axis=0), 0),
    )


def _delayed_scores(
    design: RunDesign, reducers: dict[str, SpaceReducer], delays: Sequence[int]
) -> np.ndarray:
    """(n_volumes, n_columns) of one run: delays outermost, then spaces, then components.

    What was regressed out of the responses is regressed out of the columns too (Frisch-Waugh-Lovell): the cleaned
    response to a film is the cleaned column's, and a model that knew only raw columns would predict what is not there
    any more. Only the run's own nuisance and films are looked at, never responses.
    """
    scores = [
        reducer.scores(design.features[space], design.has_film) / reducer.unit
        for space, reducer in reducers.items()
    ]
    columns = delayed(np.concatenate(scores, axis=1), delays)
    if design.nuisance is None:
        return columns
    return columns - design.nuisance @ (design.nuisance.T @ columns)


def _pooled(
    statistics: dict[int, RunStatistics], cell_runs: Sequence[int], cells: Sequence[int]
) -> CentredStatistics:
    runs: dict[int, RunStatistics] = {}
    for cell in cells:
        run = cell_runs[cell]
        runs[run] = runs[run] + statistics[cell] if run in runs else statistics[cell]
    return centred([runs[run] for run in sorted(runs)])


def _cells(run: np.ndarray, masks: np.ndarray) -> tuple[list[np.ndarray], list[int], np.ndarray]:
    """Part the rows into cells that lie in one run and wholly in or out of each mask.

    Returns
    -------
    row indices of each cell, the run of each, and (n_cells, n_masks) bool, which masks it is in
    """
    signatures = np.concatenate([run[np.newaxis], masks.astype(run.dtype)])
    kinds, member = np.unique(signatures, axis=1, return_inverse=True)
    member = member.reshape(-1)
    wanted = [kind for kind in range(kinds.shape[1]) if kinds[1:, kind].any()]
    cells = [np.flatnonzero(member == kind) for kind in wanted]
    return cells, [int(kinds[0, kind]) for kind in wanted], kinds[1:, wanted].T.astype(bool)
