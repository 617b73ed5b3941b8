"""Recipes: whole analyses in one TOML file each, and the recipe of a run with the user's overrides."""

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from bids_app.config import Settings
from bids_app.fields import (
    Alphas,
    DelaysS,
    Estimator,
    FrozenModel,
    HighPassHz,
    Pca,
    Permutations,
    Rate,
    ResolutionMm,
    complaint,
    read_toml,
)
from cinebold.encoding.settings import EncodingSettings
from cinebold.errors import SettingError
from workflows.specifications import BoldPreparation, FeatureSpace


class FeatureTable(FrozenModel):
    """One `[[features]]` table of a recipe."""

    space: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]+$")]
    extractor: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class BoldTable(FrozenModel):
    """The `[bold]` table of a recipe."""

    mask: str = "gm"
    gm_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    resolution_mm: ResolutionMm = 3.0
    confounds: str = "simple"
    high_pass_hz: HighPassHz = 0.008
    dummy_scans: Annotated[int, Field(ge=0)] | None = None


class DesignTable(FrozenModel):
    """The `[design]` table of a recipe."""

    low_pass: Literal["lanczos", "box"] = "lanczos"
    delays_s: DelaysS | Literal["auto"] = "auto"
    pca: Pca = 0.95
    standardise: bool = True


class EncodingTable(FrozenModel):
    """The `[encoding]` table of a recipe."""

    estimator: Estimator = "ridge"
    alphas: Alphas = None
    permutations: Permutations = 1000
    minimum_shift_s: Annotated[float, Field(ge=0)] = 20.0
    fdr: Rate = 0.05


class GroupTable(FrozenModel):
    """The `[group]` table of a recipe."""

    fdr: Rate = 0.05


class Recipe(FrozenModel):
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
            standardise="features" if self.design.standardise else "none",
            n_permutations=self.encoding.permutations,
            minimum_shift_s=self.encoding.minimum_shift_s,
            q=self.encoding.fdr,
            seed=seed,
        )


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
        content, place = read_toml(path), str(path)
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
        raise SettingError(f"{place}: {complaint(error, options=False)}") from None


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
    content["name"] = settings.model_label or "-".join(settings.features or (recipe.name,)).replace("_", "")
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
        raise SettingError(f"recipe {recipe.name}: {complaint(error, options=False)}") from None


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
