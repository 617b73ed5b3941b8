"""Elastic net on centred statistics: the LASSO's coordinate descent with a squared penalty beside it."""

import numpy as np

from cinebold.encoding.solvers.lasso import LassoSolver
from cinebold.encoding.solvers.lasso_path import check_l1_ratio


class ElasticNetSolver(LassoSolver):
    """Elastic net on one training set, with a = alpha * alpha_max and alpha_max = max|X'y| / (n * l1_ratio):

    min over w of |y - Xw|^2 / 2n + a * l1_ratio * |w|_1 + a * (1 - l1_ratio) / 2 * |w|^2.

    Correlated columns share their weight, where the LASSO takes one of them. See `lasso_path.solve_lasso_path`.
    Zou & Hastie (2005), J. R. Stat. Soc. B 67:301-320.

    Parameters
    ----------
    gram : (n_features, n_features) centred X'X of the training rows
    n_samples : number of training rows
    l1_ratio : share of the penalty that is l1, above 0 and at most 1 (1: the LASSO)
    alpha_unit : "relative", or "absolute" for scikit-learn's alphas (alpha_max = 1)
    device : as in `LassoSolver`
    """

    def __init__(
        self,
        gram: np.ndarray,
        n_samples: int,
        l1_ratio: float = 0.5,
        alpha_unit: str = "relative",
        device: str = "cpu",
    ) -> None:
        check_l1_ratio(l1_ratio)
        super().__init__(gram, n_samples, alpha_unit, device)
        self.l1_ratio = float(l1_ratio)
