"""Analysis level -> plan -> graph -> reports -> exit code and a last summary."""

import logging
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_app import outputs
from bids_app.config import Settings, settings_toml
from bids_app.exit_codes import DONE, INVALID_INPUT, SOME_FAILED, USAGE
from bids_app.film_showings import film_figure_prefixes, write_showings
from bids_app.machine import hardware_of, read_plugin
from bids_app.plans import Plan, make_plan
from bids_app.recipe import Recipe, recipe_toml, resolve_recipe
from cinebold.errors import NothingSelectedError
from cinebold.files import write_text
from workflows.specifications import Hardware

_log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What the last summary says."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  #: label -> one sentence; failed while it ran
    refused: dict[str, str] = field(default_factory=dict)  #: label -> one sentence; never started
    n_computed: int | None = None  #: steps that ran now, in place of being kept from an earlier run
    notes: tuple[str, ...] = ()
    complaints: list[str] = field(default_factory=list)  #: what is missing beside the results


def run(settings: Settings) -> int:
    """Run one analysis level and return the exit code (see `bids_app.exit_codes`)."""
    recipe = resolve_recipe(settings)
    outputs.check_folders(settings.bids_dir, settings.output_dir, settings.work_dir)
    hardware = hardware_of(settings)
    plugin = read_plugin(settings.use_plugin)
    if settings.reports_only:
        return _close(settings, Outcome(done=_known_labels(settings)))

    plan = make_plan(settings, recipe)
    if plan.missing_weights is not None and not settings.dry_run:
        raise plan.missing_weights
    if settings.dry_run:
        from bids_app.dry_run import describe_plan

        print(describe_plan(plan, settings, recipe, hardware))
        if plan.missing_weights is not None:
            return USAGE
        return _code(Outcome(done=list(plan.labels), refused=plan.problems))
    if not plan.labels and not plan.problems:
        raise NothingSelectedError("the filters leave no run and no film")
    if not plan.labels or (settings.strict and plan.problems):
        return _close(settings, Outcome(refused=plan.problems), reports=False)
    for text in plan.warnings:
        _log.warning(text)

    if settings.clean_workdir:
        # Only what cinebold put there: the folder may hold other people's work.
        for folder in settings.work_dir.glob("cinebold_*_wf"):
            shutil.rmtree(folder)
    is_first = bool(plan.analyses) and outputs.claim_model_label(settings.output_dir, recipe)
    outputs.describe_dataset(settings.output_dir, settings.bids_dir, plan.fmriprep_dir)
    write_showings(settings.output_dir, plan.shown)
    outcome = _execute(plan, settings, recipe, hardware, plugin)
    outcome.refused = plan.problems
    if is_first and not outcome.done:
        outputs.release_model_label(settings.output_dir, recipe)
    if plan.group is not None and plan.group.missing:
        outcome.notes = ("missing: " + ", ".join(f"sub-{who}" for who in plan.group.missing),)
    return _close(settings, outcome)


def _execute(
    plan: Plan, settings: Settings, recipe: Recipe, hardware: Hardware, plugin: Mapping[str, Any] | None
) -> Outcome:
    """Build the graph, run it, and sort what happened by label."""
    # Nipype takes seconds to import: only now that there is something to run.
    from workflows.base import (
        graphs_of_film,
        graphs_of_film_figures,
        graphs_of_participant,
        init_cinebold_wf,
    )
    from workflows.execution import configure_nipype, run_graph

    if plan.analyses:
        graphs = {f"sub-{a.participant}": graphs_of_participant(a, plan.analyses) for a in plan.analyses}
    elif plan.group is not None:
        graphs = {"group": ["group_wf"]}
    else:
        graphs = {name: graphs_of_film(name) for name in plan.labels}
    folders = _log_folders(settings, recipe, list(graphs))

    def crash_folder(node: str) -> Path:
        owners = [label for label, names in graphs.items() if any(node.startswith(name) for name in names)]
        return folders.get(owners[0] if owners else "", next(iter(folders.values())))

    progress = sys.stderr.isatty() or settings.verbose > 0
    configure_nipype(settings.verbose)
    films = [extraction.film_name for extraction in plan.extractions]
    film_figures = film_figure_prefixes(settings.output_dir, films, recipe.label)
    workflow = init_cinebold_wf(
        settings.work_dir,
        hardware,
        recipe=recipe.label,
        extractions=plan.extractions,
        analyses=plan.analyses,
        group=plan.group,
        film_figures=film_figures,
        progress=progress,
    )
    execution = run_graph(
        workflow,
        hardware,
        crash_folder=crash_folder,
        plugin=plugin,
        stop_on_first_crash=settings.stop_on_first_crash,
        progress=progress,
    )
    outcome = Outcome(n_computed=len(execution.computed))
    for label, names in graphs.items():
        failure = execution.failure_of(names)
        if failure is None:
            outcome.done.append(label)
        else:
            outcome.failed[label] = f"{failure} (crash file in {folders[label]})"
    for film in film_figures:
        if failure := execution.failure_of(graphs_of_film_figures(film, plan.analyses)):
            outcome.complaints.append(f"the figures of {film} could not be drawn: {failure}")
    return outcome


