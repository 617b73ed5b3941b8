"""The stages that turn BOLD runs into response matrices."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, isdefined, traits

from cinebold.bold.cifti import CiftiGeometry
from cinebold.bold.coverage import coverage_of_runs
from cinebold.bold.geometry import Geometry, VolumeGeometry
from cinebold.bold.grid import target_grid, world_grid
from cinebold.bold.maps import load_geometry
from cinebold.bold.masks import build_mask
from cinebold.bold.parcel_geometry import ParcelGeometry
from cinebold.bold.parcels import parcellation_of
from cinebold.bold.preparation import check_brain_mask, prepare_responses
from cinebold.bold.reading import BoldImage
from cinebold.bold.series import source_of
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.files import write_json
from workflows.confounds import confounds_of
from workflows.interfaces.base import StageInputSpec, StageInterface
from workflows.specifications import BoldPreparation, Run, from_json


class _TargetsInputSpec(StageInputSpec):
    brain_masks = InputMultiObject(File(exists=True), desc="of volumes: one a run, on the grid of its BOLD")
    series = InputMultiObject(File(exists=True), desc="of the first run: both hemispheres, or one CIFTI file")
    cortex_masks = InputMultiObject(File(exists=True), desc="of both hemispheres")
    n_runs = traits.Int(mandatory=True)
    gm_probseg = File(exists=True)
    mask_file = File(exists=True, desc="the mask, where it is a file")
    atlas = InputMultiObject(File(exists=True), desc="of surfaces both hemispheres'")
    atlas_table = File(exists=True, desc="names of its labels")
    preparation_json = traits.Str(mandatory=True, desc="a BoldPreparation")


class _TargetsOutputSpec(TraitedSpec):
    mask = File(
        exists=True,
        desc="the analysed voxels on the grid of the analysis, or vertices, grayordinates or parcels",
    )
    coverage = File(
        exists=True, desc="JSON: the share of the wanted voxels that each run covers, null where unknown"
    )


class DefineTargets(StageInterface):
    """What is analysed: voxels on the grid of the analysis, vertices, grayordinates, or parcels of these."""

    input_spec = _TargetsInputSpec
    output_spec = _TargetsOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        preparation = from_json(BoldPreparation, inputs.preparation_json)
        geometry, coverage = (
            (self._without_voxels(preparation), [None] * inputs.n_runs)
            if isdefined(inputs.series)
            else self._voxels(preparation)
        )
        if isdefined(inputs.atlas):
            table = inputs.atlas_table if isdefined(inputs.atlas_table) else None
            geometry = ParcelGeometry(geometry, parcellation_of(inputs.atlas[0], geometry, table))
        return {
            "mask": str(geometry.save(folder / "mask")),
            "coverage": str(write_json(folder / "coverage.json", coverage)),
        }

    def _without_voxels(self, preparation: BoldPreparation) -> Geometry:
        series, masks = list(self.inputs.series), self.inputs.cortex_masks
        if len(series) == 1:
            return CiftiGeometry.of_file(series[0])
        use_masks = isdefined(masks) and preparation.mask == "gm"
        return SurfaceGeometry.of_files(*series, list(masks) if use_masks else ())

    def _voxels(self, preparation: BoldPreparation) -> tuple[VolumeGeometry, list[float | None]]:
        inputs = self.inputs
        reference = nib.load(inputs.brain_masks[0])
        make_grid = world_grid if preparation.axes == "world" else target_grid
        grid = make_grid(reference.shape[:3], reference.affine, preparation.resolution_mm)
        wanted = {
            "brain_masks": list(inputs.brain_masks),
            "gm_probseg": inputs.gm_probseg if isdefined(inputs.gm_probseg) else None,
            "gm_threshold": preparation.gm_threshold,
        }
        mask = build_mask(preparation.mask, grid, **wanted)
        return VolumeGeometry(mask, grid.affine), coverage_of_runs(preparation.mask, grid, **wanted)


class _PrepareInputSpec(StageInputSpec):
    bold = File(exists=True, mandatory=True)
    bold_right = File(exists=True, desc="the right hemisphere, where `bold` is the left one")
    brain_mask = File(exists=True, desc="of volumes")
    confounds = File(exists=True, mandatory=True)
    extra_confounds = File(exists=True, desc="a further table of regressors")
    mask = File(exists=True, mandatory=True)
    run_json = traits.Str(mandatory=True, desc="a Run")
    preparation_json = traits.Str(mandatory=True, desc="a BoldPreparation")
    memory_mb = traits.Int(1000, usedefault=True, nohash=True)


class _PrepareOutputSpec(TraitedSpec):
    responses = File(exists=True, desc="(n_volumes, n_targets) float32")
    keep = File(exists=True, desc="(n_volumes,) bool")
    nuisance = File(exists=True, desc="(n_volumes, rank), what was regressed out")
    summary = File(exists=True)


class PrepareResponses(StageInterface):
    """Read a run once: mask, resample, remove confounds and drift, z-score, as far as the preparation asks for it."""

    input_spec = _PrepareInputSpec
    output_spec = _PrepareOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """See the class."""
        inputs = self.inputs
        run = from_json(Run, inputs.run_json)
        preparation = from_json(BoldPreparation, inputs.preparation_json)
        confounds = confounds_of(run, preparation)
        geometry = load_geometry(inputs.mask)
        if geometry.affine is not None:
            check_brain_mask(BoldImage(inputs.bold), inputs.brain_mask)
        source = source_of(
            inputs.bold,
            geometry,
            right=inputs.bold_right if isdefined(inputs.bold_right) else None,
            interpolation=preparation.interpolation,
            smoothing_mm=preparation.smoothing_mm,
        )
        summary = prepare_responses(
            source,
            confounds,
            tr_s=run.tr_s,
            high_pass_hz=preparation.high_pass_hz,
            out_npy=folder / "responses.npy",
            nuisance_npy=folder / "nuisance.npy",
            memory_mb=inputs.memory_mb,
            standardise=preparation.standardise and preparation.clips is None,
        )
        np.save(folder / "keep.npy", confounds.keep)
        write_json(folder / "summary.json", summary | confounds.motion())
        return {name: str(folder / name) + ending for name, ending in _PREPARED}


_PREPARED = (("responses", ".npy"), ("keep", ".npy"), ("nuisance", ".npy"), ("summary", ".json"))
