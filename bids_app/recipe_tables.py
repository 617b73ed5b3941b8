"""The tables of a recipe file, and which of their values make sense together."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from bids_app.fields import (
    Alphas,
    Ceiling,
    ClipMethod,
    DelaysS,
    Estimator,
    Folds,
    FrozenModel,
    HighPassHz,
    Hrf,
    Interpolation,
    L1Ratio,
    Millimetres,
    Pca,
    Permutations,
    PermutationScheme,
    Rate,
    ResolutionMm,
    Scheme,
    Seconds,
    SharedFilms,
    SmoothingMm,
    Standardise,
    Trim,
    Volumes,
)
from cinebold.bold.confounds_strategies import (
    SHORTEST_SEGMENT_VOLUMES,
    ConfoundStrategy,
    strategy_names,
    strategy_of,
)
from cinebold.errors import SettingError


class FeatureTable(FrozenModel):
    """One `[[features]]` table of a recipe."""

    space: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]+$")]
    extractor: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    store_dtype: Literal["float32", "float16"] = "float32"
    basis: str | None = None


def _split(value: Any) -> Any:
    return [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value


class OwnConfounds(FrozenModel):
    """A strategy of one's own: the table `[bold.confounds]` of a recipe, or a YAML file of the same keys."""

    columns: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_split)]
    name: Annotated[str, Field(pattern=r"^[\w -]+$")] = "own"
    n_compcor: Volumes | None = None
    fd_threshold_mm: Millimetres | None = None
    std_dvars_threshold: Annotated[float, Field(gt=0)] | None = None
    shortest_segment_volumes: Annotated[int, Field(ge=0)] = SHORTEST_SEGMENT_VOLUMES

    @property
    def strategy(self) -> ConfoundStrategy:
        """The strategy as the science takes it."""
        return ConfoundStrategy(**self.model_dump())


def _kind_of_confounds(value: Any) -> str:
    return "in-words" if isinstance(value, str) else "as-table"


def _known_confounds(value: str | OwnConfounds) -> str | OwnConfounds:
    try:
        strategy_of(value if isinstance(value, str) else ",".join(value.columns))
    except SettingError:
        raise ValueError(
            f"must be strategies ({', '.join(strategy_names())}), columns or patterns with commas between them, or a "
            "YAML file"
        ) from None
    return value


ConfoundsChoice = Annotated[
    Annotated[str, Tag("in-words")] | Annotated[OwnConfounds, Tag("as-table")],
    Discriminator(_kind_of_confounds),
    AfterValidator(_known_confounds),
]


class BoldTable(FrozenModel):
    """The `[bold]` table of a recipe."""

    responses: Literal["volumes", "clips"] = "volumes"
    mask: str = "gm"
    gm_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    resolution_mm: ResolutionMm = 3.0
    axes: Literal["input", "world"] = "input"
    interpolation: Interpolation = "linear"
    smoothing_mm: SmoothingMm = 0.0
    atlas: str | None = None
    confounds: ConfoundsChoice = "simple"
    extra_confounds: str | None = None
    high_pass_hz: HighPassHz = 0.008
    standardise: bool = True
    dummy_scans: Annotated[int, Field(ge=0)] | None = None
    trim: Trim | None = None
    max_fd_mm: Millimetres | None = None
    min_volumes: Volumes | None = None

    @model_validator(mode="after")
    def _a_size_for_new_axes(self) -> "BoldTable":
        if self.axes == "world" and self.resolution_mm is None:
            raise ValueError("axes = world needs a resolution_mm: the input's own grid has the input's axes")
        return self

    @property
    def confounds_name(self) -> str:
        """The strategy in a word or a line."""
        return self.confounds if isinstance(self.confounds, str) else self.confounds.name


