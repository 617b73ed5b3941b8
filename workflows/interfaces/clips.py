"""The stages that turn cleaned series into one response a clip."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiObject, OutputMultiObject, TraitedSpec, isdefined, traits

from cinebold.bold.clip_responses import clip_regressors, clip_responses, other_events_regressor
from cinebold.bold.clip_standardisation import average_repeats, standardise_sessions
from cinebold.bold.confounds import Confounds
from cinebold.bold.maps import load_geometry
from cinebold.bold.preparation import prepare_responses
from cinebold.bold.series import source_of
from cinebold.design.alignment import volume_times_s
from cinebold.design.clip_design import averaged_design
from cinebold.design.run_design import RunDesign
from cinebold.encoding.settings import CrossValidation
from cinebold.files import write_json
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.specifications import ClipPreparation, Run, from_json


class _EstimateInputSpec(StageInputSpec):
    responses = File(exists=True, mandatory=True, desc="(n_volumes, n_targets), cleaned, not standardised")
    keep = File(exists=True, mandatory=True)
    nuisance = File(exists=True, mandatory=True)
    run_json = traits.Str(mandatory=True, desc="a Run")
    clips_json = traits.Str(mandatory=True, desc="a ClipPreparation")
    design_summary = File(exists=True, mandatory=True, desc="of the run: how long its films are")


class _EstimateOutputSpec(TraitedSpec):
    responses = File(exists=True, desc="(n_presentations, n_targets) float32")


class EstimateClipResponses(StageInterface):
    """One response a presentation, by a general linear model of the run."""

    input_spec = _EstimateInputSpec
    output_spec = _EstimateOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        run = from_json(Run, inputs.run_json)
        model = from_json(ClipPreparation, inputs.clips_json).model
        times_s = volume_times_s(run.n_volumes, run.tr_s, run.start_time_s)
        onsets_s = [p.onset_s for p in run.presentations]
        lengths_s = json.loads(Path(inputs.design_summary).read_text())["film_duration_s"]
        durations_s = [
            lengths_s[p.film_name] - p.film_offset_s if p.duration_s is None else p.duration_s
            for p in run.presentations
        ]
        regressors = clip_regressors(onsets_s, durations_s, times_s, model)
        others = other_events_regressor(run.other_events_s, times_s, model)
        nuisance = np.hstack([np.load(inputs.nuisance), others])
        series = np.load(inputs.responses, mmap_mode="r")
        responses = clip_responses(series, regressors, nuisance, np.load(inputs.keep), model, onsets_s)
        np.save(folder / "responses.npy", responses)
        return {"responses": str(folder / "responses.npy")}


class _ReadInputSpec(StageInputSpec):
    betas = File(exists=True, mandatory=True, desc="a map a row of its table")
    mask = File(exists=True, mandatory=True, desc="a Geometry")
    run_json = traits.Str(mandatory=True, desc="a Run")
    interpolation = traits.Str("linear", usedefault=True)
    smoothing_mm = traits.Float(desc="full width at half maximum; not given: not smoothed")
    memory_mb = traits.Int(1000, usedefault=True, nohash=True)


class _ReadOutputSpec(TraitedSpec):
    responses = File(exists=True, desc="(n_presentations, n_targets) float32")
    keep = File(exists=True, desc="all True")
    nuisance = File(exists=True, desc="no column")
    summary = File(exists=True)


class ReadClipResponses(StageInterface):
    """Responses of clips that were made elsewhere: masked and resampled, nothing else."""

    input_spec = _ReadInputSpec
    output_spec = _ReadOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        rows = list(from_json(Run, inputs.run_json).beta_rows)
        source = source_of(
            inputs.betas,
            load_geometry(inputs.mask),
            interpolation=inputs.interpolation,
            smoothing_mm=inputs.smoothing_mm if isdefined(inputs.smoothing_mm) else None,
        )
        untouched = Confounds(np.empty((source.n_volumes, 0)), (), np.ones(source.n_volumes, bool), "none")
        summary = prepare_responses(
            source,
            untouched,
            tr_s=1.0,
            high_pass_hz=None,
            out_npy=folder / "all.npy",
            memory_mb=inputs.memory_mb,
            standardise=False,
        )
        np.save(folder / "responses.npy", np.load(folder / "all.npy", mmap_mode="r")[rows])
        (folder / "all.npy").unlink()
        np.save(folder / "keep.npy", np.ones(len(rows), bool))
        np.save(folder / "nuisance.npy", np.empty((len(rows), 0)))
        write_json(folder / "summary.json", summary | untouched.motion() | {"betas": Path(inputs.betas).name})
        endings = {"responses": ".npy", "keep": ".npy", "nuisance": ".npy", "summary": ".json"}
        return {name: str(folder / f"{name}{ending}") for name, ending in endings.items()}


class _CombineInputSpec(StageInputSpec):
    responses = InputMultiObject(File(exists=True), mandatory=True, desc="one a run")
    designs = InputMultiObject(File(exists=True), mandatory=True, desc="one a run")
    runs_json = traits.List(traits.Str, mandatory=True, desc="a Run each")
    clips_json = traits.Str(mandatory=True, desc="a ClipPreparation")
    cross_validation_json = traits.Str(mandatory=True, desc="a CrossValidation")


class _CombineOutputSpec(TraitedSpec):
    responses = OutputMultiObject(File(exists=True))
    designs = OutputMultiObject(File(exists=True))


class CombineClips(StageInterface):
    """Responses of all runs in one scale, and repeats averaged where that is asked for."""

    input_spec = _CombineInputSpec
    output_spec = _CombineOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        clips = from_json(ClipPreparation, inputs.clips_json)
        runs = [from_json(Run, text) for text in inputs.runs_json]
        designs = [RunDesign.load(path) for path in inputs.designs]
        responses = [np.load(path) for path in inputs.responses]
        if clips.standardise:
            scheme = from_json(CrossValidation, inputs.cross_validation_json)
            if scheme.scheme == "split":
                scales = [run.entities.get("ses", "") for run in runs]
            else:
                scales = [run.label for run in runs]  # every run is tested on: it gives its scale to no other
            training = [not scheme.tests(run.label) for run in runs]
            responses = standardise_sessions(responses, scales, training)
        if clips.average:
            tasks = [run.entities.get("task", "") for run in runs]
            pairs = [_averaged(task, tasks, designs, responses) for task in dict.fromkeys(tasks)]
            designs, responses = [list(part) for part in zip(*pairs, strict=True)]
        names: dict[str, list[str]] = {"responses": [], "designs": []}
        for number, (design, response) in enumerate(zip(designs, responses, strict=True)):
            np.save(folder / f"responses{number}.npy", response)
            names["responses"].append(str(folder / f"responses{number}.npy"))
            names["designs"].append(str(design.save(folder / f"design{number}.npz")))
        return names


def _averaged(
    task: str, tasks: list[str], designs: list[RunDesign], responses: list[np.ndarray]
) -> tuple[RunDesign, np.ndarray]:
    own = [number for number, other in enumerate(tasks) if other == task]
    shown = [designs[number].films_of_rows for number in own]
    averaged = average_repeats([responses[number] for number in own], shown)
    design = averaged_design(f"task-{task}", [designs[number] for number in own], averaged.first)
    return design, averaged.responses
