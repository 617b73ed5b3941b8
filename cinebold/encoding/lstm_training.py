"""Networks of a training set: how long to train them, and the read-out of every voxel from their states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.lstm import LSTMNetwork, LSTMSettings, NetworkTraining
from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.encoding.ridge import RidgeSolver
from cinebold.encoding.ridge_path import choose
from cinebold.encoding.rows import Rows
from cinebold.encoding.scores import HeldOutSums, held_out_rsquared
from cinebold.encoding.statistics import accumulate
from cinebold.encoding.training import CellStatistics, PreparedTraining, Trained
from cinebold.errors import InputError

#: Voxels that are read at once for the components of the responses; another number would change roundings.
_TILE = 2048
#: Directions beyond those that are kept, and rounds of the power iteration.
_OVERSAMPLING = 10
_N_ROUNDS = 3


@dataclass(frozen=True)
class TrainedNetworks:
    """A training set with hidden states for columns, and the same of each of its inner folds."""

    network: LSTMNetwork  #: trained on all training rows for `n_epochs`
    states: PreparedTraining  #: its columns are the network's states
    inner: tuple[PreparedTraining, ...]  #: with the states of networks that never saw the fold's test rows
    n_epochs: int
    validation: tuple[float, ...]  #: R2 of the response components after each epoch, the first one untrained
    n_components: int

    def diagnostics(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "n_epochs": self.n_epochs,
            "validation_rsquared": [float(score) for score in self.validation],
            "n_response_components": self.n_components,
        }


def train_networks(
    prepared: PreparedTraining,
    rows: Rows,
    designs: Sequence[RunDesign],
    responses: Sequence[np.ndarray],
    settings: LSTMSettings,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> TrainedNetworks:
    """Choose the number of epochs by the inner folds, then train on the whole training set for so many.

    The networks of all inner folds learn in step. After every epoch the responses of each inner fold's test rows are
    predicted by its network, with a read-out fitted on its training rows; training ends when the R2 pooled over the
    inner folds has not risen for `patience` epochs. The network of the whole training set starts from the
    same weights and learns for the number of epochs that was best. Inner folds are those that choose alphas
    (`folds.inner_folds`), so every training run is the validation run once; that is steadier than one
    fixed run, and the states of the inner networks at their best epoch are those by which each voxel's
    alpha is chosen (`fit_readout`).

    What the network learns from are the leading principal components of the training responses, each voxel scaled
    to unit variance: an error summed over voxels is the same in any orthonormal basis, and only components of
    little variance are left out. The read-out is of all voxels. Inner folds share the components of their training
    set, as they share the reducers of the features.

    Volumes that show a film which is held out count as volumes without a film in the sequences that are trained on.

    Parameters
    ----------
    prepared : with `delays` of (0,); its reducers and folds are used
    responses : one (n_volumes, n_targets) a run; only training rows are read
    """
    fold, centre_runs = prepared.fold, prepared.settings.intercept == "run"
    columns = [undelayed_columns(prepared.reducers, design.features, design.has_film) for design in designs]
    forbidden = rows.films_of(fold.test) if fold.test.any() else np.zeros(len(rows.film_ids), dtype=bool)
    hidden = rows.shows[:, forbidden].any(axis=1)
    in_run = [rows.run == run for run in range(len(designs))]
    trained_columns = [
        np.where(hidden[own, np.newaxis], 0.0, values) for own, values in zip(in_run, columns, strict=True)
    ]
    targets = response_components(
        responses, rows, fold.train, settings.n_components, centre_runs=centre_runs, seed=seed
    )
    runs = [run for run, own in enumerate(in_run) if fold.train[own].any()]

    def start(train: np.ndarray) -> NetworkTraining:
        return NetworkTraining(
            [trained_columns[run] for run in runs],
            [targets[in_run[run]] for run in runs],
            [train[in_run[run]] for run in runs],
            [designs[run].nuisance for run in runs],
            settings,
            seed=seed,
            device=device,
            centre_runs=centre_runs,
        )

    def on_states(states: Sequence[np.ndarray], train_cells: Sequence[int]) -> PreparedTraining:
        stacked = np.zeros((len(rows), states[0].shape[1]))
        for run, own in zip(runs, states, strict=True):
            stacked[in_run[run]] = cleaned(own, designs[run].nuisance)
        return _with_columns(prepared, stacked, rows, train_cells)

    trainings = [start(inner.train) for inner in fold.inner]
    validation: list[float] = []
    best: list[PreparedTraining] = []
    n_epochs = 0
    for epoch in range(settings.max_epochs + 1):
        if epoch:
            for training in trainings:
                training.epoch()
        inner = [
            on_states(training.states(), train_cells)
            for training, (train_cells, _) in zip(trainings, prepared.inner, strict=True)
        ]
        score = _validation_rsquared(prepared, inner, targets)
        if not validation or score > max(validation):
            n_epochs, best = epoch, inner
        validation.append(score)
        if epoch - n_epochs >= settings.patience:
            break

    whole = start(fold.train)
    for _ in range(n_epochs):
        whole.epoch()
    network = whole.network()
    stacked = np.zeros((len(rows), network.n_hidden))
    predicts = fold.predicts | fold.test
    for run, own in enumerate(in_run):
        nuisance = designs[run].nuisance
        if run in runs:
            stacked[own] = cleaned(network.states(trained_columns[run]), nuisance)
        if predicts[own].any():
            mine = predicts[own]
            stacked[np.flatnonzero(own)[mine]] = cleaned(network.states(columns[run]), nuisance)[mine]
    states = _with_columns(prepared, stacked, rows, prepared.train)
    return TrainedNetworks(network, states, tuple(best), n_epochs, tuple(validation), targets.shape[1])


def fit_readout(
    trained: TrainedNetworks,
    responses: np.ndarray,
    alphas: Sequence[float],
    statistics: CellStatistics | None = None,
) -> Trained:
    """Ridge from states to responses, each voxel's alpha chosen by the inner folds' own networks.

    States of rows that a network has learned from are too good, so alphas are chosen where they are not: an inner
    fold's test rows are predicted from the states of a network that never saw them. Otherwise as `training.train`.

    Parameters
    ----------
    responses : (n_rows, n_targets), the rows of all runs
    alphas : rising
    statistics : of the training cells of `trained.states`, where they are known already
    """
    whole = trained.states
    index, best = _choose_alphas(trained.inner, whole, responses, alphas)
    if statistics is None:
        statistics = whole.statistics(responses, whole.train)
    pooled = whole.pooled(statistics, whole.train)
    weights = whole.solver.weights(pooled.cross, pooled.total, np.asarray(alphas, dtype=np.float64)[index])
    return Trained(weights, index, best, pooled)


def undelayed_columns(
    reducers: dict[str, SpaceReducer], features: dict[str, np.ndarray], has_film: np.ndarray | None
) -> np.ndarray:
    """(n_volumes, n_columns) component scores of one run, each space divided by its unit; 0 without a film."""
    return np.concatenate(
        [reducer.scores(features[space], has_film) / reducer.unit for space, reducer in reducers.items()],
        axis=1,
    )


def cleaned(states: np.ndarray, nuisance: np.ndarray | None) -> np.ndarray:
    """States without what was regressed out of the run's responses."""
    return states if nuisance is None else states - nuisance @ (nuisance.T @ states)


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

    def read(part: slice) -> np.ndarray:
        y = [responses[run][own, part].astype(np.float64) for run, own in zip(runs, of_run, strict=True)]
        valid = np.all([np.isfinite(run).all(axis=0) for run in y], axis=0)
        y = [run[:, valid] for run in y]
        stacked = np.concatenate([run - run.mean(axis=0) for run in y] if centre_runs else y)
        stacked -= stacked.mean(axis=0)
        deviation = stacked.std(axis=0)
        magnitude = np.max([np.abs(run).max(axis=0, initial=0) for run in y], axis=0)
        varies = deviation > 1e-6 * magnitude
        return (stacked[:, varies] / deviation[varies]).astype(np.float32)

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


