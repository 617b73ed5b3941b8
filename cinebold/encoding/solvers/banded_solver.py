"""Banded ridge as the fit uses it: what a training set's folds know before they see a voxel, shared by all tiles."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.solvers.banded_ridge import (
    BandedRidge,
    PreparedBands,
    choose_and_fit_banded,
    gamma_candidates,
)
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.encoding.statistics import CentredStatistics


class BandedRidgeSolver:
    """Banded ridge on one training set and its inner folds; see `banded_ridge.choose_and_fit_banded`.

    Parameters
    ----------
    gram : (n_columns, n_columns) centred X'X of all training rows
    folds : centred X'X of the training rows and of the test rows of each inner fold
    columns : which columns are each feature space's
    device : where candidates are searched, "cpu" or "cuda[:N]"; the best is refined on the CPU
    """

    default_alphas = RidgeSolver.default_alphas

    def __init__(
        self,
        gram: np.ndarray,
        folds: Sequence[tuple[np.ndarray, np.ndarray]],
        columns: Mapping[str, np.ndarray],
        settings: EncodingSettings,
        device: str = "cpu",
    ) -> None:
        alphas = sorted(self.default_alphas if settings.alphas is None else settings.alphas)
        candidates = gamma_candidates(len(columns), settings.n_candidates, seed=settings.seed)
        unit_free = settings.alpha_unit == "relative"
        self._gram = gram
        self._search = None
        if device != "cpu":
            from cinebold.encoding.gpu.banded_ridge import search

            self._search = partial(search, device=device)
        self._bands = PreparedBands(gram, folds, columns, alphas, candidates, unit_free=unit_free)

    def fit_folds(
        self, whole: CentredStatistics, folds: Sequence[tuple[CentredStatistics, CentredStatistics]]
    ) -> BandedRidge:
        """Gammas, alpha and weights of each target."""
        return choose_and_fit_banded(whole, folds, self._bands, search=self._search)

    def degrees_of_freedom(self, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """NaN: every voxel has a penalty matrix of its own, and its trace would cost a decomposition each."""
        return np.full(weights.shape[1], np.nan)

    def diagnostics(self) -> dict[str, float]:
        """Condition number and effective rank of the Gram matrix."""
        return RidgeSolver(self._gram, 0).diagnostics()
