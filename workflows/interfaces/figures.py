"""The stages that draw what the reports show."""

from pathlib import Path
from typing import Any

import nibabel as nib
from nipype.interfaces.base import File, InputMultiObject, OutputMultiObject, TraitedSpec, traits

from cinebold.files import read_json, save_nifti
from cinebold.plotting.group_figures import draw_group_figures
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
    model = InputMultiObject(File(exists=True), mandatory=True)
    diagnostics = File(exists=True, mandatory=True)
    name = traits.Str(mandatory=True, desc="what the figures' names start with")
    q = traits.Float(0.05, usedefault=True)
    spaces = traits.List(traits.Str, desc="names of the feature spaces, in their order")


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
        )
        return {"figures": [str(path) for path in figures]}


class _GroupInputSpec(StageInputSpec):
    maps = InputMultiObject(File(exists=True), mandatory=True)
    name = traits.Str(mandatory=True, desc="what the figures' names start with")
    n_participants = traits.Int(mandatory=True)
    q = traits.Float(0.05, usedefault=True)


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
            q=inputs.q,
            weight_maps={
                key.removeprefix("t-"): _first_components(path, folder)
                for key, path in maps.items()
                if key.startswith("t-") and key != "t-r"
            },
        )
        return {"figures": [str(path) for path in figures]}


def _first_components(path: str, folder: Path) -> list[str]:
    """The first volumes of a 4-D map, as 3-D images."""
    image = nib.load(path)
    volumes = nib.four_to_three(image.slicer[..., :_DRAWN_COMPONENTS])
    stem = Path(path).name.removesuffix(".nii.gz")
    return [str(save_nifti(folder / f"{stem}_{k:02d}.nii.gz", one)) for k, one in enumerate(volumes)]
