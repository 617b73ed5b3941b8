"""Training sets: what is learned of the features once, before any response is looked at."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cinebold.design.delays import delayed
from cinebold.design.hrf import convolved, hrf_kernel
from cinebold.design.run_design import RunDesign
from cinebold.encoding.estimators import ROTATABLE, Solver, solver_factory
from cinebold.encoding.folds import TrainingSet
from cinebold.encoding.lagged_products import lagged_grams
from cinebold.encoding.preprocessing import SpaceReducer, columns_of_spaces, fit_reducer
from cinebold.encoding.rows import Rows
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.solvers.banded_solver import BandedRidgeSolver
from cinebold.encoding.solvers.dual_ridge import ridge_cost
from cinebold.encoding.statistics import CentredStatistics, RunStatistics, about_means, accumulate, centred
from cinebold.errors import InputError

#: A singular value below this share of the largest adds nothing to the rows' span.
_RANK_TOLERANCE = 1e-7
#: A column that is left shorter than this share of itself was explained wholly by the nuisance.
_EXPLAINED = 1e-10
#: For the cost model: what the number of voxels is taken to be, as tiles know no more.
_TYPICAL_TARGETS = 50_000

CellStatistics = dict[int, RunStatistics]


@dataclass(frozen=True)
class PreparedTraining:
    """A training set's projection of all runs, and the cells of rows from which its statistics are summed."""

    fold: TrainingSet
    settings: EncodingSettings
    device: str  #: where solvers work, "cpu" or "cuda[:N]"
    reducers: dict[str, SpaceReducer]
    features: np.ndarray  #: (n_rows, n_columns) delayed scores of all runs, each space divided by its unit
    n_bases: int  #: delayed or convolved copies of each component
    rotation: (
        np.ndarray | None
    )  #: (n_delayed_scores, n_columns) orthonormal, where columns were too many; None: none
    cells: list[np.ndarray]  #: row indices; rows of one run that the folds never part
    cell_runs: list[int]
    cell_features: list[RunStatistics]  #: without responses
    run_means: dict[
        int, np.ndarray
    ]  #: of each run that is predicted, the mean of its columns over usable rows
    train: list[int]  #: cells to train on
    test: list[int]  #: held-out cells
    inner: list[tuple[list[int], list[int]]]  #: cells of each inner fold
    solver: Solver
    inner_solvers: list[Solver]

    def statistics(self, responses: np.ndarray, cells: Sequence[int]) -> CellStatistics:
        """The statistics of some cells; `responses` (n_rows, n_targets)."""
        return {
            cell: accumulate(
                self.features[self.cells[cell]], responses[self.cells[cell]], self.cell_features[cell].xx
            )
            for cell in cells
        }

    def pooled(self, statistics: CellStatistics, cells: Sequence[int]) -> CentredStatistics:
        """Cells summed to runs, runs centred (or all rows on one mean) and pooled."""
        runs = self.by_run(statistics, cells)
        if self.settings.intercept == "all":
            return centred([sum(list(runs.values())[1:], start=next(iter(runs.values())))])
        return centred(list(runs.values()))

    def inner_test(self, statistics: CellStatistics, cells: Sequence[int]) -> CentredStatistics:
        """The held-out rows of an inner fold: about their own means, or those of the run's training rows.

        Where films are held out a run may have a single held-out row, whose own mean would leave nothing.
        """
        runs = self.by_run(statistics, cells)
        if not self.fold.by_films:
            return centred(list(runs.values()))
        known = self.by_run(statistics, self.train)
        means = [(known[run].sum_x / known[run].n, known[run].sum_y / known[run].n) for run in runs]
        return about_means(list(runs.values()), means)

    def of_columns(self, columns: np.ndarray, reducers: dict[str, SpaceReducer]) -> "PreparedTraining":
        """The same training set with some of its columns; folds, scales and components stay."""
        fewer = replace(
            self,
            reducers=reducers,
            features=np.ascontiguousarray(self.features[:, columns]),
            cell_features=[cell.of_columns(columns) for cell in self.cell_features],
            run_means={run: mean[columns] for run, mean in self.run_means.items()},
        )
        return replace(fewer, **_solvers(fewer))

    def by_run(self, statistics: CellStatistics, cells: Collection[int]) -> dict[int, RunStatistics]:
        """Cells summed to runs, in the order of the runs."""
        runs: dict[int, RunStatistics] = {}
        for cell in cells:
            run = self.cell_runs[cell]
            runs[run] = runs[run] + statistics[cell] if run in runs else statistics[cell]
        return {run: runs[run] for run in sorted(runs)}


