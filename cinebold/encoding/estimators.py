"""The estimators by name. A new one is one file and one line here."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from cinebold.encoding.lasso import LassoSolver
from cinebold.encoding.ridge import RidgeSolver
from cinebold.errors import SettingError


class Solver(Protocol):
    """An estimator on one training set's statistics."""

    default_alphas: tuple[float, ...]

    def __init__(self, gram: np.ndarray, n_samples: int) -> None: ...

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_features, n_targets) at each target's own alpha."""

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2, (n_alphas, n_targets), over centred test rows."""

    def diagnostics(self) -> dict[str, float]:
        """What there is to say about the training set."""


ESTIMATORS: dict[str, type[Solver]] = {"ridge": RidgeSolver, "lasso": LassoSolver}


def estimator(name: str) -> type[Solver]:
    """The solver class of an estimator."""
    if name not in ESTIMATORS:
        raise SettingError(f"Unknown estimator {name!r}: choose one of {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]
