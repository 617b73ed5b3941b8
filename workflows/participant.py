"""The graph of one participant: BOLD and features in, maps, models and figures out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline import engine as pe

from cinebold.bold.atlases import atlas_files, atlas_label, table_beside
from workflows.clips import add_clip_responses, combine_clips, read_betas_node
from workflows.interfaces.bold import DefineTargets, PrepareResponses
from workflows.interfaces.design import BuildDesign
from workflows.interfaces.encoding import FitEncodingModel
from workflows.interfaces.figures import DrawParticipantFigures
from workflows.interfaces.sinks import StoreDerivatives
from workflows.interfaces.summary import SummariseParticipant
from workflows.resources import bounded, fit_gb, preparation_gb, voxel_tile_within
from workflows.specifications import Hardware, ParticipantAnalysis, Run, to_json
from workflows.stimuli import film_field


def films_of(run: Run) -> list[str]:
    """The names of a run's films, each once, in the order of their first showing."""
    return list(dict.fromkeys(p.film_name for p in run.presentations))


def init_participant_wf(
    analysis: ParticipantAnalysis, hardware: Hardware, *, progress: bool = False
) -> pe.Workflow:
    """Prepare each run, build its design, fit over all runs, store and draw.

    Inputs (`inputnode`): one field a film, named by `film_field`, with the list of its stored feature series.
    """
    workflow = pe.Workflow(name=f"sub_{analysis.participant}_wf")
    films = list(dict.fromkeys(name for run in analysis.runs for name in films_of(run)))
    inputnode = pe.Node(IdentityInterface(fields=[film_field(name) for name in films]), name="inputnode")
    threads = min(hardware.omp_nthreads, hardware.n_procs)
    n_runs = len(analysis.runs)

    targets = pe.Node(
        DefineTargets(
            n_runs=n_runs,
            preparation_json=to_json(analysis.bold),
            **_where_targets_are_read(analysis),
            **({"gm_probseg": analysis.runs[0].gm_probseg} if analysis.runs[0].gm_probseg else {}),
            **({} if analysis.bold.mask in ("gm", "brain", "none") else {"mask_file": analysis.bold.mask}),
            **_atlas_files(analysis),
        ),
        name="targets",
        mem_gb=bounded(0.5, hardware),
    )
    responses, designs, response_summaries, design_summaries = (
        pe.Node(Merge(n_runs), name=name, run_without_submitting=True)
        for name in ("responses", "designs", "response_summaries", "design_summaries")
    )
    for number, run in enumerate(analysis.runs, 1):
        prepare, design = _run_nodes(workflow, inputnode, targets, analysis, run, hardware, threads)
        source = add_clip_responses(workflow, analysis, run, prepare, design)
        workflow.connect(source, "responses", responses, f"in{number}")
        workflow.connect(prepare, "summary", response_summaries, f"in{number}")
        workflow.connect(design, "design", designs, f"in{number}")
        workflow.connect(design, "summary", design_summaries, f"in{number}")

    voxel_tile = voxel_tile_within(
        hardware.memory_mb, analysis.runs, analysis.bold, threads, analysis.encoding.voxel_tile
    )
    encoding = replace(analysis.encoding, voxel_tile=voxel_tile)
    fit = pe.Node(
        FitEncodingModel(
            settings_json=to_json(encoding),
            delays_s=list(analysis.delays_s),
            **({"atlas": atlas_label(analysis.bold.atlas)} if analysis.bold.atlas else {}),
            num_threads=threads,
            device=hardware.device,
            use_gpu=hardware.device.startswith("cuda"),
            progress=progress,
        ),
        name="fit",
        n_procs=threads,
        mem_gb=bounded(fit_gb(analysis.runs, analysis.bold, encoding.voxel_tile, threads), hardware),
    )
    fitted_responses, fitted_designs = combine_clips(workflow, analysis, responses, designs)
    summary = pe.Node(SummariseParticipant(analysis_json=to_json(analysis)), name="summary")
    figures = pe.Node(
        DrawParticipantFigures(
            q=analysis.encoding.q,
            name=Path(analysis.figures_prefix).name,
            spaces=[space.name for space in analysis.spaces],
            run_labels=[run.label for run in analysis.runs],
            trs_s=[run.tr_s for run in analysis.runs],
            **({"meshes": list(analysis.runs[0].meshes)} if analysis.runs[0].meshes else {}),
        ),
        name="figures",
        mem_gb=bounded(1.0, hardware),
    )
    workflow.connect(
        [
            (targets, fit, [("mask", "mask")]),
            (targets, summary, [("coverage", "coverage"), ("mask", "mask")]),
            (fitted_responses[0], fit, [(fitted_responses[1], "responses")]),
            (fitted_designs[0], fit, [(fitted_designs[1], "designs")]),
            (fitted_designs[0], figures, [(fitted_designs[1], "designs")]),
            (response_summaries, summary, [("out", "responses")]),
            (design_summaries, summary, [("out", "designs")]),
            (design_summaries, fit, [("out", "design_summaries")]),
            (fit, summary, [("diagnostics", "diagnostics"), ("maps", "maps"), ("model", "model")]),
            (fit, figures, [("maps", "maps"), ("model", "model"), ("diagnostics", "diagnostics")]),
            (design_summaries, figures, [("out", "design_summaries")]),
            (response_summaries, figures, [("out", "response_summaries")]),
        ]
    )
    _connect_sinks(workflow, analysis, fit, summary, figures)
    return workflow


