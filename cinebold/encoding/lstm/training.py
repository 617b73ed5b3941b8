"""Networks of a training set: how long to train them, and their states as columns for ridge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.lstm.network import LSTMNetwork, LSTMSettings, NetworkTraining
from cinebold.encoding.lstm.response_components import response_components
from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.encoding.rows import Rows
from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.statistics import accumulate
from cinebold.encoding.training_sets import PreparedTraining

#: States have few strong directions and many weak ones that still say something: the grid begins below that of ridge.
READOUT_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-6, 4, 21))


@dataclass(frozen=True)
class TrainedNetworks:
    """A training set whose columns are hidden states, ready for `training.train` on tiles of voxels.

    The first `network.n_hidden` columns are the states of the network that was trained on all training rows; then
    come those of each inner fold's network, which never saw the fold's test rows. States of rows that a network has
    learned from are too good to choose alphas by, so the solver of an inner fold looks at its own network's alone;
    the solver of the whole set at the first (`BlockRidge`).
    """

    network: LSTMNetwork
    states: PreparedTraining
    n_epochs: int
    validation: tuple[float, ...]  #: R2 of the response components after each epoch, the first one untrained
    n_components: int

    def diagnostics(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "n_epochs": self.n_epochs,
            "validation_rsquared": [float(score) for score in self.validation],
            "n_response_components": self.n_components,
            "n_inputs": self.network.n_columns,
            "n_columns": self.network.n_hidden,
        }


class BlockRidge:
    """Ridge on some consecutive columns; weights of the others are 0.

    Parameters
    ----------
    gram : (n_columns, n_columns) centred X'X of the training rows, of all columns
    """

    default_alphas = READOUT_ALPHAS

    def __init__(self, gram: np.ndarray, n_samples: int, block: slice) -> None:
        self._ridge = RidgeSolver(np.ascontiguousarray(gram[block, block]), n_samples)
        self._block = block

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_columns, n_targets) at each target's own alpha (n_targets,)."""
        weights = np.zeros_like(cross)
        weights[self._block] = self._ridge.weights(cross[self._block], total, alphas)
        return weights

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2, (n_alphas, n_targets), over centred test rows."""
        block = self._block
        return self._ridge.held_out_sums(
            cross[block], total, test_gram[block, block], test_cross[block], alphas
        )

    def degrees_of_freedom(self, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Of weights found at each target's alpha (n_targets,), given the states."""
        return self._ridge.degrees_of_freedom(weights[self._block], alphas)

    def diagnostics(self) -> dict[str, float]:
        """Condition number and effective rank of the states' Gram matrix."""
        return self._ridge.diagnostics()


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
    (`folds.inner_folds`), so every training run is the validation run once, which is steadier than one fixed
    run; where there are more than `max_inner_folds`, so many of them are drawn from the seed. The states of
    the inner networks at their best epoch are those by which each voxel's alpha is chosen.

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
    prepared = _fewer_inner_folds(prepared, settings.max_inner_folds, seed)
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

    def stacked(states: Sequence[np.ndarray]) -> np.ndarray:
        everywhere = np.zeros((len(rows), states[0].shape[1]))
        for run, own in zip(runs, states, strict=True):
            everywhere[in_run[run]] = cleaned(own, designs[run].nuisance)
        return everywhere

    trainings = [start(inner.train) for inner in fold.inner]
    validation: list[float] = []
    best: list[np.ndarray] = []
    n_epochs = 0
    for epoch in range(settings.max_epochs + 1):
        if epoch:
            for training in trainings:
                training.epoch()
        inner = [stacked(training.states()) for training in trainings]
        score = _validation_rsquared(prepared, rows, inner, targets)
        if not validation or score > max(validation):
            n_epochs, best = epoch, inner
        validation.append(score)
        if epoch - n_epochs >= settings.patience:
            break

    whole = start(fold.train)
    for _ in range(n_epochs):
        whole.epoch()
    network = whole.network()
    states = stacked([network.states(trained_columns[run]) for run in runs])
    predicts = fold.predicts | fold.test
    for run, own in enumerate(in_run):
        mine = own & predicts
        if mine.any():
            states[mine] = cleaned(network.states(columns[run]), designs[run].nuisance)[predicts[own]]
    return TrainedNetworks(
        network=network,
        states=_on_states(prepared, rows, [states, *best]),
        n_epochs=n_epochs,
        validation=tuple(validation),
        n_components=targets.shape[1],
    )


