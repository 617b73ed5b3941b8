"""What an encoding model is fitted with."""

import math
from dataclasses import dataclass

from cinebold.errors import SettingError


@dataclass(frozen=True)
class EncodingSettings:
    """How weights are found, chosen and tested. All defaults can be overridden by a recipe or an option.

    Alphas are unit-free: for ridge the penalty is alpha * trace(G) / p, with G the centred Gram matrix of the
    training rows and p its size; for LASSO it is alpha * max|c_v| / n, the least penalty that silences the
    voxel v; for the elastic net it is that over l1_ratio; OLS has no penalty and its only alpha is 0.
    """

    estimator: str = "ridge"  #: a name in `estimators.ESTIMATORS`: "ridge", "lasso", "elastic_net" or "ols"
    alphas: tuple[float, ...] | None = None  #: None: the estimator's own grid
    pca: float | None = 0.95  #: below 1 a share of variance, else a number of components; None: no PCA
    standardise: bool = True  #: features to unit variance on the training rows before the PCA
    n_permutations: int = 1000  #: circular shifts of the held-out predictions; 0: no test
    minimum_shift_s: float = 20.0  #: at least one run is shifted by this much in each permutation
    q: float = 0.05  #: false discovery rate for which maps are reported
    seed: int = 0
    voxel_tile: int = 4096  #: how many voxels are in memory at once; changes no result
    include_rest: bool = False  #: also train and score on volumes that no film touches, delays included
    l1_ratio: float = (
        0.5  #: of the elastic net: share of the penalty that is l1, above 0 and at most 1 (LASSO)
    )

    def __post_init__(self) -> None:
        if self.alphas is not None and (
            not self.alphas or not all(math.isfinite(alpha) and alpha >= 0 for alpha in self.alphas)
        ):
            raise SettingError(f"alphas must be finite and not negative, got {self.alphas}.")
        if self.pca is not None and not (0 < self.pca < 1 or (self.pca >= 1 and self.pca == int(self.pca))):
            raise SettingError(
                f"pca must be a share of variance below 1 or a whole number of components, got {self.pca}."
            )
        for name, least in (("n_permutations", 0), ("voxel_tile", 1), ("minimum_shift_s", 0)):
            if not getattr(self, name) >= least:
                raise SettingError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if not 0 < self.l1_ratio <= 1:
            raise SettingError(f"l1_ratio must be above 0 and at most 1, got {self.l1_ratio}.")
        if self.estimator == "ols" and self.alphas is not None and any(self.alphas):
            raise SettingError(f"ols has no penalty: leave alphas out, got {self.alphas}.")
        if not 0 < self.q < 1:
            raise SettingError(f"q must be between 0 and 1, got {self.q}.")
