"""The graph of the group level."""

import json
from pathlib import Path

from nipype.pipeline import engine as pe

from cinebold.bold.maps import map_files
from workflows.interfaces.figures import DrawGroupFigures
from workflows.interfaces.group import CompareParticipants
from workflows.interfaces.sinks import StoreDerivatives
from workflows.resources import bounded
from workflows.specifications import GroupAnalysis, Hardware, to_json


def init_group_wf(group: GroupAnalysis, hardware: Hardware) -> pe.Workflow:
    """Test across participants, store and draw. It reads what the participant level wrote, nothing else."""
    workflow = pe.Workflow(name="group_wf")
    test = pe.Node(
        CompareParticipants(
            group_json=to_json(group),
            r_maps=[path for member in group.members for path in map_files(member.r_map)],
            weight_maps=[
                path
                for member in group.members
                for stored in member.weight_maps.values()
                for path in map_files(stored)
            ],
            models=[member.model_card for member in group.members],
            num_threads=min(hardware.omp_nthreads, hardware.n_procs),
        ),
        name="test",
        n_procs=min(hardware.omp_nthreads, hardware.n_procs),
        mem_gb=bounded(2.0, hardware),
    )
    figures = pe.Node(
        DrawGroupFigures(
            q=group.q,
            name=Path(group.figures_prefix).name,
            n_participants=len(group.members),
            **({"meshes": list(group.meshes)} if group.meshes else {}),
        ),
        name="figures",
        mem_gb=bounded(1.0, hardware),
    )
    root = Path(group.output_dir)
    ds_maps, ds_figures, ds_summary = (
        pe.Node(
            StoreDerivatives(
                prefixes=[str(root / prefix)],
                separator="/" if name == "ds_figures" else "_",
                sidecar_json=json.dumps(sidecar),
                specific_json=json.dumps(group.stat_metadata),
            ),
            name=name,
            run_without_submitting=True,
        )
        for name, prefix, sidecar in (
            ("ds_maps", group.prefix, group.map_metadata),
            ("ds_figures", Path(group.figures_prefix).parent, {}),
            ("ds_summary", group.figures_prefix, {}),
        )
    )
    workflow.connect(
        [
            (test, figures, [("maps", "maps")]),
            (test, ds_maps, [("maps", "in_files")]),
            (test, ds_summary, [("summary", "in_files")]),
            (figures, ds_figures, [("figures", "in_files")]),
        ]
    )
    return workflow
