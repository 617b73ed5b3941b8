"""The outermost graph of each analysis level."""

from collections.abc import Sequence
from pathlib import Path

from nipype.pipeline import engine as pe

from workflows.group import init_group_wf
from workflows.participant import films_of, init_participant_wf
from workflows.specifications import FeatureExtraction, GroupAnalysis, Hardware, ParticipantAnalysis
from workflows.stimuli import film_field, init_stimuli_wf


def init_cinebold_wf(
    work_dir: str | Path,
    hardware: Hardware,
    *,
    recipe: str,
    extractions: Sequence[FeatureExtraction] = (),
    analyses: Sequence[ParticipantAnalysis] = (),
    group: GroupAnalysis | None = None,
    progress: bool = False,
) -> pe.Workflow:
    """The films, then the participants that saw them; or the group."""
    workflow = pe.Workflow(name=f"cinebold_{recipe}_wf", base_dir=str(work_dir))
    if extractions:
        stimuli = init_stimuli_wf(extractions, hardware, progress=progress)
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


def graphs_of_film(film_name: str) -> list[str]:
    """The nodes whose failure is the failure of a film."""
    return [f"stimuli_wf.{film_field(film_name)}"]


def graphs_of_participant(analysis: ParticipantAnalysis) -> list[str]:
    """The graphs and nodes whose failure is the failure of a participant: its own, and its films'."""
    films = dict.fromkeys(name for run in analysis.runs for name in films_of(run))
    return [f"sub_{analysis.participant}_wf", *(node for film in films for node in graphs_of_film(film))]
