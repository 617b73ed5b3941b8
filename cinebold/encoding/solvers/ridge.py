"""Ridge regression on centred statistics, one alpha a voxel."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_N_BLOCKS = 4


class RidgeSolver:
    """Ridge on one training set: w = (G + alpha * trace(G) / p * I)^-1 c, from the eigenvectors of G.

    Directions with an eigenvalue below p * eps * the largest are dropped, so that alpha = 0 is the
    least-squares solution of least norm.

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X of the training rows
    n_samples : number of training rows (not used: the penalty is relative to G)
    alpha_unit : "relative", or "absolute" for scikit-learn's (the penalty is alpha)
    n_columns : p, where it is not the size of G because columns were rotated to fewer; None: the size of G
    """

    #: Unit-free: from next to least squares to next to nothing.
    default_alphas = tuple(float(alpha) for alpha in np.logspace(-3, 5, 17))

    def __init__(
        self, gram: np.ndarray, n_samples: int, alpha_unit: str = "relative", n_columns: int | None = None
    ) -> None:
        values, vectors = np.linalg.eigh(gram)
        self.vectors = vectors
        self.values = np.maximum(values, 0)
        self._usable = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
        relative = float(np.trace(gram)) / (n_columns or len(gram))
        self.penalty_unit = relative if alpha_unit == "relative" else 1.0

    def weights(self, cross: np.ndarray, total: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Weights (n_features, n_targets) at each target's own alpha (n_targets,)."""
        rotated = self.vectors.T @ cross  # (n_features, n_targets)
        return self.vectors @ (rotated * self._shrinkage(alphas).T)

    def held_out_sums(
        self,
        cross: np.ndarray,
        total: np.ndarray,
        test_gram: np.ndarray,
        test_cross: np.ndarray,
        alphas: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of y * prediction and of prediction^2 over centred test rows, without predictions.

        With c and e the training and test X'Y, H the test X'X, all in the eigenbasis of G, and d = 1 / (L +
        alpha): y'yhat = d'(c * e) and yhat'yhat = c' (d d' * H) c.

        Returns
        -------
        two arrays of shape (n_alphas, n_targets)
        """
        c = self.vectors.T @ cross  # (n_features, n_targets)
        e = self.vectors.T @ test_cross
        rotated_gram = self.vectors.T @ test_gram @ self.vectors
        shrinkage = self._shrinkage(np.asarray(alphas))  # (n_alphas, n_features)
        y_prediction = shrinkage @ (c * e)
        prediction_squared = np.empty_like(y_prediction)
        # A quadratic form needs only the upper triangle, off-diagonal terms twice; done by blocks of rows.
        upper = 2 * np.triu(rotated_gram) - np.diag(np.diag(rotated_gram))
        bounds = np.linspace(0, len(c), _N_BLOCKS + 1).astype(int)
        for index, d in enumerate(shrinkage):
            matrix = d[:, np.newaxis] * upper * d
            prediction_squared[index] = 0
            for first, last in pairwise(bounds):
                part = matrix[first:last, first:] @ c[first:]
                part *= c[first:last]
                prediction_squared[index] += part.sum(axis=0)
        return y_prediction, np.maximum(prediction_squared, 0)

    def degrees_of_freedom(self, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """The trace of the hat matrix, sum of L / (L + penalty), at each target's alpha (n_targets,).

        Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 3.4.
        """
        grid, index = np.unique(alphas, return_inverse=True)
        return (self._shrinkage(grid) @ self.values)[index]

    def _shrinkage(self, alphas: np.ndarray) -> np.ndarray:
        """1 / (L + penalty), (n_alphas, n_features), zero in the dropped directions."""
        penalties = np.asarray(alphas, dtype=np.float64)[:, np.newaxis] * self.penalty_unit
        return np.where(self._usable, 1.0 / np.where(self._usable, self.values + penalties, 1.0), 0.0)

    def diagnostics(self) -> dict[str, float]:
        """Condition number and effective rank of the Gram matrix."""
        usable = self.values[self._usable]
        return {"condition_number": float(usable[-1] / usable[0]), "rank": len(usable)}