def _validation_rsquared(
    prepared: PreparedTraining, inner: Sequence[PreparedTraining], targets: np.ndarray
) -> float:
    """R2 pooled over inner folds and response components, each component at its best alpha."""
    sums = _inner_sums(inner, prepared, targets, RidgeSolver.default_alphas)
    error = sum(fold.response_squared - 2 * fold.product + fold.prediction_squared for fold in sums)
    total = sum(fold.response_squared for fold in sums)
    return float(1 - error.min(axis=0).sum() / total.sum())


def _choose_alphas(
    inner: Sequence[PreparedTraining],
    prepared: PreparedTraining,
    responses: np.ndarray,
    alphas: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    best, index = choose(held_out_rsquared(_inner_sums(inner, prepared, responses, alphas)))
    return index, best


def _inner_sums(
    inner: Sequence[PreparedTraining],
    prepared: PreparedTraining,
    responses: np.ndarray,
    alphas: Sequence[float],
) -> list[HeldOutSums]:
    """Sums of each inner fold's test rows at all alphas, from the states of its own network."""
    folds = []
    for own, (train_cells, test_cells) in zip(inner, prepared.inner, strict=True):
        statistics = own.statistics(responses, prepared.train)
        train = own.pooled(statistics, train_cells)
        test = own.inner_test(statistics, test_cells)
        product, squared = own.solver.held_out_sums(train.cross, train.total, test.gram, test.cross, alphas)
        folds.append(HeldOutSums(test.n, test.total, product, squared))
    return folds


def _with_columns(
    prepared: PreparedTraining, columns: np.ndarray, rows: Rows, train_cells: Sequence[int]
) -> PreparedTraining:
    """The training set with other columns (n_rows, n_columns), and ridge on the cells that are trained on."""
    own = replace(
        prepared,
        features=columns,
        n_bases=1,
        rotation=None,
        cell_features=[accumulate(columns[cell], np.zeros((len(cell), 0))) for cell in prepared.cells],
        run_means={run: columns[rows.used & (rows.run == run)].mean(axis=0) for run in prepared.run_means},
        inner_solvers=[],
    )
    known = dict(enumerate(own.cell_features))
    pooled = own.pooled(known, train_cells)
    return replace(own, solver=RidgeSolver(pooled.gram, pooled.n))
