"""Encoding models from run statistics on disk, without the responses."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from cinebold.encoding.estimators import estimator
from cinebold.encoding.fit import EncodingResult, finish_fit
from cinebold.encoding.folds import TrainingSet
from cinebold.encoding.rows import Rows
from cinebold.encoding.run_statistics.cell_bases import Columns, stacked_rows_and_folds
from cinebold.encoding.run_statistics.files import RunRecord, merge
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.statistics import RunStatistics
from cinebold.encoding.tile_fit import FitMaps, FitPlan, fit_targets
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.encoding.training_sets import CellStatistics, PreparedTraining, prepare_training
from cinebold.errors import InputError, SettingError

#: Columns of a fold outside the span of a cell's basis, as a share of the longest one: rounding errors.
_OUTSIDE = 1e-9
_MB = 1024**2
_LEAST_TILE = 64


def fit_statistics(
    records: Sequence[RunRecord],
    settings: EncodingSettings,
    *,
    memory_mb: int = 4096,
    progress: bool = False,
) -> EncodingResult:
    """Fit and score an encoding model from the statistics of its runs (`accumulation.accumulate_run`).

    The result is that of `fit_encoding_model` with `n_permutations=0`, to rounding errors: the same folds, scales,
    components, alphas, weights, r and R2. p values, noise ceilings and maps of layers need the responses
    themselves and are not given.

    Parameters
    ----------
    records : one a run, of all runs of one analysis, in any order
    settings : those of the accumulation, or others in what it leaves open
    memory_mb : of the voxels that are in memory at once, beside the training sets and the weights of all voxels

    Raises
    ------
    InputError : records that do not belong together, folds that the cells of rows cannot make up
    SettingError : settings that need the responses
    """
    records = merge(records)
    settings = _without_responses(settings, records[0].columns)
    designs, columns = [record.design for record in records], records[0].columns
    rows, folds, final = stacked_rows_and_folds(designs, columns, settings)
    cells = _Cells(records, rows)
    kind = estimator(settings.estimator)
    alphas = tuple(sorted(settings.alphas if settings.alphas is not None else kind.default_alphas))
    with one_thread_products() as n_threads:

        def prepare(fold: TrainingSet) -> StatisticsTraining:
            return cells.prepared(prepare_training(fold, rows, designs, columns.delays, settings))

        outer = tuple(prepare(fold) for fold in folds)
        plan = FitPlan(
            settings=settings,
            alphas=alphas,
            rows=rows,
            outer=outer,
            final=prepare(final),
            test=None,
            repeats=(),
        )
        maps = FitMaps(plan, records[0].n_targets)
        tiles = _tiles(records, plan, memory_mb, n_threads)
        run_tiles(lambda part: _fit_tile(plan, maps, part, records), tiles, n_threads, progress)
    return finish_fit(maps, designs, columns.delays)


@dataclass(frozen=True)
class StatisticsTraining(PreparedTraining):
    """A training set whose statistics are put together from those of the runs' cells."""

    #: of each cell of this training set, the runs' cells in it and its columns' coordinates (rank, n_columns) there
    parts: tuple[tuple[tuple[int, np.ndarray], ...], ...] = ()

    def statistics(self, responses: "ResponseSums", cells: Sequence[int]) -> CellStatistics:
        """The statistics of some cells; with X = Q A over the rows of a cell, X'Y = A'(Q'Y)."""
        found = {}
        for cell in cells:
            known, parts = self.cell_features[cell], self.parts[cell]
            found[cell] = RunStatistics(
                n=known.n,
                sum_x=known.sum_x,
                sum_y=sum(responses.sums[part] for part, _ in parts),
                xx=known.xx,
                xy=sum(coordinates.T @ responses.products[part] for part, coordinates in parts),
                yy=sum(responses.squares[part] for part, _ in parts),
            )
        return found


@dataclass(frozen=True)
class ResponseSums:
    """Sums of some voxels over the cells of all runs; stands for their responses (n_rows, n_targets)."""

    products: list[np.ndarray]  #: of each cell (rank, n_targets)
    sums: list[np.ndarray]  #: of each cell (n_targets,)
    squares: list[np.ndarray]  #: of each cell (n_targets,)
    shape: tuple[int, int]  #: (n_rows, n_targets)


