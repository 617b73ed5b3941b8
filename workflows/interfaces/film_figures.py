"""The stage that draws what the report shows of a film."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, OutputMultiObject, TraitedSpec, traits

from cinebold.plotting.film_figures import ensure_film_figures
from workflows.interfaces.base import StageInputSpec, StageInterface


class _InputSpec(StageInputSpec):
    film = File(exists=True, mandatory=True)
    film_name = traits.Str(mandatory=True)
    features = InputMultiObject(File(exists=True), mandatory=True, desc="one series a feature space")
    spaces = traits.List(traits.Str, mandatory=True, desc="names of the feature spaces")
    recipe = traits.Str(mandatory=True, desc="the `model-` label")
    out_prefix = traits.Str(mandatory=True, desc="what the figures' paths start with, in the dataset itself")


class _OutputSpec(TraitedSpec):
    figures = OutputMultiObject(File(exists=True))


class DrawFilmFigures(StageInterface):
    """The figures of one film, in their place: as its features, they are the same for all participants."""

    input_spec = _InputSpec
    output_spec = _OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        figures = ensure_film_figures(
            inputs.film,
            dict(zip(inputs.spaces, inputs.features, strict=True)),
            out_prefix=inputs.out_prefix,
            film_name=inputs.film_name,
            recipe=inputs.recipe,
        )
        return {"figures": figures}
