"""Recipes: whole analyses in one TOML file each, and the recipe of a run with the user's overrides."""

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from bids_app.atlas_files import atlas_file
from bids_app.config import Settings
from bids_app.confounds_files import confounds_files
from bids_app.feature_tables import checked_features
from bids_app.fields import FrozenModel, complaint, read_toml
from bids_app.recipe_tables import (
    BoldTable,
    ClipsTable,
    DesignTable,
    EncodingTable,
    FeatureTable,
    GroupTable,
    needs_several_spaces,
)
from cinebold.bold.clip_responses import ClipModel
from cinebold.design.delays import default_delays_s
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from cinebold.errors import SettingError
from workflows.specifications import BoldPreparation, ClipPreparation, FeatureSpace


class Recipe(FrozenModel):
    """A whole analysis."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9-]+$")]
    description: str = ""
    features: Annotated[tuple[FeatureTable, ...], Field(min_length=1)]
    bold: BoldTable = BoldTable()
    clips: ClipsTable = ClipsTable()
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

    @model_validator(mode="after")
    def _enough_spaces(self) -> "Recipe":
        why = needs_several_spaces(self.encoding) if len(self.features) == 1 else None
        if why:
            raise ValueError(
                f"{why}, and there is only {self.features[0].space}: add another or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _clips_have_no_delays(self) -> "Recipe":
        if self.bold.responses == "clips":
            if self.design.hrf != "none" or self.design.delays_s not in ("auto", (0.0,)):
                raise ValueError(
                    "a response a clip has its haemodynamics from its own model ([clips] hrf): leave the design's "
                    "delays and hrf out"
                )
        elif self.clips != ClipsTable():
            raise ValueError("the table [clips] belongs to responses = clips: leave it out")
        return self

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
        return tuple(
            FeatureSpace(t.space, t.extractor, dict(t.parameters), t.store_dtype, t.basis)
            for t in self.features
        )

    @property
    def bold_preparation(self) -> BoldPreparation:
        """How the responses are read, as the workflows take it."""
        bold = self.bold
        return BoldPreparation(
            mask=bold.mask,
            gm_threshold=bold.gm_threshold,
            resolution_mm=bold.resolution_mm,
            confounds=bold.confounds if isinstance(bold.confounds, str) else bold.confounds.strategy,
            high_pass_hz=bold.high_pass_hz or None,
            dummy_scans=bold.dummy_scans,
            trim=bold.trim,
            axes=bold.axes,
            interpolation=bold.interpolation,
            smoothing_mm=bold.smoothing_mm or None,
            atlas=bold.atlas,
            standardise=bold.standardise,
            clips=self._clip_preparation if bold.responses == "clips" else None,
        )

    @property
    def _clip_preparation(self) -> ClipPreparation:
        clips = self.clips
        model = ClipModel(clips.method, clips.hrf, clips.ridge, clips.window_s)
        return ClipPreparation(model, clips.standardise, clips.average)

    def delays_s(self, tr_s: float) -> tuple[float, ...]:
        """The delays in seconds; none with a canonical response, which has its own, and for clips."""
        if self.design.delays_s != "auto":
            return self.design.delays_s
        has_delays = self.design.hrf == "none" and self.bold.responses == "volumes"
        return default_delays_s(tr_s) if has_delays else (0.0,)

    def encoding_settings(self, seed: int) -> EncodingSettings:
        """How the models are fitted, as the workflows take it."""
        encoding = self.encoding
        given = {
            "l1_ratio": encoding.l1_ratio,
            "n_candidates": encoding.n_candidates,
            "block_s": encoding.block_s,
        }
        return EncodingSettings(
            estimator=encoding.estimator,
            alphas=encoding.alphas,
            alpha_unit=encoding.alpha_unit,
            pca=self.design.pca,
            standardise=self.design.standardise,
            hrf=self.design.hrf,
            intercept=encoding.intercept,
            n_permutations=encoding.permutations,
            permutation_scheme=encoding.permutation_scheme,
            minimum_shift_s=encoding.minimum_shift_s,
            q=encoding.fdr,
            seed=seed,
            cross_validation=CrossValidation(
                encoding.cross_validation,
                test=encoding.test_runs,
                shared_films=encoding.shared_films,
                **({"n_folds": encoding.folds} if encoding.folds else {}),
            ),
            variance_partitioning=encoding.variance_partitioning,
            layers=encoding.layers,
            ceiling=encoding.ceiling,
            ceiling_floor=encoding.ceiling_floor,
            **{name: value for name, value in given.items() if value is not None},
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


#: Table and key of a recipe -> the option that overrides it.
_OVERRIDES = {
    ("bold", "mask"): "mask",
    ("bold", "responses"): "responses",
    ("clips", "method"): "clip_method",
    ("clips", "betas"): "betas",
    ("bold", "resolution_mm"): "resolution",
    ("bold", "interpolation"): "interpolation",
    ("bold", "smoothing_mm"): "smoothing",
    ("bold", "atlas"): "atlas",
    ("bold", "confounds"): "nuisance_regressors",
    ("bold", "high_pass_hz"): "high_pass",
    ("bold", "dummy_scans"): "dummy_scans",
    ("bold", "extra_confounds"): "extra_confounds",
    ("bold", "trim"): "trim",
    ("bold", "max_fd_mm"): "max_fd",
    ("bold", "min_volumes"): "min_volumes",
    ("design", "hrf"): "hrf",
    ("design", "delays_s"): "delays",
    ("design", "pca"): "pca",
    ("encoding", "estimator"): "estimator",
    ("encoding", "alphas"): "alphas",
    ("encoding", "l1_ratio"): "l1_ratio",
    ("encoding", "cross_validation"): "cross_validation",
    ("encoding", "folds"): "folds",
    ("encoding", "test_runs"): "test_runs",
    ("encoding", "shared_films"): "shared_films",
    ("encoding", "permutations"): "permutations",
    ("encoding", "permutation_scheme"): "permutation_scheme",
    ("encoding", "variance_partitioning"): "variance_partitioning",
    ("encoding", "layers"): "layers",
    ("encoding", "fdr"): "fdr",
    ("group", "fdr"): "fdr",
}
#: A choice -> what a recipe says only for it: another choice does not take it over.
_BELONGINGS = {
    ("design", "hrf"): ("delays_s",),
    ("encoding", "estimator"): ("alphas", "alpha_unit", "l1_ratio", "n_candidates"),
    ("encoding", "cross_validation"): ("folds", "test_runs"),
    ("encoding", "permutation_scheme"): ("minimum_shift_s", "block_s"),
}


def _drop_what_belonged(content: dict[str, Any], table: str, key: str, value: Any) -> None:
    """Back to their defaults: the values of a recipe that belong to a choice which an option changes."""
    if content[table][key] == value:
        return
    kind = {"design": DesignTable, "encoding": EncodingTable}.get(table)
    for belonging in _BELONGINGS.get((table, key), ()):
        content[table][belonging] = kind.model_fields[belonging].default


def resolve_recipe(settings: Settings) -> Recipe:
    """The recipe with the user's overrides; every name in it is checked."""
    recipe = load_recipe(settings.recipe)
    content = recipe.model_dump()
    for (table, key), name in _OVERRIDES.items():
        value = getattr(settings, name)
        if value is not None:
            _drop_what_belonged(content, table, key, value)
            content[table][key] = value
    if settings.betas is not None:
        content["bold"]["responses"] = "clips"
    content["name"] = settings.model_label or "-".join(settings.features or (recipe.name,)).replace("_", "")
    content["features"] = checked_features(content["features"], settings.features)
    mask = content["bold"]["mask"]
    if mask not in ("gm", "brain", "none"):
        path = Path(os.path.abspath(Path(mask).expanduser()))
        if not path.is_file():
            raise SettingError(f"--mask: expected gm, brain, none or the path of an image, found {mask!r}")
        content["bold"]["mask"] = str(path)
    content["bold"]["atlas"] = atlas_file(content["bold"]["atlas"], settings.space)
    content["bold"] |= confounds_files(content["bold"])
    if content["clips"]["betas"] is not None:
        content["clips"]["betas"] = os.path.abspath(Path(content["clips"]["betas"]).expanduser())
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
    if recipe.bold.responses != "clips":
        del content["clips"]
    return tomli_w.dumps(content)
