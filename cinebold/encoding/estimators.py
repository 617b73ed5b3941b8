"""The estimators by name. A new one is one file and one line here."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.solvers.banded_solver import BandedRidgeSolver
from cinebold.encoding.solvers.elastic_net import ElasticNetSolver
from cinebold.encoding.solvers.lasso import LassoSolver
from cinebold.encoding.solvers.ols import OLSSolver
from cinebold.encoding.solvers.ridge import RidgeSolver
from cinebold.errors import SettingError


class Solver(Protocol):
    """An estimator on one training set's statistics.

    A solver may have `choose_alphas(training, held_out, alphas, whole)`, which gives the index of each target's
    alpha and its inner R2, where it knows a shorter way than all alphas in all folds. Where more than alpha is chosen
    it has `fit_folds` alone (`BandedRidgeSolver`).
    """

    default_alphas: tuple[float, ...]

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

    def degrees_of_freedom(self, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Effective degrees of freedom (n_targets,) of weights found at each target's alpha."""

    def diagnostics(self) -> dict[str, float]:
        """What there is to say about the training set."""


ESTIMATORS: dict[str, type[Any]] = {
    "ridge": RidgeSolver,
    "banded_ridge": BandedRidgeSolver,
    "lasso": LassoSolver,
    "elastic_net": ElasticNetSolver,
    "ols": OLSSolver,
}
#: Those whose weights lie in the span of the training rows and whose penalty is the same in every direction.
ROTATABLE = ("ridge", "ols")
#: The settings that an estimator takes besides the statistics.
_OWN_SETTINGS: dict[str, tuple[str, ...]] = {
    "ridge": ("alpha_unit",),
    "lasso": ("alpha_unit",),
    "elastic_net": ("alpha_unit", "l1_ratio"),
}


def estimator(name: str) -> type[Any]:
    """The solver class of an estimator."""
    if name not in ESTIMATORS:
        raise SettingError(f"Unknown estimator {name!r}: choose one of {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]


def solver_factory(
    settings: EncodingSettings, n_columns: int | None = None, device: str = "cpu"
) -> Callable[[np.ndarray, int], Solver]:
    """The solver of (gram, n_samples) that the settings ask for, its own settings filled in.

    Parameters
    ----------
    n_columns : before a rotation, where the Gram matrix is of rotated columns
    device : "cpu" or "cuda[:N]"
    """
    own: dict[str, Any] = {
        name: getattr(settings, name) for name in _OWN_SETTINGS.get(settings.estimator, ())
    }
    if settings.estimator == "ridge":
        own["n_columns"] = n_columns
    if device != "cpu":
        own["device"] = device
        if settings.estimator in ROTATABLE:
            from cinebold.encoding.gpu.solvers import DeviceOLSSolver, DeviceRidgeSolver

            return partial({"ridge": DeviceRidgeSolver, "ols": DeviceOLSSolver}[settings.estimator], **own)
    return partial(estimator(settings.estimator), **own)
