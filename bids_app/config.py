"""Settings: frozen, validated, recorded as TOML and replayed from it; the command line always wins.

Three layers: `Settings` is what the user asked for (the fields of the option table), `Recipe` a named analysis, and
`resolve_recipe` the recipe with the user's overrides.
"""

import os
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import SettingError
from workflows.specifications import BoldPreparation, FeatureSpace

#: Fields of Settings that say where things are or how one run goes: recorded, never part of the analysis.
_NOT_RECORDED = {"config_file", "dry_run", "verbose", "reports_only", "clean_workdir"}


def _derivatives(value: Any) -> Any:
    """Turn ["fmriprep=/data/x"] into {"fmriprep": "/data/x"}; a name that is given twice is an error."""
    if isinstance(value, Mapping):
        return value
    pairs = [text.partition("=")[::2] for text in value]
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a name is given twice in {' '.join(value)}")
    return dict(pairs)


def _resolution(value: Any) -> Any:
    return None if value == "native" else value


def _pca(value: Any) -> Any:
    return None if value == "none" else value


def _component_count(value: float | None) -> float | None:
    if value is not None and value > 1 and value != int(value):
        raise ValueError("above 1 it is a number of components and must be whole")
    return value


def _delays(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value or min(value) < 0 or max(value) > 60 or list(value) != sorted(set(value)):
        raise ValueError("must be one or more different times from 0 to 60 seconds, in rising order")
    return value


def _alphas(value: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if value is not None and (not value or min(value) <= 0):
        raise ValueError("must be positive")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


ResolutionMm = Annotated[Annotated[float, Field(ge=0.5, le=20)] | None, BeforeValidator(_resolution)]
Pca = Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_pca), AfterValidator(_component_count)]
DelaysS = Annotated[tuple[float, ...], AfterValidator(_delays)]
Alphas = Annotated[tuple[float, ...] | None, AfterValidator(_alphas)]
Estimator = Literal["ridge", "lasso"]
HighPassHz = Annotated[float, Field(ge=0, lt=0.5)]
Permutations = Annotated[int, Field(ge=0, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Settings(_Model):
    """What the user asked for. None means: as the recipe says, or the default that the option's help names."""

    bids_dir: Path
    output_dir: Path
    analysis_level: Literal["stimuli", "participant", "group"]

    participant_label: tuple[str, ...] | None = None
    session_label: tuple[str, ...] | None = None
    task_id: tuple[str, ...] | None = None
    run_id: tuple[str, ...] | None = None
    bids_filter_file: Path | None = None
    output_spaces: str = "MNI152NLin2009cAsym"

    derivatives: Annotated[dict[str, Path], BeforeValidator(_derivatives)] = {}
    stimuli_dir: Path | None = None
    stimulus_map: Path | None = None
    weights_dir: Path | None = None
    work_dir: Path = Path("work")
    bids_database_dir: Path | None = None
    config_file: Path | None = None

    recipe: str = "motion-energy"
    model_label: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]+$")] | None = None
    features: tuple[str, ...] | None = None
    mask: str | None = None
    resolution: Literal["native"] | Annotated[float, Field(ge=0.5, le=20)] | None = None
    nuisance_regressors: str | None = None
    high_pass: HighPassHz | None = None
    dummy_scans: Annotated[int, Field(ge=0)] | None = None
    delays: DelaysS | None = None
    pca: Literal["none"] | Annotated[float, Field(gt=0), AfterValidator(_component_count)] | None = None
    estimator: Estimator | None = None
    alphas: Alphas = None
    permutations: Permutations | None = None
    fdr: Rate | None = None
    random_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    random_weights: bool = False

    nprocs: Annotated[int, Field(ge=1)] | None = None
    omp_nthreads: Annotated[int, Field(ge=1)] | None = None
    mem_mb: Annotated[int, Field(ge=100)] | None = None
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    use_plugin: Path | None = None
    stop_on_first_crash: bool = False
    clean_workdir: bool = False

    dry_run: bool = False
    reports_only: bool = False
    strict: bool = False
    validate_output: bool = False
    skip_bids_validation: bool = False
    notrack: bool = False
    verbose: int = 0

    @field_validator(
        "bids_dir", "output_dir", "work_dir", "stimuli_dir", "stimulus_map", "weights_dir",
        "bids_database_dir", "config_file", "bids_filter_file", "use_plugin",
    )  # fmt: skip
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.abspath(value.expanduser()))

    @field_validator("derivatives")
    @classmethod
    def _absolute_values(cls, value: dict[str, Path]) -> dict[str, Path]:
        return {name: Path(os.path.abspath(path.expanduser())) for name, path in value.items()}

    @property
    def space(self) -> str:
        """The space that is analysed, without its resolution."""
        return self.output_spaces.partition(":")[0]

    @property
    def input_resolution(self) -> str | None:
        """The `res-` label of the input, where `--output-spaces` names one."""
        for modifier in self.output_spaces.split(":")[1:]:
            key, _, label = modifier.partition("-")
            if key != "res" or not label.isalnum():
                raise SettingError(
                    f"--output-spaces takes SPACE or SPACE:res-LABEL, found {self.output_spaces!r}"
                )
            return label
        return None


