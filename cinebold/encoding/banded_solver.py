"""Banded ridge as the fit uses it: the choice of gammas and alpha of a tile of voxels from a training set's folds."""

from collections.abc import Mapping, Sequence

import numpy as np

from cinebold.encoding.banded_ridge import BandedRidge, gamma_candidates, solve_banded_ridge
from cinebold.encoding.ridge import RidgeSolver
from cinebold.encoding.statistics import CentredStatistics


class BandedRidgeSolver:
    """Banded ridge on one training set; see `banded_ridge.solve_banded_ridge`."""

    default_alphas = RidgeSolver.default_alphas

    def __init__(
        self,
        gram: np.ndarray,
        n_samples: int,
        columns: Mapping[str, np.ndarray],
        alpha_unit: str = "relative",
        n_candidates: int = 100,
        seed: int = 0,
    ) -> None:
        self.gram, self.columns, self.unit_free = gram, columns, alpha_unit == "relative"
        self.candidates = gamma_candidates(len(columns), n_candidates, seed=seed)

    def fit_folds(
        self,
        whole: CentredStatistics,
        folds: Sequence[tuple[CentredStatistics, CentredStatistics]],
        alphas: Sequence[float],
    ) -> BandedRidge:
        """Gammas, alpha and weights of each target."""
        raise NotImplementedError
