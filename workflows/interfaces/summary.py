"""The stage that writes down what was done, for the report and for people who read JSON."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, traits

from cinebold.bold.maps import load_geometry, map_values
from cinebold.features.registry import extractor_class
from cinebold.files import read_json, write_json
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.interfaces.sinks import maps_by_statistic
from workflows.specifications import ParticipantAnalysis, Run, from_json

#: The packages whose versions change numbers.
_VERSIONED = (
    "cinebold", "numpy", "scipy", "scikit-learn", "nibabel", "nilearn", "nipype", "pybids",
    "av", "torch", "torchvision", "pytorchvideo", "pymoten", "numba", "h5py",
)  # fmt: skip

#: Maps whose distribution the report tells.
_SCORES = ("r", "rsquared", "noiseceiling", "rnorm")
#: The level at which family-wise p are counted.
FAMILY_WISE = 0.05


class _InputSpec(StageInputSpec):
    analysis_json = traits.Str(mandatory=True, desc="a ParticipantAnalysis")
    responses = InputMultiObject(File(exists=True), mandatory=True, desc="summaries of the prepared runs")
    designs = InputMultiObject(File(exists=True), mandatory=True, desc="summaries of the designs")
    mask = File(exists=True, mandatory=True, desc="the geometry of the maps")
    coverage = File(exists=True, mandatory=True, desc="the share of the wanted voxels that each run covers")
    diagnostics = File(exists=True, mandatory=True)
    model = InputMultiObject(File(exists=True), mandatory=True, desc="tensors and card")
    maps = InputMultiObject(File(exists=True), mandatory=True)


class _OutputSpec(TraitedSpec):
    summary = File(exists=True)


class SummariseParticipant(StageInterface):
    """Gather what the stages found into one JSON file."""

    input_spec = _InputSpec
    output_spec = _OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        analysis = from_json(ParticipantAnalysis, inputs.analysis_json)
        responses = [read_json(path) for path in inputs.responses]
        designs = [read_json(path) for path in inputs.designs]
        fit = read_json(inputs.diagnostics)
        geometry = load_geometry(inputs.mask)
        maps = {
            name: geometry.at_targets(map_values(path))
            for name, path in maps_by_statistic(inputs.maps).items()
            if not name.startswith("weight")
        }
        warnings = [*analysis.warnings, *_empty_parcels(responses[0]), *fit["warnings"]]
        for run, *found in zip(analysis.runs, responses, designs, strict=True):
            texts = [text for one in found for text in one.get("warnings", ())]
            warnings += [text if run.label in text else f"{run.label}: {text}" for text in texts]
        content = {
            "participant": analysis.participant,
            "recipe": analysis.recipe,
            "space": analysis.space,
            "resolution_label": analysis.resolution_label,
            "runs": [
                _run(*found) | {"coverage": coverage}
                for *found, coverage in zip(
                    analysis.runs, responses, designs, read_json(inputs.coverage), strict=True
                )
            ],
            "excluded_runs": [asdict(run) for run in analysis.excluded],
            "spaces": _spaces(analysis, designs, read_json(inputs.model[1])["spaces"]),
            "bold": analysis.bold.described()
            | {"resolution_mm": analysis.bold.resolution_mm or "native"}
            | ({} if analysis.runs[0].geometry == "volume" else {"geometry": analysis.runs[0].geometry})
            | analysis.run_rules,
            "encoding": asdict(analysis.encoding) | {"alphas": fit["diagnostics"]["alphas"]},
            # Delays are whole volumes: these are the ones that were used, not the ones that were asked for.
            "delays_s": [volumes * analysis.runs[0].tr_s for volumes in _delays(fit["diagnostics"])],
            "low_pass": analysis.low_pass,
            "n_targets": responses[0]["n_targets"],
            "diagnostics": fit["diagnostics"],
            "scores": {name: _spread(maps[name]) for name in _SCORES if name in maps},
            "of_spaces": _of_spaces(maps, [space.name for space in analysis.spaces], analysis.encoding.q),
            "n_significant": int((maps["q"] < analysis.encoding.q).sum()) if "q" in maps else None,
            "n_family_wise": int((maps["pfwe"] < FAMILY_WISE).sum()) if "pfwe" in maps else None,
            "folds": _folds(fit["diagnostics"], designs, analysis),
            "q": analysis.encoding.q,
            "warnings": warnings,
            "versions": {**versions(space.extractor for space in analysis.spaces), **analysis.input_versions},
        }
        return {"summary": str(write_json(folder / "desc-summary_report.json", content))}


def _empty_parcels(responses: Mapping[str, Any]) -> list[str]:
    """What is said of parcels of which no target is analysed."""
    names = responses.get("parcels_empty", ())
    if not names:
        return []
    plural = "parcels have" if len(names) > 1 else "parcel has"
    return [
        f"{len(names)} {plural} no target that is analysed, and no result: {', '.join(names)}. A finer --resolution or "
        "--mask brain may reach them."
    ]


def _delays(diagnostics: Mapping[str, Any]) -> list[int]:
    """In volumes; where the model has none, those of the linear model beside it."""
    return diagnostics.get("delays_volumes", diagnostics.get("ridge", {}).get("delays_volumes", []))


def versions(extractors: Iterable[str] = ()) -> dict[str, str]:
    """The versions of what computed; of transformers where one of `extractors` uses it and it is installed.

    Features may have been stored by an analysis whose machine had the library, and this one needs it no more.
    """
    known = {"python": platform.python_version(), **{name: version(name) for name in _VERSIONED}}
    if any(hasattr(extractor_class(name), "hub_name") for name in extractors):
        with suppress(PackageNotFoundError):
            known["transformers"] = version("transformers")
    return known


def _spread(values: np.ndarray) -> dict[str, float | None]:
    values = values[np.isfinite(values)]
    if not values.size:
        return {"mean": None, "median": None, "p95": None, "max": None}
    return {
        "mean": float(values.mean(dtype=float)),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": float(values.max()),
    }


def _of_spaces(
    maps: Mapping[str, np.ndarray], spaces: Sequence[str], q: float
) -> dict[str, dict[str, float | None]]:
    """The mean of each map of a feature space over the voxels that the joint model predicts: statistic -> space."""
    with np.errstate(invalid="ignore"):
        predicted = maps["q"] < q if "q" in maps else np.isfinite(maps["r"])
    found: dict[str, dict[str, float | None]] = {}
    for name, values in maps.items():
        statistic, _, space = name.partition("-")
        if space in spaces:
            chosen = values[predicted & np.isfinite(values)]
            found.setdefault(statistic, {})[space] = float(chosen.mean(dtype=float)) if chosen.size else None
    return found


def _folds(
    diagnostics: Mapping[str, Any], designs: Sequence[Mapping[str, Any]], analysis: ParticipantAnalysis
) -> list[dict[str, list[str]]]:
    """Which runs and films each fold held out.

    The fit tells films by their bytes and deals them out over folds in the order in which it meets them, run by run
    in the order of their labels.
    """
    pairs = sorted(
        ((run.label, design) for run, design in zip(analysis.runs, designs, strict=True)),
        key=lambda pair: pair[0],
    )
    films_of_run = {label: list(design["film_names"].values()) for label, design in pairs}
    names = {film: name for _, design in pairs for film, name in design["film_names"].items()}
    n_folds = len(diagnostics.get("folds", ()))
    found = []
    for number, fold in enumerate(diagnostics.get("folds", ())):
        runs = [label for label in str(fold["held_out"]).split(", ") if label in films_of_run]
        films = [film for run in runs for film in films_of_run[run]] or list(names.values())[number::n_folds]
        found.append({"runs": runs, "films": list(dict.fromkeys(films))})
    return found


def _run(run: Run, responses: dict[str, Any], design: dict[str, Any]) -> dict[str, Any]:
    films = [
        {
            "name": p.film_name,
            "onset_s": p.onset_s,
            "duration_s": p.duration_s,
            "film_offset_s": p.film_offset_s,
            "film_duration_s": design["film_duration_s"][p.film_name],
        }
        for p in run.presentations
    ]
    return {
        "label": run.label,
        "bold": Path(run.bold).name,
        "tr_s": run.tr_s,
        "start_time_s": run.start_time_s,
        "slice_timing_corrected": run.slice_timing_corrected,
        **responses,
        "confound_strategy": responses["confounds"],
        "extra_confounds": None if run.extra_confounds is None else Path(run.extra_confounds).name,
        "films": films,
    }


def _spaces(
    analysis: ParticipantAnalysis, designs: Sequence[dict[str, Any]], fitted: dict[str, Any]
) -> list[dict[str, Any]]:
    return [
        {
            "name": space.name,
            "extractor": space.extractor,
            **designs[0]["spaces"][space.name],
            "parameters": space.parameters,
            "n_components": fitted[space.name]["n_components"],
            "variance_explained": fitted[space.name]["explained_variance"],
        }
        for space in analysis.spaces
    ]