class FeatureTable(_Model):
    """One `[[features]]` table of a recipe."""

    space: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]+$")]
    extractor: str
    parameters: dict[str, Any] = {}


class BoldTable(_Model):
    """The `[bold]` table of a recipe."""

    mask: str = "gm"
    gm_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    resolution_mm: ResolutionMm = 3.0
    confounds: str = "simple"
    high_pass_hz: HighPassHz = 0.008
    dummy_scans: Annotated[int, Field(ge=0)] | None = None


class DesignTable(_Model):
    """The `[design]` table of a recipe."""

    low_pass: Literal["lanczos", "box"] = "lanczos"
    delays_s: DelaysS = (2.0, 4.0, 6.0, 8.0)
    pca: Pca = 0.95
    standardise: bool = True


class EncodingTable(_Model):
    """The `[encoding]` table of a recipe."""

    estimator: Estimator = "ridge"
    alphas: Alphas = None
    permutations: Permutations = 1000
    minimum_shift_s: Annotated[float, Field(ge=0)] = 20.0
    fdr: Rate = 0.05


class GroupTable(_Model):
    """The `[group]` table of a recipe."""

    fdr: Rate = 0.05


class Recipe(_Model):
    """A whole analysis."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9-]+$")]
    description: str = ""
    features: Annotated[tuple[FeatureTable, ...], Field(min_length=1)]
    bold: BoldTable = BoldTable()
    design: DesignTable = DesignTable()
    encoding: EncodingTable = EncodingTable()
    group: GroupTable = GroupTable()

    @field_validator("features")
    @classmethod
    def _distinct(cls, value: tuple[FeatureTable, ...]) -> tuple[FeatureTable, ...]:
        names = [table.space for table in value]
        if len(set(names)) < len(names):
            raise ValueError(f"a feature space is named twice in {', '.join(names)}")
        return value

    @property
    def label(self) -> str:
        """The `model-` label of the outputs: the name without its hyphens, which BIDS labels cannot hold.

        >>> Recipe(name="motion-energy", features=({"space": "a", "extractor": "low_level"},)).label
        'motionenergy'
        """
        return self.name.replace("-", "")

    @property
    def feature_spaces(self) -> tuple[FeatureSpace, ...]:
        """The feature spaces, as the workflows take them."""
        return tuple(FeatureSpace(t.space, t.extractor, dict(t.parameters)) for t in self.features)

    @property
    def bold_preparation(self) -> BoldPreparation:
        """How the responses are read, as the workflows take it."""
        bold = self.bold
        return BoldPreparation(
            mask=bold.mask,
            gm_threshold=bold.gm_threshold,
            resolution_mm=bold.resolution_mm,
            confounds=bold.confounds,
            high_pass_hz=bold.high_pass_hz or None,
            dummy_scans=bold.dummy_scans,
        )

    def encoding_settings(self, seed: int) -> EncodingSettings:
        """How the models are fitted, as the workflows take it."""
        return EncodingSettings(
            estimator=self.encoding.estimator,
            alphas=self.encoding.alphas,
            pca=self.design.pca,
            standardise=self.design.standardise,
            n_permutations=self.encoding.permutations,
            minimum_shift_s=self.encoding.minimum_shift_s,
            q=self.encoding.fdr,
            seed=seed,
        )


def _complaint(error: ValidationError, options: bool) -> str:
    """The first thing that pydantic found, as one sentence."""
    first = error.errors()[0]
    place = [part for part in first["loc"] if not (isinstance(part, str) and ("[" in part or "-" in part))]
    name = ".".join(map(str, place)) or "value"
    if options:
        name = "--" + str(place[0]).replace("_", "-") if place else "the options"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    given = first.get("input")
    found = f", found {given!r}" if isinstance(given, str | int | float) else ""
    return f"{name}: {message[:1].lower()}{message[1:]}{found}"


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Settings from what the command line gave, over what `--config-file` holds.

    Raises SettingError with the option and the value where one makes no sense.
    """
    recorded: dict[str, Any] = {}
    if given.get("config_file"):
        recorded = _read_toml(Path(given["config_file"]))
        for table in [
            name for name, value in recorded.items() if isinstance(value, dict) and name != "derivatives"
        ]:
            recorded |= recorded.pop(table)
    try:
        return Settings.model_validate({**recorded, **given})
    except ValidationError as error:
        raise SettingError(_complaint(error, options=True)) from None