def _log_folders(settings: Settings, recipe: Recipe, labels: Sequence[str]) -> dict[str, Path]:
    """logs/<label>/<identifier of this run>, with the settings that reproduce it. Films share one folder."""
    identifier = uuid.uuid4().hex[:12]
    root = settings.output_dir / "logs"
    shared = settings.analysis_level == "stimuli"
    folders = {label: root / ("stimuli" if shared else label) / identifier for label in labels}
    for folder in set(folders.values()):
        write_text(folder / "cinebold.toml", settings_toml(settings))
        write_text(folder / "recipe.toml", recipe_toml(recipe))
    return folders


def _known_labels(settings: Settings) -> list[str]:
    """What `--reports-only` can make pages of."""
    if settings.analysis_level != "participant":
        return [settings.analysis_level]
    found = sorted(path.parent.name for path in settings.output_dir.glob("sub-*/figures"))
    wanted = settings.participant_label
    return [label for label in found if wanted is None or label.removeprefix("sub-") in wanted]


def _close(settings: Settings, outcome: Outcome, reports: bool = True) -> int:
    """Write the pages, validate if asked, print the last summary."""
    pages, complaints = _write_reports(settings, outcome) if reports else ([], [])
    complaints = [*outcome.complaints, *complaints]
    if settings.validate_output:
        complaints += _validate(settings.output_dir)
    print(_summary(settings, outcome, pages, complaints), file=sys.stderr)
    code = _code(outcome)
    return SOME_FAILED if code == DONE and complaints else code


def _write_reports(settings: Settings, outcome: Outcome) -> tuple[list[Path], list[str]]:
    """The pages of this level. A page that cannot be made is a complaint, never a silent success."""
    from bids_app.report.citation import write_citation
    from bids_app.report.film_pages import write_stimuli_report
    from bids_app.report.pages import write_group_report, write_participant_report

    root = settings.output_dir
    films_alone = settings.analysis_level == "stimuli"
    pages: list[Path] = []
    complaints: list[str] = []
    bad = {**outcome.refused, **outcome.failed}
    films: list[Path] = []  # written first, as the other pages link to it
    if settings.analysis_level != "group" and (root / "stimuli").is_dir():
        problems = [f"{label}: {text}" for label, text in bad.items()] if films_alone else []
        try:
            films.append(write_stimuli_report(root, problems=[*problems, *outcome.complaints]))
        except Exception as error:
            _log.exception("the report of the films could not be written")
            complaints.append(f"the report of the films could not be written: {error}")
    for label in () if films_alone else (*outcome.done, *bad):
        problems = [bad[label]] if label in bad else []
        try:
            if label == "group":
                pages.append(write_group_report(root, problems=problems))
            elif label not in outcome.refused or (root / label).is_dir():
                pages.append(write_participant_report(root, label.removeprefix("sub-"), problems=problems))
        except Exception as error:  # the results are there; their page must not take them away
            _log.exception("the report of %s could not be written", label)
            complaints.append(f"the report of {label} could not be written: {error}")
    if pages:
        write_citation(root)
    return [*pages, *films], complaints


def _validate(output_dir: Path) -> list[str]:
    import subprocess
    import sysconfig

    command = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    if not command.is_file():
        return ["--validate-output needs the BIDS validator: pip install 'cinebold[validate]'"]
    result = subprocess.run(
        [command, output_dir, "--ignoreWarnings"], capture_output=True, text=True, check=False
    )
    return (
        []
        if result.returncode == 0
        else [f"the BIDS validator found errors in {output_dir}:\n{result.stdout}"]
    )


def _code(outcome: Outcome) -> int:
    if not outcome.failed and not outcome.refused:
        return DONE
    return SOME_FAILED if outcome.done or outcome.failed else INVALID_INPUT


def _summary(settings: Settings, outcome: Outcome, pages: Sequence[Path], complaints: Sequence[str]) -> str:
    lines = [
        f"cinebold {settings.analysis_level}: {len(outcome.done)} done, "
        f"{len(outcome.failed) + len(outcome.refused)} failed"
    ]
    if outcome.n_computed is not None:
        lines[0] += f"; {outcome.n_computed} steps computed, the others kept from earlier runs"
    lines += [f"  note     {text}" for text in outcome.notes]
    bad = {**outcome.refused, **outcome.failed}
    lines += [f"  failed   {label}: {reason}" for label, reason in bad.items()]
    lines += [f"  report   {page}" for page in pages]
    lines += [f"  problem  {text}" for text in complaints]
    return "\n".join(lines)
