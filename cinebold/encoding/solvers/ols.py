"""Ordinary least squares on centred statistics."""

import numpy as np

from cinebold.encoding.solvers.ridge import RidgeSolver


class OLSSolver(RidgeSolver):
    """Least squares on one training set: w = G^+ c, the solution of least norm where G is singular.

    There is no penalty to choose: the only alpha is 0, and every voxel's alpha map says so.

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X of the training rows
    n_samples : number of training rows (not used)
    """

    default_alphas = (0.0,)

    def _shrinkage(self, alphas: np.ndarray) -> np.ndarray:
        """1 / L whatever the alpha, (n_alphas, n_features), zero in the dropped directions."""
        return super()._shrinkage(np.zeros(len(alphas)))
