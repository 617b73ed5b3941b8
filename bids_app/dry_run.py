"""The answer to `--dry-run`: what was found, and what would be done with it."""

from collections.abc import Sequence, Set
from pathlib import Path

from bids_app.config import Settings
from bids_app.fold_plan import planned_folds
from bids_app.plans import Plan
from bids_app.recipe import Recipe
from bids_app.recipe_tables import EncodingTable
from cinebold.encoding.settings import CrossValidation, EncodingSettings
from workflows.specifications import Hardware, ParticipantAnalysis

_MOST_NAMES = 6  #: of the runs or films of one fold


def describe_plan(plan: Plan, settings: Settings, recipe: Recipe, hardware: Hardware) -> str:
    """The resolved inputs as a table, the analysis, and what would be computed; nothing is written."""
    parts = [
        f"cinebold {settings.analysis_level}, recipe {recipe.name}",
        f"  input     {settings.bids_dir}",
        *([f"  fmriprep  {plan.fmriprep_dir}"] if plan.fmriprep_dir else []),
        f"  output    {settings.output_dir}",
        f"  work      {settings.work_dir}",
        f"  machine   {hardware.n_procs} processes, {hardware.omp_nthreads} threads a step, "
        f"{hardware.memory_mb} MB, device {hardware.device}",
        "",
        _analysis(recipe, {run.geometry for one in plan.analyses for run in one.runs}),
    ]
    if plan.analyses:
        parts += ["", _table(_RUN_COLUMNS, [row for a in plan.analyses for row in _run_rows(a)])]
        parts += ["", _table(_FOLD_COLUMNS, [row for a in plan.analyses for row in _fold_rows(a)])]
    if plan.extractions:
        rows = [
            (e.film_name, space.name, space.extractor, "stored" if Path(path).is_file() else "to compute")
            for e in plan.extractions
            for space, path in zip(e.spaces, e.outputs, strict=True)
        ]
        parts += ["", _table(("film", "feature space", "extractor", "state"), rows)]
    if plan.group is not None:
        rows = [(f"sub-{m.participant}", Path(m.r_map).name, len(m.weight_maps)) for m in plan.group.members]
        parts += ["", _table(("participant", "map of r", "weight maps"), rows)]
        if plan.group.missing:
            parts.append("missing: " + ", ".join(f"sub-{who}" for who in plan.group.missing))
    warnings = [*plan.warnings, *(text for a in plan.analyses for text in a.warnings)]
    problems = [f"{label}: {text}" for label, text in plan.problems.items()]
    if plan.missing_weights is not None:
        problems.insert(0, str(plan.missing_weights))
    notes = [*(f"warning: {text}" for text in warnings), *(f"problem: {text}" for text in problems)]
    parts += ["", *notes] if notes else []
    return "\n".join(
        [*parts, "", f"{len(plan.labels)} to run, {len(plan.problems)} with problems; nothing was written"]
    )


_RUN_COLUMNS = (
    "participant",
    "run",
    "volumes",
    "TR (s)",
    "start (s)",
    "films",
    "BOLD",
    "confounds",
    "GM map",
)


def _run_rows(analysis: ParticipantAnalysis) -> list[tuple[object, ...]]:
    return [
        (
            f"sub-{analysis.participant}",
            run.label,
            run.n_volumes,
            f"{run.tr_s:g}",
            "TR/2" if run.start_time_s is None else f"{run.start_time_s:g}",
            len(run.presentations),
            Path(run.bold).name,
            Path(run.confounds).name,
            "yes" if run.gm_probseg else "no",
        )
        for run in analysis.runs
    ]


_FOLD_COLUMNS = ("participant", "fold", "held out", "its films that other runs show too")


def _fold_rows(analysis: ParticipantAnalysis) -> list[tuple[object, ...]]:
    cross_validation = analysis.encoding.cross_validation
    return [
        (
            f"sub-{analysis.participant}",
            number,
            _listed(fold.held_out),
            f"{_listed(fold.shared)}: out of training" if fold.shared else "-",
        )
        for number, fold in enumerate(planned_folds(analysis.runs, cross_validation), 1)
    ]


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _analysis(recipe: Recipe, geometries: Set[str]) -> str:
    bold, design, encoding = recipe.bold, recipe.design, recipe.encoding
    grid = "the input's grid" if bold.resolution_mm is None else f"{bold.resolution_mm:g} mm"
    where, noun = f"mask {bold.mask}, {grid} ({bold.interpolation})", "voxels"
    if "surface" in geometries:
        where, noun = f"mask {bold.mask.replace('gm', 'cortex')}, both hemispheres", "vertices"
    elif "cifti" in geometries:
        where, noun = "CIFTI", "grayordinates"
    elif bold.smoothing_mm:
        where += f", smoothed with {bold.smoothing_mm:g} mm"
    if bold.atlas is not None:
        where, noun = f"{where}, parcels of {Path(bold.atlas).name}", "parcels"
    response = f"response {design.hrf}"
    if design.hrf == "none":
        delays = design.delays_s
        response = (
            f"delays {delays if delays == 'auto' else ', '.join(f'{delay:g}' for delay in delays) + ' s'}"
        )
    spaces = ", ".join(
        f"{table.space} ({table.extractor}{f', basis {Path(table.basis).name}' if table.basis else ''})"
        for table in recipe.features
    )
    pca = "none" if design.pca is None else f"{design.pca:g}"
    values = "z-scored" if bold.standardise else "as they are"
    test = "no test"
    if encoding.permutations:
        test = f"{encoding.permutations} permutations ({encoding.permutation_scheme})"
    extra = [
        words
        for wanted, words in (
            (encoding.variance_partitioning, "variance partitioning"),
            (encoding.layers, "layers"),
        )
        if wanted
    ]
    model = [_estimator(encoding), _scheme(encoding), test, f"FDR {encoding.fdr:g}", *extra]
    return "\n".join(
        [
            f"  features  {spaces}",
            f"  BOLD      {where}, confounds {bold.confounds_name}, high-pass {bold.high_pass_hz:g} Hz, "
            f"{noun} {values}",
            f"  design    {design.low_pass}, {response}, PCA {pca}, standardise {design.standardise}",
            f"  model     {', '.join(model)}",
        ]
    )


def _estimator(encoding: EncodingTable) -> str:
    if encoding.estimator == "elastic_net":
        return f"elastic_net (l1_ratio {encoding.l1_ratio or EncodingSettings.l1_ratio:g})"
    return encoding.estimator


def _scheme(encoding: EncodingTable) -> str:
    if encoding.cross_validation == "split":
        return f"split (tests on {', '.join(encoding.test_runs)})"
    if encoding.cross_validation == "leave-one-run-out":
        return encoding.cross_validation
    return f"{encoding.cross_validation} (at most {encoding.folds or CrossValidation.n_folds} folds)"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A plain table whose columns are as wide as they must be."""
    cells = [[str(value) for value in row] for row in (columns, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
    lines = [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
