"""The field types that settings and recipes share, and how their faults are told."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cinebold.errors import SettingError


def _resolution(value: Any) -> Any:
    return None if value == "native" else value


def _pca(value: Any) -> Any:
    return None if value == "none" else value


def whole_component_count(value: float | None) -> float | None:
    """A share of variance below 1, or a whole number of components."""
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


def _trim(value: str) -> str:
    """Checked with the repetition time that makes no difference to the form."""
    from cinebold.bold.volumes import trimmed_volumes

    try:
        trimmed_volumes(value, 1.0)
    except SettingError:
        raise ValueError(
            "must be START:END, volumes (2:11) or seconds (4s:22s) to leave out at either end of a run"
        ) from None
    return value.replace(" ", "")


def _standardise(value: Any) -> Any:
    """True and False are the words of earlier recipes."""
    return {True: "features", False: "none"}[value] if isinstance(value, bool) else value


class FrozenModel(BaseModel):
    """Checked once, never changed; fields that are not known are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


ResolutionMm = Annotated[Annotated[float, Field(ge=0.5, le=20)] | None, BeforeValidator(_resolution)]
Pca = Annotated[
    Annotated[float, Field(gt=0)] | None, BeforeValidator(_pca), AfterValidator(whole_component_count)
]
DelaysS = Annotated[tuple[float, ...], AfterValidator(_delays)]
Alphas = Annotated[tuple[float, ...] | None, AfterValidator(_alphas)]
Estimator = Literal["ridge", "banded_ridge", "lasso", "elastic_net", "ols", "lstm"]
L1Ratio = Annotated[float, Field(gt=0, le=1)]
Scheme = Literal["leave-one-run-out", "k-fold", "split", "leave-one-stimulus-out"]
Folds = Annotated[int, Field(ge=2)]
SharedFilms = Literal["exclude", "refuse"]
PermutationScheme = Literal["circular-shift", "block"]
Ceiling = Literal["pairs", "split-half", "explainable-variance", "ncsnr"]
Interpolation = Literal["linear", "nearest", "cubic"]
ClipMethod = Literal["lss", "lsa", "ridge-lsa", "fir"]
Hrf = Literal["none", "spm", "glover"]
Standardise = Annotated[Literal["features", "volumes", "none"], BeforeValidator(_standardise)]
Seconds = Annotated[float, Field(ge=0)]
HighPassHz = Annotated[float, Field(ge=0, lt=0.5)]
Trim = Annotated[str, AfterValidator(_trim)]
SmoothingMm = Annotated[float, Field(ge=0, le=100)]
Millimetres = Annotated[float, Field(gt=0, le=100)]
Volumes = Annotated[int, Field(ge=1)]
Permutations = Annotated[int, Field(ge=0, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, lt=1)]


def complaint(error: ValidationError, options: bool) -> str:
    """The first thing that pydantic found, as one sentence."""
    first = error.errors()[0]
    place = [part for part in first["loc"] if not (isinstance(part, str) and ("[" in part or "-" in part))]
    name = ".".join(map(str, place)) or "value"
    if options:
        name = "--" + str(place[0]).replace("_", "-") if place else "the options"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    given = first.get("input")
    found = f", found {given!r}" if isinstance(given, str | int | float) else ""
    sentence = f"{message[:1].lower()}{message[1:]}{found}"
    return f"{name}: {sentence}" if place or options else sentence


def is_yaml(text: str) -> bool:
    """Whether a setting that may be words or a file is a YAML file."""
    return text.lower().endswith((".yml", ".yaml"))


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file that the user named; SettingError where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}") from None