def prepare_training(
    fold: TrainingSet,
    rows: Rows,
    designs: Sequence[RunDesign],
    delays: Sequence[int],
    settings: EncodingSettings,
    device: str = "cpu",
) -> PreparedTraining:
    """Learn scale and components on the training rows, project all runs, delay them, and decompose.

    The projection is learned on the volumes of the training runs that show a film which is not held out. Inner
    folds share their outer fold's projection: what is held out is never seen by it.

    Where there are more columns than training rows and the estimator allows it, columns are rotated to the span
    of the training rows, which loses nothing: weights of ridge lie in it (the dual form of ridge).
    """
    forbidden = rows.films_of(fold.test) if fold.test.any() else np.zeros(len(rows.film_ids), dtype=bool)
    training_runs = np.unique(rows.run[fold.train])
    shown = np.isin(rows.run, training_runs) & rows.shows.any(axis=1) & ~rows.shows[:, forbidden].any(axis=1)
    reducers = {}
    for space in designs[0].features:
        stacked = np.concatenate([design.features[space] for design in designs])
        reducer = fit_reducer(stacked[shown], settings.pca, settings.standardise, space)
        reducers[space] = reducer if settings.alpha_unit == "relative" else replace(reducer, unit=1.0)
    kernel = None if settings.hrf == "none" else hrf_kernel(settings.hrf, designs[0].tr_s)
    features = np.concatenate([_columns(design, reducers, delays, kernel) for design in designs])
    rotation = _rotation(features[fold.train], settings, len(fold.inner))
    if rotation is not None:
        features = features @ rotation

    masks = np.stack(
        [fold.train, fold.test, *(mask for inner in fold.inner for mask in (inner.train, inner.test))]
    )
    cells, cell_runs, members = _cells(rows.run, masks)
    chosen = [list(np.flatnonzero(member)) for member in members.T]
    plain = kernel is None and rotation is None
    xx = _lagged_grams(rows, designs, cells, features, delays) if plain else [None] * len(cells)
    prepared = PreparedTraining(
        fold=fold,
        settings=settings,
        device=device,
        reducers=reducers,
        features=features,
        n_bases=len(delays) if kernel is None else 1,
        rotation=rotation,
        cells=cells,
        cell_runs=cell_runs,
        cell_features=[
            accumulate(features[cell], np.zeros((len(cell), 0)), xx[at]) for at, cell in enumerate(cells)
        ],
        run_means={
            int(run): features[rows.used & (rows.run == run)].mean(axis=0)
            for run in np.unique(rows.run[fold.test])
        },
        train=chosen[0],
        test=chosen[1],
        inner=[(chosen[2 + 2 * index], chosen[3 + 2 * index]) for index in range(len(fold.inner))],
        solver=None,  # type: ignore[arg-type]
        inner_solvers=[],
    )
    return replace(prepared, **_solvers(prepared))


def _solvers(prepared: PreparedTraining) -> dict[str, Any]:
    """The solvers of the training set and of its inner folds, as fields of `PreparedTraining`."""
    known, settings = dict(enumerate(prepared.cell_features)), prepared.settings
    sizes = {space: reducer.n_components for space, reducer in prepared.reducers.items()}
    whole = prepared.pooled(known, prepared.train)
    inner = [prepared.pooled(known, cells) for cells, _ in prepared.inner]
    if settings.estimator == "banded_ridge":
        tests = [prepared.inner_test(known, cells) for _, cells in prepared.inner]
        grams = [(own.gram, test.gram) for own, test in zip(inner, tests, strict=True)]
        columns = columns_of_spaces(sizes, prepared.n_bases)
        banded = BandedRidgeSolver(whole.gram, grams, columns, settings, prepared.device)
        return {"solver": banded, "inner_solvers": []}
    solver_of = solver_factory(settings, sum(sizes.values()) * prepared.n_bases, prepared.device)
    solver = solver_of(whole.gram, whole.n)
    # A solver with a short way through the folds has no need of their own solvers.
    own_way = hasattr(solver, "choose_alphas")
    return {
        "solver": solver,
        "inner_solvers": [] if own_way else [solver_of(fold.gram, fold.n) for fold in inner],
    }


