"""LASSO on centred statistics: all voxels share one Gram matrix, each has its own alpha."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from cinebold.encoding.solvers.lasso_choice import SELECTION_TOLERANCE, choose_lasso_alphas
from cinebold.encoding.solvers.lasso_path import (
    MAX_ITERATIONS,
    LassoPaths,
    alpha_max_of,
    penalties_of,
    solve_lasso_path,
)
from cinebold.encoding.statistics import CentredStatistics
from cinebold.errors import SettingError


class LassoSolver:
    """LASSO on one training set: min over w of |y - Xw|^2 / 2n + alpha * alpha_max * |w|_1, alpha_max =
    max|X'y| / n.

    See `solve_lasso_path`. Alphas are shares of each voxel's own alpha_max ("relative"), or scikit-learn's
    ("absolute": alpha_max = 1).

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X of the training rows
    n_samples : number of training rows
    alpha_unit : "relative" or "absolute"
    device : "cpu", or "cuda[:N]" for the solvers of `gpu.lasso`
    """

    default_alphas = tuple(float(alpha) for alpha in np.logspace(-2.5, 0, 16))
    #: Share of the penalty that is l1.
    l1_ratio = 1.0

    def __init__(
        self, gram: np.ndarray, n_samples: int, alpha_unit: str = "relative", device: str = "cpu"
    ) -> None:
        if alpha_unit not in ("relative", "absolute"):
            raise SettingError(f"alpha_unit must be relative or absolute, got {alpha_unit!r}.")
        self.gram, self.n_samples, self.alpha_unit = gram, n_samples, alpha_unit
        self._solve_path, self._choose_alphas = solve_lasso_path, choose_lasso_alphas
        if device != "cpu":
            from cinebold.encoding.gpu import lasso as on_device

            self._solve_path = partial(on_device.solve_lasso_path, device=device)
            self._choose_alphas = partial(on_device.choose_lasso_alphas, device=device)

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_features, n_targets) at each target's own alpha (n_targets,)."""
        grid = np.asarray(alphas, dtype=np.float64)[:, np.newaxis]
        path, _ = self._solve_path(
            self.gram,
            cross,
            total,
            self.n_samples,
            grid,
            l1_ratio=self.l1_ratio,
            alpha_max=self._alpha_max(cross, self.n_samples),
        )
        return path[:, 0].T

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2 over centred test rows, each (n_alphas, n_targets).

        They are summed along the path: neither predictions nor the weights at all alphas are ever in memory.
        """
        falling = np.argsort(alphas)[::-1]
        penalties = penalties_of(np.asarray(alphas)[falling], self._alpha_max(cross, self.n_samples))
        paths = LassoPaths(penalties, self.l1_ratio, SELECTION_TOLERANCE)
        paths.follow(
            np.float64,
            [(self.gram, cross, total, self.n_samples)],
            held_out=[(test_gram, test_cross)],
            max_iterations=MAX_ITERATIONS,
        )
        paths.warn_of_open_gaps(MAX_ITERATIONS)
        rising = np.argsort(falling)
        product, squared = np.nan_to_num(paths.along.T[rising]), np.nan_to_num(paths.length.T[rising])
        return product, np.maximum(squared, 0)

    def choose_alphas(
        self,
        training: Sequence[CentredStatistics],
        held_out: Sequence[CentredStatistics],
        alphas_rising: Sequence[float],
        whole: CentredStatistics,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each target's alpha over inner folds, see `choose_lasso_alphas`.

        Parameters
        ----------
        training, held_out : statistics of each inner fold
        whole : of the whole training set; "relative" alphas are shares of its alpha_max in every fold

        Returns
        -------
        index into `alphas_rising`, inner R2 pooled over the folds at that alpha (0 where it is not defined), both
        (n_targets,)
        """
        index, errors = self._choose_alphas(
            training,
            held_out,
            alphas_rising,
            self._alpha_max(whole.cross, whole.n),
            l1_ratio=self.l1_ratio,
        )
        total = np.sum([fold.total for fold in held_out], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            rsquared = -errors[index, np.arange(len(index))] / total
        return index, np.nan_to_num(rsquared, nan=0.0, posinf=0.0, neginf=0.0)

    def degrees_of_freedom(self, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """The number of weights that are not zero (n_targets,), an upper bound with a squared penalty.

        Zou, Hastie & Tibshirani (2007), Ann. Stat. 35, 2173-2192.
        """
        return np.count_nonzero(weights, axis=0).astype(np.float64)

    def diagnostics(self) -> dict[str, float]:
        """Condition number and rank of the Gram matrix."""
        values = np.linalg.eigvalsh(self.gram)
        usable = values[values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0)]
        return {"condition_number": float(usable[-1] / usable[0]), "rank": len(usable)}

    def _alpha_max(self, cross: np.ndarray, n_samples: int) -> np.ndarray:
        if self.alpha_unit == "absolute":
            return np.ones(cross.shape[1])
        return alpha_max_of(cross, n_samples, self.l1_ratio)
