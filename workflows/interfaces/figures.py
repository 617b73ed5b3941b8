"""The stages that draw what the reports show."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, OutputMultiObject, TraitedSpec, isdefined, traits

from cinebold.bold.maps import geometry_of_map, map_values, n_maps
from cinebold.files import read_json
from cinebold.plotting.group_figures import draw_group_figures
from cinebold.plotting.motion import MotionTrace
from cinebold.plotting.participant_figures import draw_participant_figures
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.interfaces.sinks import maps_by_statistic

_DRAWN_COMPONENTS = 3


class _FiguresOutputSpec(TraitedSpec):
    figures = OutputMultiObject(File(exists=True))


class _ParticipantInputSpec(StageInputSpec):
    maps = InputMultiObject(File(exists=True), mandatory=True)
    designs = InputMultiObject(File(exists=True), mandatory=True)
    design_summaries = InputMultiObject(File(exists=True), mandatory=True)
    response_summaries = InputMultiObject(File(exists=True), mandatory=True)
    run_labels = traits.List(traits.Str, mandatory=True)
    trs_s = traits.List(traits.Float, mandatory=True)
    model = InputMultiObject(File(exists=True), mandatory=True)
    diagnostics = File(exists=True, mandatory=True)
    name = traits.Str(mandatory=True, desc="what the figures' names start with")
    q = traits.Float(0.05, usedefault=True)
    spaces = traits.List(traits.Str, desc="names of the feature spaces, in their order")
    meshes = InputMultiObject(File(exists=True), desc="surfaces of both hemispheres to draw on")


class DrawParticipantFigures(StageInterface):
    """All figures of a participant's report."""

    input_spec = _ParticipantInputSpec
    output_spec = _FiguresOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        summaries = [read_json(path) for path in inputs.design_summaries]
        diagnostics = read_json(inputs.diagnostics)["diagnostics"]
        figures = draw_participant_figures(
            maps_by_statistic(inputs.maps),
            out_prefix=folder / inputs.name,
            designs=list(inputs.designs),
            model_prefix=inputs.model[0].removesuffix(".safetensors"),
            alphas=diagnostics.get("alphas", ()),
            q=inputs.q,
            film_names={key: name for summary in summaries for key, name in summary["film_names"].items()},
            spaces=list(inputs.spaces),
            diagnostics=diagnostics,
            meshes=list(inputs.meshes) if isdefined(inputs.meshes) else (),
            motion=[
                MotionTrace.of_summary(label, tr_s, read_json(path))
                for label, tr_s, path in zip(
                    inputs.run_labels, inputs.trs_s, inputs.response_summaries, strict=True
                )
            ],
        )
        return {"figures": [str(path) for path in figures]}


class _GroupInputSpec(StageInputSpec):
    maps = InputMultiObject(File(exists=True), mandatory=True)
    name = traits.Str(mandatory=True, desc="what the figures' names start with")
    n_participants = traits.Int(mandatory=True)
    q = traits.Float(0.05, usedefault=True)
    meshes = InputMultiObject(File(exists=True), desc="surfaces of both hemispheres to draw on")


class DrawGroupFigures(StageInterface):
    """All figures of the group report."""

    input_spec = _GroupInputSpec
    output_spec = _FiguresOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        maps = maps_by_statistic(inputs.maps)
        figures = draw_group_figures(
            {"r": maps["r"], "t": maps["t-r"], "q": maps["q-r"]},
            out_prefix=folder / inputs.name,
            n_participants=inputs.n_participants,
            meshes=list(inputs.meshes) if isdefined(inputs.meshes) else (),
            q=inputs.q,
            weight_maps={
                key.removeprefix("t-"): _first_components(path, folder)
                for key, path in maps.items()
                if key.startswith("t-") and key != "t-r"
            },
        )
        return {"figures": [str(path) for path in figures]}


def _first_components(path: str, folder: Path) -> list[str]:
    """The first of several maps in a file, one file each."""
    geometry = geometry_of_map(path)
    stem = Path(path).name.partition(".")[0].removeprefix("hemi-L_")
    return [
        str(geometry.save_map(folder / f"{stem}_{k:02d}", map_values(path, k)[geometry.kept])[0])
        for k in range(min(n_maps(path), _DRAWN_COMPONENTS))
    ]