class ClipsTable(FrozenModel):
    """The `[clips]` table of a recipe: how one response a clip is made, where `responses = "clips"`."""

    method: ClipMethod = "lss"
    hrf: Literal["glover", "spm"] = "glover"
    ridge: Annotated[float, Field(gt=0)] = 0.1
    window_s: tuple[Seconds, Seconds] = (4.0, 8.0)
    standardise: bool = True
    average: bool = False
    betas: str | None = None

    @field_validator("window_s")
    @classmethod
    def _not_empty(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[1] <= value[0]:
            raise ValueError("the window after a clip's onset must end after it begins")
        return value


class DesignTable(FrozenModel):
    """The `[design]` table of a recipe."""

    low_pass: Literal["lanczos", "box"] = "lanczos"
    delays_s: DelaysS | Literal["auto"] = "auto"
    hrf: Hrf = "none"
    pca: Pca = 0.95
    standardise: Standardise = "features"

    @model_validator(mode="after")
    def _one_haemodynamic_response(self) -> "DesignTable":
        if self.hrf != "none" and self.delays_s not in ("auto", (0.0,)):
            raise ValueError(
                f"the response {self.hrf} and delays are two models of one thing: leave the delays out, or set hrf "
                "to none"
            )
        return self


class EncodingTable(FrozenModel):
    """The `[encoding]` table of a recipe. None: as the choice that it belongs to has it, or not of that choice."""

    estimator: Estimator = "ridge"
    alphas: Alphas = None
    alpha_unit: Literal["relative", "absolute"] = "relative"
    l1_ratio: L1Ratio | None = None
    n_candidates: Annotated[int, Field(ge=1)] | None = None
    intercept: Literal["run", "all"] = "run"
    cross_validation: Scheme = "leave-one-run-out"
    folds: Folds | None = None
    test_runs: tuple[str, ...] = ()
    shared_films: SharedFilms = "exclude"
    permutations: Permutations = 1000
    permutation_scheme: PermutationScheme = "circular-shift"
    minimum_shift_s: Seconds = 20.0
    block_s: Seconds | None = None
    fdr: Rate = 0.05
    ceiling: Ceiling = "pairs"
    ceiling_floor: Rate = 0.1
    variance_partitioning: bool = False
    layers: bool = False

    @model_validator(mode="after")
    def _choices_fit_together(self) -> "EncodingTable":
        for sentence in self._misfits():
            raise ValueError(sentence)
        return self

    def _misfits(self) -> list[str]:
        """What is given that belongs to another choice, or is missing for this one."""
        found = [
            f"{key} belongs to {what} = {' or '.join(owners)}, and {what} is {chosen}: leave it out"
            for key, what, owners, chosen in (
                ("l1_ratio", "estimator", ("elastic_net",), self.estimator),
                ("n_candidates", "estimator", ("banded_ridge",), self.estimator),
                ("folds", "cross_validation", ("k-fold", "leave-one-stimulus-out"), self.cross_validation),
                ("test_runs", "cross_validation", ("split",), self.cross_validation),
                ("minimum_shift_s", "permutation_scheme", ("circular-shift",), self.permutation_scheme),
                ("block_s", "permutation_scheme", ("block",), self.permutation_scheme),
            )
            if getattr(self, key) != type(self).model_fields[key].default and chosen not in owners
        ]
        if self.cross_validation == "split" and not self.test_runs:
            found.append("cross_validation = split needs test_runs, the runs or tasks to test on")
        if self.estimator == "ols" and self.alphas is not None:
            found.append("ols has no penalty: leave alphas out")
        if self.alpha_unit == "absolute" and self.alphas is None and self.estimator != "ols":
            found.append("absolute alphas have no default grid: name the alphas")
        if self.estimator == "lstm" and self.variance_partitioning:
            found.append(
                "variance_partitioning shares out the prediction of a linear model, which an lstm is not"
            )
        if self.estimator == "lstm" and self.layers:
            found.append("layers compares linear models of single feature spaces, which an lstm is not")
        if self.layers and not self.permutations:
            found.append("layers are compared where one of them predicts above chance: give permutations")
        return found


class GroupTable(FrozenModel):
    """The `[group]` table of a recipe."""

    fdr: Rate = 0.05


#: What several feature spaces are needed for: a value of the `[encoding]` table -> why.
_OF_SEVERAL_SPACES = {
    "layers": "layers compares feature spaces",
    "variance_partitioning": "variance_partitioning shares the prediction out over feature spaces",
}


def needs_several_spaces(encoding: EncodingTable) -> str | None:
    """Why a recipe with one feature space makes no sense, or None where it does."""
    if encoding.estimator == "banded_ridge":
        return "banded_ridge weighs feature spaces against each other"
    return next((why for key, why in _OF_SEVERAL_SPACES.items() if getattr(encoding, key)), None)