def _where_targets_are_read(analysis: ParticipantAnalysis) -> dict[str, list[str]]:
    """The files that say which voxels, vertices or grayordinates there are."""
    first = analysis.runs[0]
    if first.geometry == "volume":
        return {"brain_masks": [str(run.brain_mask) for run in analysis.runs]}
    series = [first.bold, first.bold_right] if first.bold_right else [first.bold]
    return {"series": series, **({"cortex_masks": list(first.cortex_masks)} if first.cortex_masks else {})}


def _atlas_files(analysis: ParticipantAnalysis) -> dict[str, Any]:
    """The files of the atlas, with the table of its names where there is one."""
    atlas = analysis.bold.atlas
    if atlas is None:
        return {}
    table = table_beside(atlas)
    return {"atlas": atlas_files(atlas), **({"atlas_table": str(table)} if table else {})}


def _run_nodes(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    targets: pe.Node,
    analysis: ParticipantAnalysis,
    run: Run,
    hardware: Hardware,
    threads: int,
) -> tuple[pe.Node, pe.Node]:
    """The two nodes of a run: its responses and its design."""
    label = "".join(c if c.isalnum() else "_" for c in run.label)
    needed_gb = bounded(preparation_gb(run, analysis.bold), hardware)
    resources = {"name": f"prepare_{label}", "n_procs": threads, "mem_gb": needed_gb}
    memory_mb = int(1024 * needed_gb)
    if run.betas is not None:
        prepare = read_betas_node(analysis, run, memory_mb, **resources)
    else:
        prepare = pe.Node(
            PrepareResponses(
                bold=run.bold,
                **({"bold_right": run.bold_right} if run.bold_right else {}),
                **({"brain_mask": run.brain_mask} if run.brain_mask else {}),
                confounds=run.confounds,
                **({"extra_confounds": run.extra_confounds} if run.extra_confounds else {}),
                run_json=to_json(run),
                preparation_json=to_json(analysis.bold),
                memory_mb=memory_mb,
                num_threads=threads,
            ),
            **resources,
        )
    films = films_of(run)
    paths = {p.film_name: p.film for p in run.presentations}
    features = pe.Node(Merge(len(films)), name=f"features_{label}", run_without_submitting=True)
    for number, film in enumerate(films, 1):
        workflow.connect(inputnode, film_field(film), features, f"in{number}")
    design = pe.Node(
        BuildDesign(
            films=[paths[film] for film in films],
            spaces=[space.name for space in analysis.spaces],
            run_json=to_json(run),
            low_pass=analysis.low_pass,
            clips=analysis.bold.clips is not None,
        ),
        name=f"design_{label}",
        mem_gb=bounded(0.5, hardware),
    )
    workflow.connect(
        [
            (targets, prepare, [("mask", "mask")]),
            (prepare, design, [("keep", "keep"), ("nuisance", "nuisance")]),
            (features, design, [("out", "features")]),
        ]
    )
    return prepare, design


