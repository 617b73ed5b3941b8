"""What an encoding model is fitted with."""

import math
from dataclasses import dataclass

from cinebold.errors import SettingError

#: How rows are held out (`folds.outer_folds`).
CV_SCHEMES = ("leave-one-run-out", "k-fold", "split", "leave-one-stimulus-out")
#: How the null distribution of the held-out r is made.
PERMUTATION_SCHEMES = ("circular-shift", "block")


@dataclass(frozen=True)
class CrossValidation:
    """Which rows are held out together. No film ever stands on both sides, whatever the scheme.

    "leave-one-run-out" holds out every run in turn; "k-fold" parts the runs into `n_folds` groups; "split" holds
    out the runs that `test` names and never scores the others; "leave-one-stimulus-out" holds out every film in
    turn wherever it was shown, or `n_folds` groups of films where there are more films than that.
    """

    scheme: str = "leave-one-run-out"
    n_folds: int = 5  #: of "k-fold", and the most folds of "leave-one-stimulus-out"
    test: tuple[str, ...] = ()  #: of "split": labels of runs ("task-test_run-1") or of tasks ("task-test")
    shared_films: str = (
        "exclude"  #: a film on both sides: "exclude" its rows from training, or "refuse" to fit
    )

    def __post_init__(self) -> None:
        if self.scheme not in CV_SCHEMES:
            raise SettingError(
                f"Unknown cross-validation {self.scheme!r}: choose one of {', '.join(CV_SCHEMES)}."
            )
        if self.n_folds < 2:
            raise SettingError(f"Cross-validation needs at least two folds, got {self.n_folds}.")
        if self.shared_films not in ("exclude", "refuse"):
            raise SettingError(f"shared_films must be exclude or refuse, got {self.shared_films!r}.")
        if (self.scheme == "split") != bool(self.test):
            raise SettingError(
                "The runs or tasks to test on belong to the cross-validation split, and it needs them."
            )

    def tests(self, label: str) -> bool:
        """Whether a split holds out the run of this label.

        >>> CrossValidation("split", test=("test",)).tests("ses-01_task-test_run-2")
        True
        """
        return any(is_named(label, name) for name in self.test)


def is_named(label: str, name: str) -> bool:
    """Whether `name` means a run: by its label, an entity of it, or its task.

    >>> [is_named("task-a_run-2", name) for name in ("task-a_run-2", "run-2", "a", "2")]
    [True, True, True, False]
    """
    return name == label or bool({name, f"task-{name}"} & set(label.split("_")))


@dataclass(frozen=True)
class EncodingSettings:
    """How weights are found, chosen and tested. All defaults can be overridden by a recipe or an option.

    Alphas are unit-free ("relative"): for ridge the penalty is alpha * trace(G) / p, with G the centred Gram matrix
    of the training rows and p its size; for LASSO it is alpha * max|c_v| / n, the least penalty that silences the
    voxel v; for the elastic net it is that over l1_ratio; OLS has no penalty and its only alpha is 0. "absolute"
    alphas are those of scikit-learn's Ridge, Lasso and ElasticNet.
    """

    estimator: str = "ridge"  #: a name in `estimators.ESTIMATORS`
    alphas: tuple[float, ...] | None = None  #: None: the estimator's own grid
    alpha_unit: str = "relative"  #: or "absolute"
    pca: float | None = 0.95  #: below 1 a share of variance, else a number of components; None: no PCA
    #: "features": to unit variance on the training rows before the PCA; "volumes": each volume's features to mean 0
    #: and variance 1 across features, as the 2021 project did; "none"
    standardise: str = "features"
    intercept: str = "run"  #: a free intercept for each "run", or one for "all" rows
    hrf: str = "none"  #: "spm" or "glover": features convolved with this response in place of the delays
    n_permutations: int = 1000  #: permutations of the held-out predictions; 0: no test
    permutation_scheme: str = "circular-shift"  #: or "block"
    minimum_shift_s: float = 20.0  #: at least one run is shifted by this much in each permutation
    block_s: float = 40.0  #: least length of a block, and never less than 20 volumes
    q: float = 0.05  #: false discovery rate for which maps are reported
    seed: int = 0
    voxel_tile: int = 4096  #: how many voxels are in memory at once; changes no result
    include_rest: bool = False  #: also train and score on volumes that no film touches, delays included
    l1_ratio: float = (
        0.5  #: of the elastic net: share of the penalty that is l1, above 0 and at most 1 (LASSO)
    )
    n_candidates: int = 30  #: of banded ridge: how many ways to weigh the feature spaces are tried first
    cross_validation: CrossValidation = CrossValidation()
    variance_partitioning: bool = False  #: of several feature spaces: product measure, unique and partial R2
    layers: bool = (
        False  #: the spaces are layers in rising order: a model each, best layer and centre of mass
    )
    ceiling: str = "pairs"  #: how the noise ceiling is estimated: a name in `film_ceilings.CEILINGS`
    ceiling_floor: float = 0.1  #: least noise ceiling (r) at which a normalised score is given

    def __post_init__(self) -> None:
        if self.alphas is not None and (
            not self.alphas or not all(math.isfinite(alpha) and alpha >= 0 for alpha in self.alphas)
        ):
            raise SettingError(f"alphas must be finite and not negative, got {self.alphas}.")
        if self.pca is not None and not (0 < self.pca < 1 or (self.pca >= 1 and self.pca == int(self.pca))):
            raise SettingError(
                f"pca must be a share of variance below 1 or a whole number of components, got {self.pca}."
            )
        for name, least in (
            ("n_permutations", 0),
            ("voxel_tile", 1),
            ("minimum_shift_s", 0),
            ("block_s", 0),
            ("n_candidates", 1),
        ):
            if not getattr(self, name) >= least:
                raise SettingError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        for name, known in (
            ("alpha_unit", ("relative", "absolute")),
            ("standardise", ("features", "volumes", "none")),
            ("intercept", ("run", "all")),
            ("hrf", ("none", "spm", "glover")),
            ("permutation_scheme", PERMUTATION_SCHEMES),
            ("ceiling", ("pairs", "split-half", "explainable-variance", "ncsnr")),
        ):
            if getattr(self, name) not in known:
                raise SettingError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        if self.alpha_unit == "absolute" and self.alphas is None and self.estimator != "ols":
            raise SettingError("Absolute alphas have no default grid: name the alphas.")
        if not 0 < self.l1_ratio <= 1:
            raise SettingError(f"l1_ratio must be above 0 and at most 1, got {self.l1_ratio}.")
        if self.estimator == "ols" and self.alphas is not None and any(self.alphas):
            raise SettingError(f"ols has no penalty: leave alphas out, got {self.alphas}.")
        if not 0 < self.q < 1:
            raise SettingError(f"q must be between 0 and 1, got {self.q}.")
        if not 0 < self.ceiling_floor < 1:
            raise SettingError(f"ceiling_floor must be between 0 and 1, got {self.ceiling_floor}.")
