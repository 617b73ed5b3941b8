"""Names, sidecars and the description of the derivative dataset: the one place where outputs get their names."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_app.map_descriptions import GROUP_STATISTICS, STATISTICS  # noqa: F401 (for those who write maps)
from bids_app.recipe import Recipe, first_difference, load_recipe, recipe_toml
from bids_app.spaces import is_surface
from cinebold import __version__
from cinebold.bold.maps import MAP_EXTENSIONS
from cinebold.bold.surfaces import hemisphere_name
from cinebold.errors import InputError, SettingError
from cinebold.files import read_json, write_json, write_text
from workflows.specifications import FeatureSpace, GroupMember, Run

_IGNORED = (
    "*.html", "figures", "**/figures", "*_statmap.*", "*_timeseries.*", "*_stats.*", "*.h5", "models", "models/**",
    "tpl-*/",
)  # fmt: skip

_README = """# cinebold

Voxelwise encoding models of films, made by cinebold {version} from a raw BIDS dataset and its fMRIPrep derivatives.

- `sub-<label>.html` and `group.html`: the reports; begin here
- `stimuli.html`: the report of the films
- `sub-<label>/func/`: maps (`_statmap.nii.gz`) and the film's features at the times of the volumes (`_timeseries.tsv`)
- `models/`: fitted models (safetensors, a JSON card beside each) and the loadings of their components
- `stimuli/`: features of the films, independent of the participants
- `tpl-<space>/func/`: maps of the group level
- `logs/`: methods text, settings that reproduce each run, crash files
"""


def check_folders(bids_dir: Path, output_dir: Path, work_dir: Path) -> None:
    """Refuse folders that would mix inputs with results, or that cannot be written."""
    if output_dir == bids_dir:
        raise SettingError(f"the output folder must not be the input dataset itself: {output_dir}")
    if work_dir == bids_dir or (
        bids_dir in work_dir.parents and output_dir not in (work_dir, *work_dir.parents)
    ):
        raise SettingError(
            f"the work folder {work_dir} lies inside the input dataset; name another with --work-dir"
        )
    for what, folder in (("output", output_dir), ("work", work_dir)):
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise SettingError(
                f"the {what} folder {folder} cannot be written: check the permissions of {existing}"
            )


def describe_dataset(output_dir: Path, bids_dir: Path, fmriprep_dir: Path | None) -> None:
    """Write dataset_description.json, README.md and .bidsignore where they are missing or out of date."""
    links = {"raw": _link(bids_dir, output_dir)}
    if fmriprep_dir is not None:
        links["fmriprep"] = _link(fmriprep_dir, output_dir)
    description = output_dir / "dataset_description.json"
    if description.is_file():
        # The stimuli and group levels read no fMRIPrep output: what another level wrote stays.
        links = read_json(description).get("DatasetLinks", {}) | links
    content = {
        "Name": "cinebold: encoding models of films",
        "BIDSVersion": "1.11.1",
        "DatasetType": "derivative",
        "License": _license(bids_dir),
        "GeneratedBy": [{"Name": "cinebold", "Version": __version__, **_container()}],
        "SourceDatasets": _sources(bids_dir),
        "DatasetLinks": links,
    }
    content = {key: value for key, value in content.items() if value}
    if not description.is_file() or read_json(description) != content:
        write_json(description, content)
    for name, text in (
        ("README.md", _README.format(version=__version__)),
        (".bidsignore", "\n".join(_IGNORED) + "\n"),
    ):
        path = output_dir / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def claim_model_label(output_dir: Path, recipe: Recipe) -> bool:
    """Keep the recipe beside the models that it makes; refuse to mix two analyses under one name.

    Returns whether the name was free. Raises SettingError when the folder holds results of the same `model-` label
    that were made with other settings.
    """
    path = _claim(output_dir, recipe)
    if path.is_file():
        difference = first_difference(load_recipe(str(path)), recipe)
        if difference:
            raise SettingError(
                f"{output_dir} holds results of model-{recipe.label} that were made with other settings "
                f"({difference}): give this analysis a name of its own with --model-label, or another output folder"
            )
        return False
    write_text(path, recipe_toml(recipe))
    return True


def release_model_label(output_dir: Path, recipe: Recipe) -> None:
    """Free the name that was claimed by an analysis of which nothing has come out: another try may change settings."""
    results = f"*_model-{recipe.label}_*"
    if not any(any(output_dir.glob(f"{folder}/**/{results}")) for folder in ("sub-*", "tpl-*")):
        _claim(output_dir, recipe).unlink(missing_ok=True)


def _claim(output_dir: Path, recipe: Recipe) -> Path:
    return output_dir / "models" / f"model-{recipe.label}_recipe.toml"


def _link(dataset: Path, output_dir: Path) -> str:
    """A dataset's place relative to the output, which outlives a container's mount points better than a full path."""
    return Path(os.path.relpath(dataset, output_dir)).as_posix()


def _container() -> dict[str, Any]:
    tag = os.environ.get("CINEBOLD_CONTAINER_TAG")
    kind = (
        "apptainer"
        if "APPTAINER_CONTAINER" in os.environ or "SINGULARITY_CONTAINER" in os.environ
        else "docker"
    )
    return {"Container": {"Type": kind, "Tag": tag}} if tag else {}


def _raw_description(bids_dir: Path) -> dict[str, Any]:
    path = bids_dir / "dataset_description.json"
    return read_json(path) if path.is_file() else {}


def _license(bids_dir: Path) -> str:
    return str(_raw_description(bids_dir).get("License", ""))


def _sources(bids_dir: Path) -> list[dict[str, str]]:
    doi = _raw_description(bids_dir).get("DatasetDOI")
    return [{"DOI": str(doi)}] if doi else []


def entity_name(entities: Mapping[str, str], order: Sequence[str]) -> str:
    """`key-label` pairs in BIDS order; keys that are missing are left out.

    >>> entity_name({"task": "movie", "sub": "01"}, ("sub", "ses", "task"))
    'sub-01_task-movie'
    """
    return "_".join(f"{key}-{entities[key]}" for key in order if entities.get(key))


_ORDER = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")


def resolution_label(resolution_mm: float | None, runs: Sequence[Run]) -> str:
    """The `res-` label of the outputs: the voxel size, or that of the input; none of surfaces and grayordinates.

    >>> resolution_label(3.0, ()), resolution_label(2.5, ())
    ('3mm', '2p5mm')
    """
    if any(run.geometry != "volume" for run in runs):
        return ""
    if resolution_mm is not None:
        return f"{resolution_mm:g}mm".replace(".", "p")
    labels = {run.entities.get("res", "native") for run in runs}
    return labels.pop() if len(labels) == 1 else "native"


def analysis_prefix(participant: str, runs: Sequence[Run], space: str, resolution: str, recipe: str) -> str:
    """The name of everything that is about all of a participant's runs: the entities that the runs share.

    Maps of surfaces have `hemi-` before `space-` besides.
    """
    shared = {
        key: labels.pop()
        for key in _ORDER
        if key != "run" and len(labels := {run.entities.get(key, "") for run in runs}) == 1
    }
    name = entity_name(shared | {"sub": participant}, _ORDER)
    density = runs[0].entities.get("den")
    modifiers = (f"_res-{resolution}" if resolution else "") + (f"_den-{density}" if density else "")
    return f"{name}_space-{space}{modifiers}_model-{recipe}"


def run_prefix(participant: str, run: Run, recipe: str) -> str:
    """The name of what belongs to one run."""
    name = entity_name({**run.entities, "sub": participant}, _ORDER)
    folder = f"sub-{participant}/" + (f"ses-{run.entities['ses']}/" if run.entities.get("ses") else "")
    return f"{folder}func/{name}_model-{recipe}"


def functional_folder(participant: str, runs: Sequence[Run]) -> str:
    """The folder of a participant's maps: below the session where all runs are of one."""
    sessions = {run.entities.get("ses", "") for run in runs}
    session = sessions.pop() if len(sessions) == 1 else ""
    return f"sub-{participant}/" + (f"ses-{session}/" if session else "") + "func"