def _columns(
    design: RunDesign, reducers: dict[str, SpaceReducer], delays: Sequence[int], kernel: np.ndarray | None
) -> np.ndarray:
    """(n_volumes, n_columns) of one run: delays outermost, then spaces, then components.

    What was regressed out of the responses is regressed out of the columns too (Frisch-Waugh-Lovell): the cleaned
    response to a film is the cleaned column's, and a model that knew only raw columns would predict what is not there
    any more. Only the run's own nuisance and films are looked at, never responses.
    """
    scores = np.concatenate(
        [
            reducer.scores(design.features[space], design.has_film) / reducer.unit
            for space, reducer in reducers.items()
        ],
        axis=1,
    )
    columns = delayed(scores, delays) if kernel is None else convolved(scores, kernel)
    if design.nuisance is None:
        return columns
    left = columns - design.nuisance @ (design.nuisance.T @ columns)
    # What is left of a column that the nuisance explains wholly, as it may a film that is always on, is rounding.
    left[:, np.linalg.norm(left, axis=0) <= _EXPLAINED * np.linalg.norm(columns, axis=0)] = 0
    return left


def _lagged_grams(
    rows: Rows,
    designs: Sequence[RunDesign],
    cells: Sequence[np.ndarray],
    features: np.ndarray,
    delays: Sequence[int],
) -> list[np.ndarray | None]:
    """X'X of each cell from one product a lag, where nothing was regressed out of the columns; else None.

    Undelayed columns are the delayed ones moved back; the last volumes of a run, which only a longer delay sees, are
    missing there, and no delayed row reads them.
    """
    grams: list[np.ndarray | None] = [None] * len(cells)
    n_columns = features.shape[1] // len(delays)
    for run, design in enumerate(designs):
        mine = np.flatnonzero(rows.run == run)
        if design.nuisance is not None or len(delays) < 2 or len(mine) <= max(delays):
            continue
        undelayed = np.zeros((len(mine), n_columns))
        first = min(delays)
        at = list(delays).index(first) * n_columns
        undelayed[: len(mine) - first] = features[mine[first:], at : at + n_columns]
        own = [number for number, cell in enumerate(cells) if rows.run[cell[0]] == run]
        found = lagged_grams(undelayed, delays, [cells[number] - mine[0] for number in own])
        for number, gram in zip(own, found, strict=True):
            grams[number] = gram
    return grams


def _rotation(rows: np.ndarray, settings: EncodingSettings, n_folds: int) -> np.ndarray | None:
    """(n_columns, rank) orthonormal basis of the training rows, where that is cheaper than the columns as they are."""
    n_rows, n_columns = rows.shape
    by_space = settings.variance_partitioning or settings.layers
    if settings.estimator not in ROTATABLE or n_columns <= n_rows or by_space:
        return None
    n_alphas = 17 if settings.alphas is None else len(settings.alphas)
    if ridge_cost(n_rows, n_columns, _TYPICAL_TARGETS, max(n_folds, 2), n_alphas).path == "primal":
        return None
    if not np.isfinite(rows).all():
        raise InputError("The features of the training runs are not all finite: extract them again.")
    values, vectors = np.linalg.eigh(rows @ rows.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > (_RANK_TOLERANCE**2) * values[0]
    basis = rows.T @ (vectors[:, kept] / np.sqrt(values[kept]))
    # Directions of small singular values have lost digits to the squares of the large ones.
    return np.linalg.qr(basis)[0]


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
