"""From a BIDS dataset and its fMRIPrep derivatives to a participant's runs: one file of each kind.

What is wrong with a participant is collected, a full sentence for each thing, so that other
participants go on and the user sees everything at once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_app.datasets import check_raw_dataset, find_fmriprep, fmriprep_version, version_warning
from bids_app.diagnosis import explain_missing_bold
from bids_app.events import read_stimulus_map
from bids_app.film_showings import ShownRun
from bids_app.layouts import IMAGE_EXTENSIONS, BidsFile, index_files, only, run_label
from bids_app.run_files import RunSource, is_preprocessed_bold
from bids_app.selection import Selection, find_participants, read_filters
from bids_app.showings import Showings
from bids_app.stimuli import FilmSearch, describe_skipped
from bids_app.surface_files import without_right
from cinebold.errors import InputError, NothingSelectedError
from workflows.specifications import Run

__all__ = [
    "ParticipantInputs",
    "Selection",
    "collect_films",
    "collect_participant",
    "collect_shown",
    "find_fmriprep",
    "find_participants",
    "fmriprep_version",
    "read_filters",
    "version_warning",
]


@dataclass(frozen=True)
class ParticipantInputs:
    """The runs of one participant, and what was found on the way."""

    participant: str
    runs: tuple[Run, ...]
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()  #: full sentences; a participant with any is not to be analysed
    resolution_entity: str | None = (
        None  #: `res` of the BOLD images; None: they have none, or not all the same
    )
    fmriprep_version: str | None = None

    @property
    def n_runs(self) -> int:
        """How many runs could be read."""
        return len(self.runs)


def collect_participant(
    bids_dir: str | Path,
    fmriprep_dir: str | Path,
    participant: str,
    selection: Selection,
    *,
    stimuli_dir: str | Path | None = None,
    stimulus_map: str | Path | None = None,
    mask_kind: str = "gm",
    extra_confounds: str | None = None,
    betas: str | None = None,
    database_dir: str | Path | None = None,
) -> ParticipantInputs:
    """Everything that belongs to one participant's runs.

    Parameters
    ----------
    participant : label without "sub-".
    mask_kind : "gm" asks for the grey matter map of volumes; "brain" or the path of an image do not.
    extra_confounds : pattern of the runs' further tables, see `confounds_files.file_of_run`.
    betas : pattern of the runs' responses of clips, see `beta_files.betas_of_run`; None: they are made of the series.
    database_dir : see `layouts.index_files`.

    Raises
    ------
    InputError, SettingError : what concerns the whole dataset or the command line. What concerns the
        participant is in `problems`.
    NothingSelectedError : the filters leave none of the participant's runs
    """
    bids_dir, fmriprep_dir = check_raw_dataset(bids_dir), Path(fmriprep_dir).absolute()
    mapped = read_stimulus_map(stimulus_map) if stimulus_map is not None else ()
    search = FilmSearch(bids_dir, None if stimuli_dir is None else Path(stimuli_dir))
    subject = f"sub-{participant}"
    for folder, what in ((bids_dir, "the raw dataset"), (fmriprep_dir, "the fMRIPrep derivatives")):
        if not (folder / subject).is_dir():
            problem = (
                f"{subject}: there is no folder {subject} in {what} {folder}; add it, or leave this "
                "participant out with --participant-label."
            )
            return ParticipantInputs(participant, (), problems=(problem,))

    raw = index_files(bids_dir, [participant], database_dir=database_dir)
    derived = index_files(fmriprep_dir, [participant], database_dir=database_dir)
    groups = defaultdict(list)
    for file in derived:
        if is_preprocessed_bold(file) and selection.has_space(file) and selection.has_run(file):
            groups[file.run_key].append(file)
    if not groups:
        problem = f"{subject}: {explain_missing_bold(fmriprep_dir, derived, selection)}"
        if any(is_preprocessed_bold(file) and selection.has_space(file) for file in derived):
            raise NothingSelectedError(problem)
        return ParticipantInputs(participant, (), problems=(problem,))

    showings = Showings(bids_dir, raw, mapped, search)
    source = RunSource(fmriprep_dir, derived, showings, mask_kind == "gm", extra_confounds, betas)
    candidates = sorted(groups.values(), key=lambda files: _run_order(files[0]))
    left_out, remark = _tasks_to_leave_out([files[0] for files in candidates], showings, selection)
    warnings = [*_unmatched(groups, raw, derived, selection), *remark]
    version = fmriprep_version(fmriprep_dir)
    if fault := version_warning(version):
        warnings.append(fault)
    runs, problems = [], []
    for files in candidates:
        label = run_label(files[0])
        if files[0].entities.get("task") in left_out:
            continue
        try:
            series = only(without_right(files), "preprocessed BOLD image", _RESOLUTION_REMEDY)
            run, remarks = source.run(series)
        except InputError as error:
            problems.append(f"{label}: {error}")
        else:
            runs.append(run)
            warnings.extend(f"{label}: {text}" for text in remarks)
    problems.extend(search.problems)
    warnings.extend(_about_films(search))
    resolutions = {file.entities.get("res") for files in candidates for file in files}
    return ParticipantInputs(
        participant,
        tuple(runs),
        tuple(f"{subject}: {text}" for text in dict.fromkeys(warnings)),
        tuple(f"{subject}: {text}" for text in dict.fromkeys(problems)),
        resolutions.pop() if len(resolutions) == 1 else None,
        version,
    )


@dataclass(frozen=True)
class ShownFilms:
    """What the raw events of a dataset show."""

    runs: tuple[ShownRun, ...]
    problems: tuple[str, ...]  #: full sentences
    warnings: tuple[str, ...]

    @property
    def films(self) -> tuple[tuple[str, str], ...]:
        """Path and name of each film, sorted by name."""
        paths = {one.film_name: one.film for run in self.runs for one in run.presentations}
        return tuple((paths[name], name) for name in sorted(paths))


def collect_films(
    bids_dir: str | Path,
    participants: Sequence[str],
    selection: Selection,
    stimuli_dir: str | Path | None = None,
    stimulus_map: str | Path | None = None,
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...], tuple[str, ...]]:
    """The films that the raw events of the participants name; no derivatives are needed.

    Returns
    -------
    films : (path, film name) of each film, sorted by name.
    problems, warnings : full sentences.
    """
    shown = collect_shown(bids_dir, participants, selection, stimuli_dir, stimulus_map)
    return shown.films, shown.problems, shown.warnings


def collect_shown(
    bids_dir: str | Path,
    participants: Sequence[str],
    selection: Selection,
    stimuli_dir: str | Path | None = None,
    stimulus_map: str | Path | None = None,
) -> ShownFilms:
    """What the raw events of the participants show, run by run; no derivatives are needed."""
    bids_dir = check_raw_dataset(bids_dir)
    mapped = read_stimulus_map(stimulus_map) if stimulus_map is not None else ()
    search = FilmSearch(bids_dir, None if stimuli_dir is None else Path(stimuli_dir))
    raw = index_files(bids_dir, participants)
    showings = Showings(bids_dir, raw, mapped, search)
    files = {file.run_key: file for file in raw if _tells_of_run(file) and selection.has_run(file)}
    ordered = sorted(files.values(), key=lambda file: (file.entities["sub"], _run_order(file)))
    left_out, warnings = _tasks_to_leave_out(ordered, showings, selection)
    problems, runs = [], []
    if not files:
        raise NothingSelectedError(
            f"no run in the raw dataset {bids_dir} fits the filters ({selection.describe_runs()}); "
            "correct them."
        )
    for file in ordered:
        if file.entities.get("task") in left_out:
            continue
        try:
            shown = showings.of_run(file)
        except InputError as error:
            problems.append(f"sub-{file.entities['sub']}: {run_label(file)}: {error}")
        else:
            runs.append(ShownRun(file.entities["sub"], run_label(file), shown.presentations))
            warnings.extend(shown.warnings)
    problems.extend(search.problems)
    warnings.extend(_about_films(search))
    return ShownFilms(tuple(runs), tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


_RESOLUTION_REMEDY = (
    "choose one with `--output-spaces SPACE:res-RES` (res-native: the one without `res`), of surfaces and "
    "grayordinates with SPACE:den-DEN"
)


def _tasks_to_leave_out(
    runs: Sequence[BidsFile], showings: Showings, selection: Selection
) -> tuple[set[str], list[str]]:
    """The tasks without films, and a warning that says so; never a task that was asked for by its name."""
    tasks = showings.tasks_without_film(runs) if selection.tasks is None else set()
    if not tasks:
        return set(), []
    return tasks, [f"no run of the task {', '.join(sorted(tasks))} shows a film; these runs are left out."]


def _about_films(search: FilmSearch) -> list[str]:
    skipped = describe_skipped(search.skipped)
    return [*search.warnings, *([skipped] if skipped else [])]


def _unmatched(
    groups: Mapping[Any, list[BidsFile]],
    raw: tuple[BidsFile, ...],
    derived: tuple[BidsFile, ...],
    selection: Selection,
) -> Iterable[str]:
    """Warnings: labels that were asked for and lead to no run; runs without a preprocessed image in the space."""
    for option, key, labels in selection.requested():
        for label in labels:
            if not any(files[0].has(**{key: label}) for files in groups.values()):
                yield f"no run has {key}-{label}, which was asked for with {option}."
    elsewhere = {
        file.run_key: run_label(file)
        for file in derived
        if is_preprocessed_bold(file) and selection.has_run(file) and file.run_key not in groups
    }
    not_preprocessed = {
        file.run_key: run_label(file)
        for file in raw
        if file.suffix == "bold" and file.extension in IMAGE_EXTENSIONS and selection.has_run(file)
    }
    for labels, which in (
        (elsewhere, "of the preprocessed runs have a BOLD image in another space or resolution only"),
        (
            {k: v for k, v in not_preprocessed.items() if k not in groups and k not in elsewhere},
            "of the raw runs have no preprocessed BOLD image in the space that was chosen",
        ),
    ):
        if labels:
            yield f"{len(labels)} {which} and are left out ({', '.join(sorted(labels.values()))})."


def _tells_of_run(file: BidsFile) -> bool:
    """Whether a raw file shows that there is a run, be its image here or not."""
    if "sub" not in file.entities:
        return False
    if file.suffix == "events":
        return file.extension == ".tsv"
    return file.suffix == "bold" and file.extension in (*IMAGE_EXTENSIONS, ".json")


def _run_order(file: BidsFile) -> tuple[tuple[int, str], ...]:
    """Sessions, then tasks, then the other entities, runs last; numbers by their value.

    >>> from bids_app.layouts import parse_name
    >>> second, tenth = parse_name("sub-1_task-a_run-2_bold.nii"), parse_name("sub-1_task-a_run-10_bold.nii")
    >>> _run_order(second) < _run_order(tenth)
    True
    """
    values = [file.entities.get(key, "") for key in ("ses", "task", "acq", "ce", "rec", "dir", "run")]
    return tuple((int(value) if value.isdecimal() else -1, value) for value in values)
