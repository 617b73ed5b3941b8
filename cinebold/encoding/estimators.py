"""The estimators by name. A new one is one file and one line here."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from cinebold.encoding.elastic_net import ElasticNetSolver
from cinebold.encoding.lasso import LassoSolver
from cinebold.encoding.ols import OLSSolver
from cinebold.encoding.ridge import RidgeSolver
from cinebold.encoding.settings import EncodingSettings
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


ESTIMATORS: dict[str, type[Solver]] = {
    "ridge": RidgeSolver,
    "lasso": LassoSolver,
    "elastic_net": ElasticNetSolver,
    "ols": OLSSolver,
}
#: The settings that an estimator takes besides the alphas.
_OWN_SETTINGS: dict[str, tuple[str, ...]] = {"elastic_net": ("l1_ratio",)}


def estimator(name: str) -> type[Solver]:
    """The solver class of an estimator."""
    if name not in ESTIMATORS:
        raise SettingError(f"Unknown estimator {name!r}: choose one of {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]


def solver_factory(settings: EncodingSettings) -> Callable[[np.ndarray, int], Solver]:
    """The solver of (gram, n_samples) that the settings ask for, its own settings filled in."""
    names = _OWN_SETTINGS.get(settings.estimator, ())
    return partial(estimator(settings.estimator), **{name: getattr(settings, name) for name in names})
