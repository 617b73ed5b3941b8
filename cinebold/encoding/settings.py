"""What an encoding model is fitted with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodingSettings:
    """How weights are found, chosen and tested. All defaults can be overridden by a recipe or an option.

    Alphas are unit-free: for ridge the penalty is alpha * trace(G) / p, with G the centred Gram matrix of the training
    rows and p its size; for LASSO it is alpha * max|c_v| / n, the least penalty that silences the voxel v.
    """

    estimator: str = "ridge"  #: "ridge" or "lasso"
    alphas: tuple[float, ...] | None = None  #: None: the estimator's own grid
    pca: float | None = 0.95  #: below 1 a share of variance, else a number of components; None: no PCA
    standardise: bool = True  #: features to unit variance on the training rows before the PCA
    n_permutations: int = 1000  #: circular shifts of the held-out predictions; 0: no test
    minimum_shift_s: float = 20.0  #: the least circular shift
    q: float = 0.05  #: false discovery rate for which maps are reported
    seed: int = 0
    voxel_tile: int = 4096  #: how many voxels are in memory at once; changes no result
