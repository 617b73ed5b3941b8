"""The cells of a run's rows that folds never part, and an orthonormal basis of all that a model can see in each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.design.delays import delayed, delays_in_volumes
from cinebold.design.hrf import convolved, hrf_kernel
from cinebold.design.run_design import RunDesign
from cinebold.encoding.folds import Fold, TrainingSet, outer_folds, whole_set
from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.encoding.rows import Rows, stack_rows
from cinebold.encoding.settings import EncodingSettings

#: A feature whose values differ by less than this share of them is constant.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Columns:
    """How the columns of a model come from features, as far as it is the same for every training set."""

    delays: tuple[int, ...]  #: volumes; (0,) where features are convolved
    hrf: str  #: "none", or the response that features are convolved with
    by_volume: bool  #: each volume's features are z-scored across the features
    include_rest: bool

    @classmethod
    def of(cls, settings: EncodingSettings, delays_s: Sequence[float], tr_s: float) -> "Columns":
        """What the settings say of columns."""
        delays = delays_in_volumes(delays_s, tr_s) if settings.hrf == "none" else (0,)
        return cls(delays, settings.hrf, settings.standardise == "volumes", settings.include_rest)

    def reach(self, tr_s: float) -> Sequence[int]:
        """The volumes back from which a film touches a row."""
        return self.delays if self.hrf == "none" else range(len(hrf_kernel(self.hrf, tr_s)))


@dataclass(frozen=True)
class CellBasis:
    """Some rows of a run: X = basis @ coefficients for the columns X of any training set."""

    rows: np.ndarray  #: (n_rows,) volumes of the run, rising
    basis: np.ndarray | None  #: (n_rows, rank) orthonormal; None: the rows themselves

    @property
    def rank(self) -> int:
        """How many numbers a voxel's responses over the cell come down to."""
        return len(self.rows) if self.basis is None else self.basis.shape[1]

    def coordinates(self, values: np.ndarray) -> np.ndarray:
        """(rank, n) of the cell's rows (n_rows, n)."""
        return values if self.basis is None else self.basis.T @ values


def stacked_rows_and_folds(
    designs: Sequence[RunDesign], columns: Columns, settings: EncodingSettings
) -> tuple[Rows, list[TrainingSet], TrainingSet]:
    """The rows of all runs, the outer folds, and the final model's training set, as `fit_encoding_model` has them."""
    reach = columns.reach(designs[0].tr_s)
    rows = stack_rows(designs, reach, columns.include_rest)
    folds = outer_folds(rows, max(reach), settings.cross_validation)
    return rows, folds, whole_set(rows, max(reach), settings.cross_validation)


def run_cells(rows: Rows, run: int, sets: Iterable[TrainingSet]) -> list[np.ndarray]:
    """Part a run's used rows into cells from which every fold can be put together.

    Rows stay together that are near the same films of those that other runs show too (what holding out whole
    runs, in whatever groups, can ask for) and that are on the same side of each of the folds given, inner folds
    too.

    Returns
    -------
    indices into `rows` of each cell, rising, cells in the order of their first row
    """
    own = np.flatnonzero(rows.used & (rows.run == run))
    runs_near = np.stack([rows.near[rows.run == other].any(axis=0) for other in range(len(rows.labels))])
    masks = [rows.near[own][:, runs_near.sum(axis=0) > 1]]
    folds: list[Fold] = [fold for training in sets for fold in (training, *training.inner)]
    masks += [np.stack([fold.train[own], fold.test[own]], axis=1) for fold in folds]
    _, kinds = np.unique(np.concatenate(masks, axis=1), axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    return sorted((own[kinds == kind] for kind in np.unique(kinds)), key=lambda cell: int(cell[0]))


def cell_bases(design: RunDesign, columns: Columns, cells: Sequence[np.ndarray]) -> list[CellBasis]:
    """A basis of each cell (volumes of the run) in which any training set's columns have coordinates.

    Scaled and centred features, component scores, delays and the projection that removes `design.nuisance`
    are all linear in the features where there is film and in "there is film", n_delays * (n_features + 1)
    columns in all, whatever the training set. With X = QR over the rows of a cell, X'Y = R'(Q'Y): Q'Y
    (rank, n_targets) holds all of it, exactly, and never takes more than the responses themselves. Where a cell
    has no more rows than these columns, its rows are their own basis.
    """
    raw = _raw_columns(design, columns)
    bases = []
    for rows in cells:
        own = raw[rows]
        if own.shape[1] >= len(rows):
            bases.append(CellBasis(rows, None))
            continue
        length = np.linalg.norm(own, axis=0)
        own = own[:, length > 0] / length[length > 0]
        vectors, values, _ = np.linalg.svd(own, full_matrices=False)
        kept = values > len(rows) * np.finfo(np.float64).eps * max(values, default=0.0)
        bases.append(CellBasis(rows, np.ascontiguousarray(vectors[:, kept])))
    return bases


def _raw_columns(design: RunDesign, columns: Columns) -> np.ndarray:
    """(n_volumes, n_columns): features about their means in the run, and where there is film, delayed and projected."""
    found = []
    for values in design.features.values():
        mean = np.zeros(values.shape[1])
        if not columns.by_volume and design.has_film.any():
            mean = values[design.has_film].mean(axis=0)
        plain = SpaceReducer(mean, np.ones(len(mean)), None, np.zeros(0), 1.0, columns.by_volume)
        own = plain.scores(values, design.has_film)
        largest = np.abs(values[design.has_film]).max(axis=0, initial=0)
        own[:, np.abs(own).max(axis=0, initial=0) <= _CONSTANT * largest] = 0
        found.append(own)
    raw = np.concatenate([*found, design.has_film[:, np.newaxis].astype(np.float64)], axis=1)
    if columns.hrf == "none":
        raw = delayed(raw, columns.delays)
    else:
        raw = convolved(raw, hrf_kernel(columns.hrf, design.tr_s))
    if design.nuisance is None:
        return raw
    return raw - design.nuisance @ (design.nuisance.T @ raw)