def _connect_sinks(
    workflow: pe.Workflow, analysis: ParticipantAnalysis, fit: pe.Node, summary: pe.Node, figures: pe.Node
) -> None:
    """Everything that leaves the graph, and under which name."""
    root = Path(analysis.output_dir)
    specific = json.dumps(analysis.stat_metadata)
    series_prefixes = [
        str(root / (run.design_prefix or analysis.prefix)) for run in analysis.runs for _ in analysis.spaces
    ]
    ds_maps = _sink("ds_maps", [str(root / analysis.prefix)], analysis.map_metadata, specific)
    ds_model = _sink("ds_model", [str(root / analysis.model_prefix)])
    ds_loadings = _sink("ds_loadings", [str(root / analysis.model_prefix)])
    own = {f"desc-{s.name}_timeseries.tsv": {"FeatureSpace": s.described()} for s in analysis.spaces}
    ds_timeseries = _sink("ds_timeseries", series_prefixes, _timeseries_metadata(analysis), json.dumps(own))
    ds_figures = _sink("ds_figures", [str((root / analysis.figures_prefix).parent)], separator="/")
    ds_summary = _sink("ds_summary", [str(root / analysis.figures_prefix)])
    if analysis.bold.atlas is not None:
        ds_parcels = _sink("ds_parcels", [str(root / analysis.prefix)], _parcel_table_metadata(analysis))
        workflow.connect(fit, "parcels", ds_parcels, "in_files")
    workflow.connect(
        [
            (fit, ds_maps, [("maps", "in_files")]),
            (fit, ds_model, [("model", "in_files")]),
            (fit, ds_loadings, [("loadings", "in_files")]),
            (figures, ds_figures, [("figures", "in_files")]),
            (summary, ds_summary, [("summary", "in_files")]),
        ]
    )
    if analysis.bold.clips is None:  # rows of clips are no time series
        workflow.connect(fit, "timeseries", ds_timeseries, "in_files")


def _sink(
    name: str,
    prefixes: list[str],
    sidecar: dict[str, Any] | None = None,
    specific_json: str = "{}",
    separator: str = "_",
) -> pe.Node:
    return pe.Node(
        StoreDerivatives(
            prefixes=prefixes,
            separator=separator,
            sidecar_json=json.dumps(sidecar or {}),
            specific_json=specific_json,
        ),
        name=name,
        run_without_submitting=True,
    )


def _parcel_table_metadata(analysis: ParticipantAnalysis) -> dict[str, Any]:
    return {
        "Description": "One row a parcel of the atlas: its label, its name, the number of targets that its response is "
        "the mean of, and the value of each map, n/a where there is none.",
        "Atlas": Path(str(analysis.bold.atlas)).name,
        **{stat: about for stat, about in analysis.stat_metadata.items() if not stat.endswith("_desc")},
    }


def _timeseries_metadata(analysis: ParticipantAnalysis) -> dict[str, Any]:
    first = analysis.runs[0]
    return {
        "Description": "Principal components of the film's features at the times of the volumes, before the delays; "
        "zero where no film was shown.",
        "SamplingFrequency": 1.0 / first.tr_s,
        "StartTime": first.tr_s / 2 if first.start_time_s is None else first.start_time_s,
    }