def settings_toml(settings: Settings) -> str:
    """The TOML that reproduces a run: `--config-file` reads it."""
    import tomli_w

    content = settings.model_dump(mode="json", exclude_none=True, exclude=_NOT_RECORDED)
    derivatives = content.pop("derivatives", {})
    return tomli_w.dumps({**content, "derivatives": derivatives})


def recipe_names() -> tuple[str, ...]:
    """The recipes that are shipped.

    >>> "motion-energy" in recipe_names()
    True
    """
    folder = resources.files("bids_app") / "recipes"
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")))


def load_recipe(name: str) -> Recipe:
    """The shipped recipe of that name, or the one in that TOML file."""
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise SettingError(f"--recipe: there is no file {name}")
        content, place = _read_toml(path), str(path)
    elif name in recipe_names():
        text = (resources.files("bids_app") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        content, place = tomllib.loads(text), f"recipe {name}"
    else:
        raise SettingError(
            f"--recipe: expected one of {', '.join(recipe_names())} or the path of a .toml file, found {name!r}"
        )
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise SettingError(f"{place}: {_complaint(error, options=False)}") from None


def resolve_recipe(settings: Settings) -> Recipe:
    """The recipe with the user's overrides; every name in it is checked."""
    from cinebold.features.registry import extractor_names, validate_parameters

    recipe = load_recipe(settings.recipe)
    content = recipe.model_dump()
    overrides = {
        ("bold", "mask"): settings.mask,
        ("bold", "resolution_mm"): settings.resolution,
        ("bold", "confounds"): settings.nuisance_regressors,
        ("bold", "high_pass_hz"): settings.high_pass,
        ("bold", "dummy_scans"): settings.dummy_scans,
        ("design", "delays_s"): settings.delays,
        ("design", "pca"): settings.pca,
        ("encoding", "estimator"): settings.estimator,
        ("encoding", "alphas"): settings.alphas,
        ("encoding", "permutations"): settings.permutations,
        ("encoding", "fdr"): settings.fdr,
        ("group", "fdr"): settings.fdr,
    }
    for (table, key), value in overrides.items():
        if value is not None:
            content[table][key] = value
    content["name"] = settings.model_label or recipe.name
    # A grid belongs to its estimator: another estimator brings its own.
    if settings.estimator not in (None, recipe.encoding.estimator) and settings.alphas is None:
        content["encoding"]["alphas"] = None
    if settings.features is not None:
        content["features"] = [
            {"space": name.replace("_", ""), "extractor": name, "parameters": {}}
            for name in settings.features
        ]
    for table in content["features"]:
        if table["extractor"] not in extractor_names():
            raise SettingError(
                f"expected a feature extractor out of {', '.join(extractor_names())}, found {table['extractor']!r}"
            )
        validate_parameters(table["extractor"], table["parameters"])
    mask = content["bold"]["mask"]
    if mask not in ("gm", "brain"):
        path = Path(os.path.abspath(Path(mask).expanduser()))
        if not path.is_file():
            raise SettingError(f"--mask: expected gm, brain or the path of an image, found {mask!r}")
        content["bold"]["mask"] = str(path)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise SettingError(f"recipe {recipe.name}: {_complaint(error, options=False)}") from None


def first_difference(one: Recipe, other: Recipe) -> str | None:
    """The first setting in which two recipes give other results under the same file names, or None.

    The resolution stands in the names by itself; the group level's settings touch nothing of the participants'.
    """
    first, second = (recipe.model_dump(exclude={"name", "description", "group"}) for recipe in (one, other))
    for table in first:
        pairs = [(table, first[table], second[table])]
        if isinstance(first[table], dict):
            pairs = [(f"{table}.{key}", first[table][key], second[table][key]) for key in first[table]]
        for key, mine, theirs in pairs:
            if mine != theirs and key != "bold.resolution_mm":
                return (
                    f"{key} is {mine} there and {theirs} now"
                    if table != "features"
                    else "the features differ"
                )
    return None


def recipe_toml(recipe: Recipe) -> str:
    """The recipe as a TOML file that `--recipe` reads: what really ran, overrides included."""
    import tomli_w

    content = recipe.model_dump(mode="json", exclude_none=True)
    if recipe.bold.resolution_mm is None:
        content["bold"]["resolution_mm"] = "native"
    if recipe.design.pca is None:
        content["design"]["pca"] = "none"
    return tomli_w.dumps(content)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}") from None