class _Cells:
    """The cells of all runs, in the order of the runs."""

    def __init__(self, records: Sequence[RunRecord], rows: Rows) -> None:
        self.bases = [cell for record in records for cell in record.cells]
        starts = [np.flatnonzero(rows.run == run)[0] for run in range(len(records))]
        self.rows = [
            start + cell.rows for start, record in zip(starts, records, strict=True) for cell in record.cells
        ]
        self.of_row = np.full(len(rows), -1)
        for number, cell in enumerate(self.rows):
            self.of_row[cell] = number

    def prepared(self, training: PreparedTraining) -> StatisticsTraining:
        """A training set that takes its statistics from the cells."""
        parts = tuple(self._parts(training, cell) for cell in training.cells)
        known = {field.name: getattr(training, field.name) for field in fields(training)}
        return StatisticsTraining(**known, parts=parts)

    def _parts(self, training: PreparedTraining, rows: np.ndarray) -> tuple[tuple[int, np.ndarray], ...]:
        numbers = np.unique(self.of_row[rows])
        if numbers[0] < 0 or sum(len(self.rows[number]) for number in numbers) != len(rows):
            raise InputError(
                f"The statistics cannot make up the fold {training.fold.name}: it parts rows that they hold "
                "together; accumulate the runs with the cross-validation of these settings."
            )
        return tuple((int(number), self._coordinates(training, number)) for number in numbers)

    def _coordinates(self, training: PreparedTraining, number: int) -> np.ndarray:
        cell, columns = self.bases[number], training.features[self.rows[number]]
        coordinates = cell.coordinates(columns)
        if cell.basis is not None:
            outside = np.linalg.norm(columns - cell.basis @ coordinates, axis=0)
            longest = np.linalg.norm(columns, axis=0).max()
            if not (outside <= _OUTSIDE * longest).all():
                raise InputError(
                    f"The statistics do not hold the columns of the fold {training.fold.name}: features, delays or "
                    "nuisance are not those that they were accumulated with; accumulate the runs again."
                )
        return coordinates


def _fit_tile(plan: FitPlan, maps: FitMaps, part: slice, records: Sequence[RunRecord]) -> None:
    """Train and score all folds on some voxels, and fit the final model."""
    sums, means, valid = read_sums(records, plan.rows, part, plan.settings.intercept)
    if valid.any():
        fit_targets(plan, maps, np.arange(part.start, part.stop)[valid], sums, means[valid])


def read_sums(
    records: Sequence[RunRecord], rows: Rows, part: slice, intercept: str = "run"
) -> tuple[ResponseSums, np.ndarray, np.ndarray]:
    """The sums of the valid voxels of `part`; about each run's mean, or all runs' where there is one intercept.

    Returns
    -------
    the sums, the mean of the provisional means over used rows (n_targets,), and which voxels are valid (n_targets,)
    """
    tiles = [record.read(part) for record in records]
    shares = np.bincount(rows.run[rows.used], minlength=len(records)) / rows.used.sum()
    with np.errstate(invalid="ignore"):
        mean = sum(share * tile.mean for share, tile in zip(shares, tiles, strict=True))
    valid = np.all([tile.valid for tile in tiles], axis=0)
    found = ResponseSums([], [], [], (len(rows), int(valid.sum())))
    for record, tile in zip(records, tiles, strict=True):
        shift = (tile.mean - mean)[valid] if intercept == "all" else None
        first = 0
        for number, cell in enumerate(record.cells):
            products = tile.products[first : first + cell.rank][:, valid]
            sums, squares = tile.sums[number, valid], tile.squares[number, valid]
            if shift is not None:
                ones = cell.coordinates(np.ones((len(cell.rows), 1)))
                products += ones * shift
                squares = squares + 2 * shift * sums + len(cell.rows) * shift**2
                sums = sums + len(cell.rows) * shift
            found.products.append(products)
            found.sums.append(sums)
            found.squares.append(squares)
            first += cell.rank
    return found, mean, valid


def _tiles(records: Sequence[RunRecord], plan: FitPlan, memory_mb: int, n_threads: int) -> list[slice]:
    """Tiles of voxels that memory holds, none across two files."""
    rank = sum(cell.rank for record in records for cell in record.cells)
    n_columns = max(prepared.features.shape[1] for prepared in (*plan.outer, plan.final))
    n_sums = max(len(prepared.cells) for prepared in (*plan.outer, plan.final))
    a_voxel = 8 * (2 * rank + (3 * n_sums + 6) * n_columns)
    if hasattr(plan.final.solver, "fit_folds"):
        a_voxel *= 3
    width = int(memory_mb * _MB // (n_threads * a_voxel))
    if width < _LEAST_TILE:
        raise SettingError(
            f"{memory_mb} MB of memory do not hold {_LEAST_TILE} voxels for each of {n_threads} threads, "
            f"{n_threads * _LEAST_TILE * a_voxel / _MB:.0f} MB: allow more memory or fewer threads."
        )
    width = min(width // _LEAST_TILE * _LEAST_TILE, plan.settings.voxel_tile)
    return [
        slice(start, min(start + width, tile.stop))
        for tile in records[0].tiles
        for start in range(tile.start, tile.stop, width)
    ]


def _without_responses(settings: EncodingSettings, columns: Columns) -> EncodingSettings:
    """The settings without a permutation test, after what cannot be had from statistics has been refused."""
    for what, asked in (
        ("the estimator lstm", settings.estimator == "lstm"),
        ("maps of layers, which are tested,", settings.layers),
    ):
        if asked:
            raise SettingError(
                f"A fit from run statistics does not offer {what}: fit the responses themselves."
            )
    for name, known, asked in (
        ("hrf", columns.hrf, settings.hrf),
        ("include_rest", columns.include_rest, settings.include_rest),
        ("standardise volumes", columns.by_volume, settings.standardise == "volumes"),
    ):
        if known != asked:
            raise SettingError(
                f"The statistics were accumulated with {name} {known}, the settings say {asked}: accumulate the "
                "runs again, or keep to it."
            )
    return replace(settings, n_permutations=0)
