"""The part of a participant's graph that turns volumes into one response a clip; nothing where volumes are fitted."""

from typing import Any

from nipype.pipeline import engine as pe

from workflows.interfaces.clips import CombineClips, EstimateClipResponses, ReadClipResponses
from workflows.specifications import ParticipantAnalysis, Run, to_json


def add_clip_responses(
    workflow: pe.Workflow, analysis: ParticipantAnalysis, run: Run, prepare: pe.Node, design: pe.Node
) -> pe.Node:
    """The node whose `responses` are fitted: the run's volumes, or its clips."""
    if analysis.bold.clips is None or run.betas is not None:
        return prepare
    label = "".join(c if c.isalnum() else "_" for c in run.label)
    estimate = pe.Node(
        EstimateClipResponses(run_json=to_json(run), clips_json=to_json(analysis.bold.clips)),
        name=f"clips_{label}",
        mem_gb=prepare.mem_gb,
    )
    fields = [(name, name) for name in ("responses", "keep", "nuisance")]
    workflow.connect([(prepare, estimate, fields), (design, estimate, [("summary", "design_summary")])])
    return estimate


def read_betas_node(analysis: ParticipantAnalysis, run: Run, memory_mb: int, **resources: Any) -> pe.Node:
    """The node that stands in for the preparation of a run whose responses were made elsewhere."""
    return pe.Node(
        ReadClipResponses(
            betas=run.betas,
            run_json=to_json(run),
            interpolation=analysis.bold.interpolation,
            **({"smoothing_mm": analysis.bold.smoothing_mm} if analysis.bold.smoothing_mm else {}),
            memory_mb=memory_mb,
        ),
        **resources,
    )


def combine_clips(
    workflow: pe.Workflow, analysis: ParticipantAnalysis, responses: pe.Node, designs: pe.Node
) -> tuple[tuple[pe.Node, str], tuple[pe.Node, str]]:
    """Node and field of the responses and of the designs of all runs that are fitted."""
    if analysis.bold.clips is None:
        return (responses, "out"), (designs, "out")
    combine = pe.Node(
        CombineClips(
            runs_json=[to_json(run) for run in analysis.runs],
            clips_json=to_json(analysis.bold.clips),
            cross_validation_json=to_json(analysis.encoding.cross_validation),
        ),
        name="combine_clips",
    )
    workflow.connect([(responses, combine, [("out", "responses")]), (designs, combine, [("out", "designs")])])
    return (combine, "responses"), (combine, "designs")