def feature_file(film_name: str, space: FeatureSpace) -> str:
    """Where a film's features are stored, relative to the output folder.

    >>> feature_file("clips/a.mp4", FeatureSpace("lowlevel", "low_level"))
    'stimuli/clips/a.mp4_desc-lowlevel_features.h5'
    """
    return f"stimuli/{film_name}_desc-{space.name}_features.h5"


def finished_participants(
    output_dir: Path, recipe: str, space: str, resolution: str | None, density: str | None = None
) -> dict[str, list[Path]]:
    """The model cards that the participant level left, by participant.

    No resolution: those on the input's grid. No density: any; surfaces and grayordinates have no resolution.
    """
    ending = f"_model-{recipe}_encoding.json"
    found: dict[str, list[Path]] = {}
    for card in sorted((output_dir / "models").glob(f"sub-*{ending}")):
        entities = dict(part.partition("-")[::2] for part in card.name.removesuffix(ending).split("_"))
        if "res" in entities:
            own_grid = re.fullmatch(r"\d+(p\d+)?mm", entities["res"]) is None
            fits = entities["res"] == resolution if resolution is not None else own_grid
            fits = fits and entities.get("space") == space and density is None
        else:
            fits = is_surface(entities.get("space"), entities.get("den"), space, density)
        if fits:
            found.setdefault(entities["sub"], []).append(card)
    return found


def maps_beside(card: Path, output_dir: Path, statistic: str) -> list[Path]:
    """The maps of a participant's model by what stands behind `stat-` (a pattern); the left one of two hemispheres."""
    name = card.name.removesuffix("_encoding.json")
    participant = name.partition("_")[0]
    return sorted(
        path
        for extension in MAP_EXTENSIONS
        for path in output_dir.glob(
            f"{participant}/**/func/"
            + (hemisphere_name(name, "L") if extension == ".func.gii" else name)
            + f"_stat-{statistic}_statmap{extension}"
        )
    )


def one_card(cards: Iterable[Path], participant: str) -> Path:
    """The only model card of a participant; several are an error that lists them."""
    candidates = sorted(cards)
    if len(candidates) != 1:
        names = ", ".join(card.name for card in candidates)
        raise InputError(
            f"sub-{participant} has {len(candidates)} models that fit ({names}): narrow them with --task-id, "
            "--session-label, --resolution or the density of --output-spaces"
        )
    return candidates[0]


def group_name(members: Sequence[GroupMember]) -> str:
    """The entities that all members' maps share, without participant, session and statistic.

    >>> names = [f"sub-{i}_task-film_space-M_res-3mm_model-a_stat-r_statmap.nii.gz" for i in (1, 2)]
    >>> group_name([GroupMember(str(i), name, "", {}) for i, name in enumerate(names)])
    'task-film_res-3mm_model-a'
    """
    each = [Path(member.r_map).name.partition("_statmap.")[0].split("_") for member in members]
    left_out = ("sub-", "ses-", "hemi-", "space-", "stat-")
    return "_".join(
        part for part in each[0] if not part.startswith(left_out) and all(part in name for name in each)
    )


def own_uri(output_dir: Path, path: str) -> str:
    """The BIDS URI of a file of the output dataset itself."""
    return f"bids::{Path(path).relative_to(output_dir).as_posix()}"
