"""From settings and datasets to specifications: what an analysis level is going to do, before anything is done."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bids_app import outputs
from bids_app.bases import Bases
from bids_app.config import Settings
from bids_app.exclusion import CheckedRuns, check_runs
from bids_app.film_files import FilmFiles
from bids_app.film_showings import ShownRun, runs_of_analyses
from bids_app.fold_plan import planned_folds
from bids_app.group_plan import group_analysis
from bids_app.inputs import (
    ParticipantInputs,
    Selection,
    collect_participant,
    collect_shown,
    find_fmriprep,
    find_participants,
    read_filters,
)
from bids_app.map_descriptions import grid_metadata, preparation_of, statistics_of
from bids_app.random_weights import random_parameters, random_spaces, random_warnings
from bids_app.recipe import Recipe
from cinebold.encoding.settings import CrossValidation
from cinebold.errors import InputError, MissingWeightsError, NothingSelectedError
from workflows.specifications import (
    FeatureExtraction,
    GroupAnalysis,
    ParticipantAnalysis,
    Run,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is going to be done. A label is what a failure is reported by: a participant, a film, or the group."""

    labels: tuple[str, ...]
    problems: dict[str, str] = field(default_factory=dict)  #: label -> why it is left out
    warnings: tuple[str, ...] = ()
    extractions: tuple[FeatureExtraction, ...] = ()
    shown: tuple[ShownRun, ...] = ()  #: the runs and their films
    analyses: tuple[ParticipantAnalysis, ...] = ()
    group: GroupAnalysis | None = None
    missing_weights: MissingWeightsError | None = (
        None  #: a network cannot run; found before any film is decoded
    )
    fmriprep_dir: Path | None = None


def make_plan(settings: Settings, recipe: Recipe) -> Plan:
    """The plan of the analysis level that was asked for. Reads names, tables and headers; writes nothing."""
    makers = {"stimuli": _plan_stimuli, "participant": _plan_participants, "group": _plan_group}
    return makers[settings.analysis_level](settings, recipe)


def _selection(settings: Settings) -> Selection:
    return Selection(
        participants=settings.participant_label,
        sessions=settings.session_label,
        tasks=settings.task_id,
        runs=settings.run_id,
        space=settings.space,
        resolution_entity=settings.input_resolution,
        density=settings.input_density,
        filters=read_filters(settings.bids_filter_file),
    )


def _plan_stimuli(settings: Settings, recipe: Recipe) -> Plan:
    selection = _selection(settings)
    participants = find_participants(settings.bids_dir, None, selection)
    shown = collect_shown(
        settings.bids_dir, participants, selection, settings.stimuli_dir, settings.stimulus_map
    )
    files, bases = FilmFiles(recipe), Bases(recipe)
    lacking = files.problems(str(film) for film, _ in shown.films)
    films = [(film, name) for film, name in shown.films if str(film) not in lacking]
    extractions = _extractions(films, settings, recipe, files, bases)
    missing_weights = _missing_weights(settings, recipe)
    return Plan(
        labels=tuple(extraction.film_name for extraction in extractions),
        problems={
            f"stimuli ({number})": text for number, text in enumerate([*shown.problems, *lacking.values()], 1)
        },
        warnings=(*random_warnings(random_spaces(settings, recipe)), *shown.warnings),
        extractions=extractions,
        shown=shown.runs,
        missing_weights=missing_weights,
    )


def _plan_participants(settings: Settings, recipe: Recipe) -> Plan:
    selection = _selection(settings)
    fmriprep_dir = find_fmriprep(settings.bids_dir, settings.derivatives)
    participants = find_participants(settings.bids_dir, fmriprep_dir, selection)
    analyses, problems, filtered, files, bases = [], {}, [], FilmFiles(recipe), Bases(recipe)
    for participant in participants:
        label = f"sub-{participant}"
        try:
            inputs = collect_participant(
                settings.bids_dir,
                fmriprep_dir,
                participant,
                selection,
                stimuli_dir=settings.stimuli_dir,
                stimulus_map=settings.stimulus_map,
                mask_kind=recipe.bold.mask,
                extra_confounds=recipe.bold.extra_confounds,
                betas=recipe.clips.betas,
                database_dir=settings.bids_database_dir,
            )
        except InputError as error:
            problems[label] = str(error).removeprefix(f"{label}: ")
            if isinstance(error, NothingSelectedError):
                filtered.append(error)
            continue
        checked = check_runs(inputs.runs, recipe.bold_preparation, recipe.bold)
        inputs = replace(inputs, runs=checked.runs)
        films = {p.film for run in inputs.runs for p in run.presentations}
        found = [*inputs.problems, *checked.problems, *files.problems(films).values()]
        if inputs.runs:
            cross_validation = recipe.encoding_settings(settings.random_seed).cross_validation
            found += _fold_problems(inputs.runs, cross_validation)
            found += bases.leaks(inputs.runs, cross_validation)
        if found:
            problems[label] = " ".join(
                text.removeprefix(f"{label}: ") for text in [*found, *checked.sentences]
            )
        elif checked.excluded and not inputs.runs:
            problems[label] = f"all runs are left out by rule: {' '.join(checked.sentences)}"
            filtered.append(NothingSelectedError(f"{label}: {problems[label]}"))
        elif len(inputs.runs) == 1 and recipe.encoding.cross_validation != "leave-one-stimulus-out":
            problems[label] = (
                f"{label} has one run only ({inputs.runs[0].label}): held-out scores need at least two runs, one to "
                "train on and one to test, or several films and --cross-validation leave-one-stimulus-out"
            )
            problems[label] = ". ".join([problems[label], *checked.sentences])
        elif inputs.runs:
            analyses.append(_participant_analysis(inputs, checked, settings, recipe))
    if filtered and len(filtered) == len(participants):
        raise filtered[0]
    shown = [p for analysis in analyses for run in analysis.runs for p in run.presentations]
    return Plan(
        labels=tuple(f"sub-{analysis.participant}" for analysis in analyses),
        problems=problems,
        warnings=random_warnings(random_spaces(settings, recipe)),
        extractions=_extractions({(p.film, p.film_name) for p in shown}, settings, recipe, files, bases),
        analyses=tuple(analyses),
        shown=runs_of_analyses(analyses),
        missing_weights=_missing_weights(settings, recipe),
        fmriprep_dir=fmriprep_dir,
    )


