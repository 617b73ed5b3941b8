"""The stage that fits, scores and tests the encoding models of a participant."""

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    File,
    InputMultiObject,
    OutputMultiObject,
    TraitedSpec,
    isdefined,
    traits,
)

from cinebold.bold.maps import load_geometry
from cinebold.bold.parcel_geometry import ParcelGeometry, write_parcel_table
from cinebold.design.loadings import loadings_table
from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import fit_encoding_model
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.settings import EncodingSettings
from cinebold.files import atomic_path, read_json, write_json
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.specifications import from_json


class _InputSpec(StageInputSpec):
    designs = InputMultiObject(File(exists=True), mandatory=True)
    responses = InputMultiObject(File(exists=True), mandatory=True)
    mask = File(exists=True, mandatory=True)
    atlas = traits.Str(desc="label of the atlas in the name of its table")
    design_summaries = InputMultiObject(File(exists=True), desc="what the card says of films and runs")
    settings_json = traits.Str(mandatory=True, desc="EncodingSettings")
    delays_s = traits.List(traits.Float, mandatory=True)
    device = traits.Str("cpu", usedefault=True, nohash=True)
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="tells the scheduler to take a GPU slot")
    progress = traits.Bool(False, usedefault=True, nohash=True)


class _OutputSpec(TraitedSpec):
    maps = OutputMultiObject(
        File(exists=True),
        desc="[hemi-<L|R>_]stat-<name>[_desc-<space>]_statmap, of a space's weights a map a component",
    )
    model = OutputMultiObject(File(exists=True), desc="encoding.safetensors and encoding.json")
    loadings = OutputMultiObject(File(exists=True), desc="a table a feature space")
    parcels = OutputMultiObject(File(exists=True), desc="atlas-<label>_stats.tsv, where targets are parcels")
    timeseries = OutputMultiObject(File(exists=True), desc="a table a run and feature space, run by run")
    diagnostics = File(exists=True)


class FitEncodingModel(StageInterface):
    """Weights, alphas, held-out scores and their test, voxel by voxel."""

    input_spec = _InputSpec
    output_spec = _OutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        summaries = list(inputs.design_summaries) if isdefined(inputs.design_summaries) else []
        arguments = (
            folder,
            list(inputs.designs),
            list(inputs.responses),
            inputs.mask,
            inputs.atlas if isdefined(inputs.atlas) else "",
            summaries,
            inputs.settings_json,
            tuple(inputs.delays_s),
            inputs.device,
            inputs.progress,
        )
        if not inputs.use_gpu:
            return fit_and_save(*arguments)
        # A child that exits gives the card's memory back; cuBLAS reads this when it starts, and then repeats its sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(fit_and_save, arguments)


def fit_and_save(
    folder: Path,
    design_paths: Sequence[str],
    response_paths: Sequence[str],
    mask_path: str,
    atlas: str,
    summary_paths: Sequence[str],
    settings_json: str,
    delays_s: Sequence[float],
    device: str,
    progress: bool,
) -> dict[str, Any]:
    """Fit, and write everything into `folder`; gives back the outputs of the stage by name."""
    designs = [RunDesign.load(path) for path in design_paths]
    result = fit_encoding_model(
        designs,
        [np.load(path, mmap_mode="r") for path in response_paths],
        from_json(EncodingSettings, settings_json),
        delays_s,
        progress=progress,
        device=device,
    )
    diagnostics = result.diagnostics
    if summary_paths:
        summaries = [read_json(path) for path in summary_paths]
        diagnostics = diagnostics | {"film_timing": [summary["timing"] for summary in summaries]}
        untrained = [
            name for name, space in summaries[0].get("spaces", {}).items() if space.get("random_weights")
        ]
        if untrained:
            diagnostics["random_weights"] = untrained
    geometry = load_geometry(mask_path)
    maps = [
        path
        for stat, values in result.maps.items()
        for path in geometry.save_map(folder / f"stat-{stat}_statmap", values, [stat])
    ]
    maps += [
        path
        for space, weights in result.model.weights.items()
        for path in geometry.save_map(
            folder / f"stat-weight_desc-{space}_statmap",
            # The sum over the delays is the response to a sustained unit of the component.
            weights.sum(axis=1),
            [f"{space} {k:02d}" for k in range(len(weights))],
        )
    ]
    parcels = isinstance(geometry, ParcelGeometry)
    about = {"geometry": geometry.describe()} if parcels or geometry.affine is None else {}
    model = replace(
        result.model,
        mask=None if parcels else geometry.kept,
        affine=geometry.affine,
        card={**diagnostics, **about},
    )
    model.save(folder / "encoding")
    loadings = [
        str(
            loadings_table(reducer.components, designs[0].names[space], folder / f"desc-{space}_loadings.tsv")
        )
        for space, reducer in model.reducers.items()
        if reducer.components is not None
    ]
    write_json(folder / "diagnostics.json", {"diagnostics": diagnostics, "warnings": list(result.warnings)})
    return {
        "maps": [str(path) for path in maps],
        "model": [str(folder / "encoding.safetensors"), str(folder / "encoding.json")],
        "loadings": loadings,
        "parcels": [str(write_parcel_table(folder / f"atlas-{atlas}_stats.tsv", geometry, result.maps))]
        if parcels
        else [],
        "timeseries": _save_timeseries(folder, designs, model),
        "diagnostics": str(folder / "diagnostics.json"),
    }


def _save_timeseries(folder: Path, designs: Sequence[RunDesign], model: EncodingModel) -> list[str]:
    """Write what the model saw of each run before the delays: the components, volume by volume."""
    paths = []
    for number, design in enumerate(designs):
        for space, reducer in model.reducers.items():
            scores = reducer.scores(design.features[space], design.has_film)
            path = folder / f"run{number}" / f"desc-{space}_timeseries.tsv"
            with atomic_path(path) as temporary:
                names = [f"pc_{k:02d}" for k in range(scores.shape[1])]
                np.savetxt(
                    temporary, scores, fmt="%.6g", delimiter="\t", header="\t".join(names), comments=""
                )
            paths.append(str(path))
    return paths
