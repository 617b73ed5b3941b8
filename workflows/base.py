"""The outermost graph of each analysis level."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from nipype.pipeline import engine as pe

from workflows.group import init_group_wf
from workflows.participant import films_of, init_participant_wf
from workflows.specifications import FeatureExtraction, GroupAnalysis, Hardware, ParticipantAnalysis
from workflows.stimuli import drawing_node, film_field, init_stimuli_wf


def init_cinebold_wf(
    work_dir: str | Path,
    hardware: Hardware,
    *,
    recipe: str,
    extractions: Sequence[FeatureExtraction] = (),
    analyses: Sequence[ParticipantAnalysis] = (),
    group: GroupAnalysis | None = None,
    film_figures: Mapping[str, str] | None = None,
    progress: bool = False,
) -> pe.Workflow:
    """The films, then the participants that saw them; or the group. `film_figures`: see `init_stimuli_wf`."""
    workflow = pe.Workflow(name=f"cinebold_{recipe}_wf", base_dir=str(work_dir))
    if extractions:
        stimuli = init_stimuli_wf(
            extractions,
            hardware,
            progress=progress,
            recipe=recipe,
            figures=film_figures,
            name=_stimuli_name(analyses),
        )
        workflow.add_nodes([stimuli])
    for analysis in analyses:
        participant = init_participant_wf(analysis, hardware, progress=progress)
        fields = dict.fromkeys(film_field(name) for run in analysis.runs for name in films_of(run))
        workflow.connect(
            [(stimuli, participant, [(f"outputnode.{name}", f"inputnode.{name}") for name in fields])]
        )
    if group is not None:
        workflow.add_nodes([init_group_wf(group, hardware)])
    return workflow


def _stimuli_name(analyses: Sequence[ParticipantAnalysis]) -> str:
    """A folder of its own for each set of participants: jobs that share a work directory do not meet there."""
    if not analyses:
        return "stimuli_wf"
    labels = " ".join(sorted(analysis.participant for analysis in analyses))
    return f"stimuli_{hashlib.sha256(labels.encode()).hexdigest()[:8]}_wf"


def graphs_of_film(film_name: str, analyses: Sequence[ParticipantAnalysis] = ()) -> list[str]:
    """The nodes whose failure is the failure of a film, in the graph of these analyses."""
    return [f"{_stimuli_name(analyses)}.{film_field(film_name)}"]


def graphs_of_film_figures(film_name: str, analyses: Sequence[ParticipantAnalysis] = ()) -> list[str]:
    """The node whose failure is that of a film's figures alone."""
    return [f"{_stimuli_name(analyses)}.{drawing_node(film_name)}"]


def graphs_of_participant(
    analysis: ParticipantAnalysis, analyses: Sequence[ParticipantAnalysis]
) -> list[str]:
    """The graphs and nodes whose failure is the failure of a participant: its own, and its films'."""
    films = dict.fromkeys(name for run in analysis.runs for name in films_of(run))
    nodes = [node for film in films for node in graphs_of_film(film, analyses)]
    return [f"sub_{analysis.participant}_wf", *nodes]