def _fold_problems(runs: Sequence[Run], cross_validation: CrossValidation) -> list[str]:
    """Why no folds can be made of the runs: told before anything runs, where names are enough to tell it."""
    if len(runs) < 2 and cross_validation.scheme != "leave-one-stimulus-out":
        return []
    try:
        planned_folds(runs, cross_validation)
    except InputError as error:
        return [str(error)]
    return []


def _participant_analysis(
    inputs: ParticipantInputs, checked: CheckedRuns, settings: Settings, recipe: Recipe
) -> ParticipantAnalysis:
    participant = inputs.participant
    runs = tuple(
        replace(run, design_prefix=outputs.run_prefix(participant, run, recipe.label)) for run in inputs.runs
    )
    resolution = outputs.resolution_label(recipe.bold.resolution_mm, runs)
    bold, remarks = preparation_of(runs, recipe.bold_preparation, settings.resolution)
    space = runs[0].entities.get("space", settings.space)
    name = outputs.analysis_prefix(participant, runs, space, resolution, recipe.label)
    encoding = recipe.encoding_settings(settings.random_seed)
    delays_s = recipe.delays_s(runs[0].tr_s)
    metadata: dict[str, Any] = {
        "TaskName": runs[0].entities.get("task"),
        **grid_metadata(runs, recipe.bold.resolution_mm),
        "Sources": sorted({uri for run in runs for uri in run.sources}),
        "ModelParameters": {
            "Recipe": recipe.name,
            "FeatureSpaces": [space.described() for space in recipe.feature_spaces],
            "Responses": bold.described(),
            "DelaysSeconds": list(delays_s),
            "LowPass": recipe.design.low_pass,
            "CrossValidation": encoding.cross_validation.scheme,
            **random_parameters(random_spaces(settings, recipe)),
            **asdict(encoding),
        },
    }
    return ParticipantAnalysis(
        participant=participant,
        space=space,
        resolution_label=resolution,
        recipe=recipe.label,
        runs=runs,
        spaces=recipe.feature_spaces,
        bold=bold,
        encoding=encoding,
        delays_s=delays_s,
        low_pass=recipe.design.low_pass,
        output_dir=str(settings.output_dir),
        prefix=f"{outputs.functional_folder(participant, runs)}/{name}",
        model_prefix=f"models/{name}",
        figures_prefix=f"sub-{participant}/figures/{name}",
        map_metadata=metadata,
        stat_metadata=statistics_of(outputs.STATISTICS, runs[0].geometry == "volume"),
        warnings=(
            *inputs.warnings,
            *(f"sub-{participant}: {text}" for text in (*remarks, *checked.sentences, *checked.warnings)),
        ),
        excluded=checked.excluded,
        input_versions={"fMRIPrep": inputs.fmriprep_version} if inputs.fmriprep_version else {},
        run_rules={
            name: value
            for name in ("max_fd_mm", "min_volumes")
            if (value := getattr(recipe.bold, name)) is not None
        },
    )


def _extractions(
    films: Iterable[tuple[str, str]], settings: Settings, recipe: Recipe, files: FilmFiles, bases: Bases
) -> tuple[FeatureExtraction, ...]:
    """One extraction a film, in the order of the films' names."""
    return tuple(
        FeatureExtraction(
            film=str(film),
            film_name=film_name,
            spaces=recipe.feature_spaces,
            outputs=tuple(
                str(settings.output_dir / outputs.feature_file(film_name, space))
                for space in recipe.feature_spaces
            ),
            weights_dir=str(settings.weights_dir) if settings.weights_dir else None,
            random_weights=settings.random_weights,
            seed=settings.random_seed,
            sources=(f"bids:raw:stimuli/{film_name}",),
            beside=(*files.identity(str(film)), *bases.identity),
        )
        for film, film_name in sorted(films, key=lambda pair: pair[1])
    )


def _missing_weights(settings: Settings, recipe: Recipe) -> MissingWeightsError | None:
    """What the first network that lacks its weights says of it."""
    from cinebold.features.registry import create_extractor

    for space in recipe.feature_spaces:
        try:
            create_extractor(
                space.extractor,
                space.parameters,
                weights_dir=str(settings.weights_dir) if settings.weights_dir else None,
                random_weights=settings.random_weights,
                seed=settings.random_seed,
                basis=space.basis,
            )
        except MissingWeightsError as error:
            return error
    return None


def _plan_group(settings: Settings, recipe: Recipe) -> Plan:
    group = group_analysis(settings, recipe, _selection(settings))
    return Plan(labels=("group",), group=group, warnings=random_warnings(group.random_spaces))
