"""Settings: what the user asked for; frozen, validated, recorded as TOML and replayed from it.

`Settings` holds the fields of the option table; the command line always wins over a recorded run.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bids_app.fields import (
    Alphas,
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
    Permutations,
    PermutationScheme,
    Rate,
    Scheme,
    SharedFilms,
    SmoothingMm,
    Trim,
    Volumes,
    complaint,
    is_yaml,
    read_toml,
    whole_component_count,
)
from cinebold.errors import SettingError

#: Fields of Settings that say how one run goes: never part of what is replayed.
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


class Settings(FrozenModel):
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

    derivatives: Annotated[dict[str, Path], BeforeValidator(_derivatives)] = Field(default_factory=dict)
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
    interpolation: Interpolation | None = None
    smoothing: SmoothingMm | None = None
    atlas: str | None = None
    nuisance_regressors: str | None = None
    extra_confounds: str | None = None
    high_pass: HighPassHz | None = None
    dummy_scans: Annotated[int, Field(ge=0)] | None = None
    trim: Trim | None = None
    responses: Literal["volumes", "clips"] | None = None
    clip_method: ClipMethod | None = None
    betas: str | None = None
    max_fd: Millimetres | None = None
    min_volumes: Volumes | None = None
    delays: DelaysS | None = None
    hrf: Hrf | None = None
    pca: Literal["none"] | Annotated[float, Field(gt=0), AfterValidator(whole_component_count)] | None = None
    estimator: Estimator | None = None
    alphas: Alphas = None
    l1_ratio: L1Ratio | None = None
    cross_validation: Scheme | None = None
    folds: Folds | None = None
    test_runs: tuple[str, ...] | None = None
    shared_films: SharedFilms | None = None
    permutations: Permutations | None = None
    permutation_scheme: PermutationScheme | None = None
    variance_partitioning: bool | None = None
    layers: bool | None = None
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

    @field_validator("nuisance_regressors", "extra_confounds")
    @classmethod
    def _absolute_where_a_file_is_meant(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or (info.field_name == "nuisance_regressors" and not is_yaml(value)):
            return value
        return os.path.abspath(Path(value).expanduser())

    @field_validator("atlas")
    @classmethod
    def _absolute_where_there_is_a_file(cls, value: str | None) -> str | None:
        path = None if value is None else Path(os.path.abspath(Path(value).expanduser()))
        return str(path) if path is not None and path.is_file() else value

    @field_validator("derivatives")
    @classmethod
    def _absolute_values(cls, value: dict[str, Path]) -> dict[str, Path]:
        return {name: Path(os.path.abspath(path.expanduser())) for name, path in value.items()}

    @model_validator(mode="after")
    def _a_test_to_permute_for(self) -> "Settings":
        if self.permutations == 0 and self.permutation_scheme is not None:
            raise ValueError(
                "--permutation-scheme says how to permute, and --permutations 0 that there is no test"
            )
        return self

    @property
    def space(self) -> str:
        """The space that is analysed, without its resolution or density."""
        return self.output_spaces.partition(":")[0]

    @property
    def input_resolution(self) -> str | None:
        """The `res-` label of the input, where `--output-spaces` names one."""
        return self._modifiers.get("res")

    @property
    def input_density(self) -> str | None:
        """The `den-` label of the input, where `--output-spaces` names one."""
        return self._modifiers.get("den")

    @property
    def _modifiers(self) -> dict[str, str]:
        found = {}
        for modifier in self.output_spaces.split(":")[1:]:
            key, _, label = modifier.partition("-")
            if key not in ("res", "den") or not label.isalnum() or key in found:
                raise SettingError(
                    "--output-spaces takes SPACE, SPACE:res-LABEL, or SPACE:den-LABEL of surfaces, found "
                    f"{self.output_spaces!r}"
                )
            found[key] = label
        return found


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Settings from what the command line gave, over what `--config-file` holds.

    Raises SettingError with the option and the value where one makes no sense.
    """
    recorded: dict[str, Any] = {}
    if given.get("config_file"):
        recorded = read_toml(Path(given["config_file"]))
        for table in [
            name for name, value in recorded.items() if isinstance(value, dict) and name != "derivatives"
        ]:
            recorded |= recorded.pop(table)
    try:
        return Settings.model_validate({**recorded, **given})
    except ValidationError as error:
        raise SettingError(complaint(error, options=True)) from None


def settings_toml(settings: Settings) -> str:
    """The TOML that reproduces a run: `--config-file` reads it."""
    import tomli_w

    content = settings.model_dump(mode="json", exclude_none=True, exclude=_NOT_RECORDED)
    derivatives = content.pop("derivatives", {})
    return tomli_w.dumps({**content, "derivatives": derivatives})