def undelayed_columns(
    reducers: Mapping[str, SpaceReducer], features: Mapping[str, np.ndarray], has_film: np.ndarray | None
) -> np.ndarray:
    """(n_volumes, n_columns) component scores of one run, each space divided by its unit; 0 without a film."""
    return np.concatenate(
        [reducer.scores(features[space], has_film) / reducer.unit for space, reducer in reducers.items()],
        axis=1,
    )


def cleaned(states: np.ndarray, nuisance: np.ndarray | None) -> np.ndarray:
    """States without what was regressed out of the run's responses."""
    return states if nuisance is None else states - nuisance @ (nuisance.T @ states)


def _validation_rsquared(
    prepared: PreparedTraining, rows: Rows, inner: Sequence[np.ndarray], targets: np.ndarray
) -> float:
    """R2 pooled over inner folds and response components, each component at its best alpha.

    Parameters
    ----------
    inner : (n_rows, n_hidden) states of each inner fold's network
    """
    error: np.ndarray | float = 0.0
    total = 0.0
    for states, (train_cells, test_cells) in zip(inner, prepared.inner, strict=True):
        own = _with_columns(prepared, rows, states)
        statistics = own.statistics(targets, prepared.train)
        train, test = own.pooled(statistics, train_cells), own.inner_test(statistics, test_cells)
        solver = RidgeSolver(train.gram, train.n)
        product, squared = solver.held_out_sums(
            train.cross, train.total, test.gram, test.cross, READOUT_ALPHAS
        )
        fold = HeldOutSums(test.n, test.total, product, squared)
        error = error + fold.response_squared - 2 * fold.product + fold.prediction_squared
        total += float(fold.response_squared.sum())
    return float(1 - np.min(error, axis=0).sum() / total)


def _on_states(prepared: PreparedTraining, rows: Rows, states: Sequence[np.ndarray]) -> PreparedTraining:
    """States of the whole set's network and of each inner fold's, side by side, each for its own solver."""
    wide = _with_columns(prepared, rows, np.concatenate(states, axis=1))
    known = dict(enumerate(wide.cell_features))
    width = states[0].shape[1]
    solvers = []
    for index, cells in enumerate((prepared.train, *(train for train, _ in prepared.inner))):
        pooled = wide.pooled(known, cells)
        solvers.append(BlockRidge(pooled.gram, pooled.n, slice(index * width, (index + 1) * width)))
    return replace(wide, solver=solvers[0], inner_solvers=solvers[1:])


def _with_columns(prepared: PreparedTraining, rows: Rows, columns: np.ndarray) -> PreparedTraining:
    """The training set with other columns (n_rows, n_columns); its solvers are still of the old ones."""
    return replace(
        prepared,
        features=columns,
        n_bases=1,
        rotation=None,
        cell_features=[accumulate(columns[cell], np.zeros((len(cell), 0))) for cell in prepared.cells],
        run_means={run: columns[rows.used & (rows.run == run)].mean(axis=0) for run in prepared.run_means},
    )


def _fewer_inner_folds(prepared: PreparedTraining, at_most: int, seed: int) -> PreparedTraining:
    n_folds = len(prepared.inner)
    if n_folds <= at_most:
        return prepared
    chosen = np.sort(np.random.default_rng(seed).choice(n_folds, at_most, replace=False))
    fold = replace(prepared.fold, inner=tuple(prepared.fold.inner[index] for index in chosen))
    return replace(prepared, fold=fold, inner=[prepared.inner[index] for index in chosen])
