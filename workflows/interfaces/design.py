"""The stage that brings feature series onto the time grid of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, traits

from cinebold.design.alignment import Showing, build_run_design
from cinebold.design.clip_design import build_clip_design
from cinebold.design.film_timing import ShowingTime, run_timing
from cinebold.features.store import read_features
from cinebold.files import file_sha256, write_json
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.specifications import Run, from_json


class _InputSpec(StageInputSpec):
    features = InputMultiObject(
        File(exists=True),
        mandatory=True,
        desc="film by film in the order of `films`, the spaces of each together",
    )
    films = traits.List(File(exists=True), mandatory=True, desc="the run's films, each once")
    spaces = traits.List(traits.Str, mandatory=True, desc="names of the feature spaces")
    keep = File(exists=True, mandatory=True)
    nuisance = File(exists=True, mandatory=True)
    run_json = traits.Str(mandatory=True, desc="a Run")
    low_pass = traits.Str(mandatory=True)
    clips = traits.Bool(False, usedefault=True, desc="a row a presentation, in place of a row a volume")


class _OutputSpec(TraitedSpec):
    design = File(exists=True, desc="a RunDesign")
    summary = File(exists=True, desc="warnings and the films' lengths")


class BuildDesign(StageInterface):
    """The features of what was on the screen, volume by volume."""

    input_spec = _InputSpec
    output_spec = _OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        run = from_json(Run, inputs.run_json)
        stored = iter(inputs.features)
        series = {
            film: {space: read_features(next(stored)) for space in inputs.spaces} for film in inputs.films
        }
        identity = {film: file_sha256(film) for film in inputs.films}
        showings = [
            Showing(
                identity[p.film], p.onset_s, p.duration_s, p.film_offset_s, series[p.film], name=p.film_name
            )
            for p in run.presentations
        ]
        if inputs.clips:
            design, warnings = build_clip_design(run.label, showings), []
        else:
            design, warnings = build_run_design(
                run.label,
                run.n_volumes,
                run.tr_s,
                run.start_time_s,
                showings,
                np.load(inputs.keep),
                inputs.low_pass,
            )
            design = replace(design, nuisance=np.load(inputs.nuisance))
        design.save(folder / "design.npz")
        lengths = {
            p.film_name: next(iter(series[p.film].values())).film_duration_s for p in run.presentations
        }
        spaces = {
            name: {
                "n_features": len(one.names),
                "random_weights": bool(one.provenance.get("random_weights", False)),
                "weights_sha256": one.provenance.get("weights_sha256"),
                "provenance": one.provenance,
            }
            for name, one in series[inputs.films[0]].items()
        }
        run_s = run.n_volumes * run.tr_s
        timing = [
            ShowingTime(
                p.film_name,
                p.onset_s,
                lengths[p.film_name] - p.film_offset_s,
                p.duration_s,
                run_s - p.onset_s,
            )
            for p in run.presentations
        ]
        summary = {
            "warnings": list(warnings),
            "timing": run_timing(run.label, run_s, timing),
            "film_duration_s": lengths,
            "film_names": {identity[p.film]: p.film_name for p in run.presentations},
            "spaces": spaces,
        }
        write_json(folder / "summary.json", summary)
        return {"design": str(folder / "design.npz"), "summary": str(folder / "summary.json")}
