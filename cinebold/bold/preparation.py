"""One run's responses: streamed from its file, masked, resampled, cleaned, written as (n_volumes, n_targets)."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.cleaning import nuisance_basis
from cinebold.bold.confounds import Confounds
from cinebold.bold.extraction import write_clean_responses
from cinebold.bold.grid import Grid, grids_equal
from cinebold.bold.reading import BoldImage, load_volume
from cinebold.bold.source import RunSource
from cinebold.bold.volume_source import VolumeSource
from cinebold.errors import InputError
from cinebold.files import atomic_path

logger = logging.getLogger(__name__)


def prepare_run(
    *,
    bold: str | Path,
    brain_mask: str | Path | None,
    grid_target: Grid,
    mask: np.ndarray,
    confounds: Confounds,
    tr_s: float,
    high_pass_hz: float | None,
    out_npy: str | Path,
    memory_mb: float = 512,
    interpolation: str = "linear",
    progress: bool = False,
    nuisance_npy: str | Path | None = None,
    standardise: bool = True,
    smoothing_mm: float | None = None,
) -> dict[str, Any]:
    """Write the cleaned responses of a run.

    The BOLD series is read once, some volumes at a time; the responses are cleaned in the output file, some
    voxels at a time. Memory is bounded by `memory_mb` (and the operator, about 100 bytes a target), whatever
    the run's length.

    Parameters
    ----------
    bold : 4-D NIfTI
    brain_mask : the run's mask, which must be on the grid of the series; None: not checked
    grid_target, mask : the grid of the responses and its voxels (`target_grid`, `build_mask`)
    confounds : of the same run (`load_confounds`)
    tr_s : repetition time
    high_pass_hz : cut-off of the cosines that are regressed out, unless the confounds bring fMRIPrep's; None:
        no others
    out_npy : (n_volumes, n_targets) float32, C order; targets in the order of `mask`'s True voxels
    nuisance_npy : where to write what was regressed out, (n_volumes, rank) float64 with orthonormal columns, zero in
        the volumes that are left out (`RunDesign.nuisance`)
    interpolation : "linear", "nearest" or "cubic"
    smoothing_mm : full width at half maximum of a Gaussian, on the grid of the series; None: not smoothed
    standardise : z-score the voxels; False: they keep their mean and units, and only what the confounds and the
        filter bring is regressed out, nothing where there are neither

    Returns
    -------
    A summary for the report. `degrees_of_freedom_lost` counts the independent regressors, the mean included unless it
    is kept, not the volumes left out; `high_pass_hz` is None where the confounds brought the filter or none was asked
    for.

    Raises
    ------
    InputError : see `BoldImage` and `load_confounds`; a mask on another grid; NaN in some volumes inside the
    mask; responses that are all constant. Nothing is written then.
    """
    image = BoldImage(bold)
    _check_confounds(image.path, image.n_volumes, confounds)
    check_brain_mask(image, brain_mask)
    return prepare_responses(
        VolumeSource(image, grid_target, mask, interpolation=interpolation, smoothing_mm=smoothing_mm),
        confounds,
        tr_s=tr_s,
        high_pass_hz=high_pass_hz,
        out_npy=out_npy,
        memory_mb=memory_mb,
        progress=progress,
        nuisance_npy=nuisance_npy,
        standardise=standardise,
    )


def prepare_responses(
    source: RunSource,
    confounds: Confounds,
    *,
    tr_s: float,
    high_pass_hz: float | None,
    out_npy: str | Path,
    memory_mb: float = 512,
    progress: bool = False,
    nuisance_npy: str | Path | None = None,
    standardise: bool = True,
) -> dict[str, Any]:
    """Write the cleaned responses of whatever gives volumes of targets; see `prepare_run` for the parameters.

    Returns
    -------
    The summary of `prepare_run`; what `source.description` holds is part of it.

    Raises
    ------
    InputError : the source's file is damaged; confounds of another length; NaN in some volumes only; targets that
        are all constant. Nothing is written then.
    """
    _check_confounds(source.path, source.n_volumes, confounds)
    own_cosines = high_pass_hz is not None and not confounds.has_cosines
    basis = nuisance_basis(confounds.values, confounds.keep, tr_s, high_pass_hz if own_cosines else None)
    n_targets = source.n_targets
    with atomic_path(out_npy) as path:
        quality = write_clean_responses(
            source,
            basis,
            confounds.keep,
            path,
            memory_mb=memory_mb,
            standardise=standardise,
            progress=progress,
        )
        constant = quality.constant
        if constant.all():
            raise InputError(
                f"Nothing varies in {source.path} inside the mask ({n_targets} {source.targets_name}); are the "
                "series and the mask of one participant and space?"
            )
    removed = basis if standardise else basis[:, 1:]  # the first column is the constant
    if nuisance_npy is not None:
        nuisance = np.zeros((source.n_volumes, removed.shape[1]))
        nuisance[confounds.keep] = removed
        with atomic_path(nuisance_npy) as path, open(path, "wb") as stream:
            np.save(stream, nuisance)
    if constant.any():
        logger.info(
            "%s: %d of %d %s are constant", source.path, constant.sum(), n_targets, source.targets_name
        )
    return {
        "n_volumes": source.n_volumes,
        "n_volumes_kept": int(confounds.keep.sum()),
        "volumes_dropped": dict(confounds.dropped or {}),
        "n_targets": n_targets,
        "n_constant": int(constant.sum()),
        "confounds": confounds.strategy,
        "confound_columns": list(confounds.names),
        "degrees_of_freedom_lost": removed.shape[1],
        "high_pass_hz": high_pass_hz if own_cosines else None,
        "tsnr_median": float(np.nanmedian(quality.tsnr)),
        "standardised": standardise,
        **source.description,
    }


def _check_confounds(path: Path, n_volumes: int, confounds: Confounds) -> None:
    if len(confounds.keep) != n_volumes:
        raise InputError(
            f"The confounds {confounds.source} have {len(confounds.keep)} rows, but {path} has "
            f"{n_volumes} volumes; they must be of one run of fMRIPrep."
        )


def check_brain_mask(image: BoldImage, brain_mask: str | Path | None) -> None:
    """Raise InputError where the mask of a run is not on the grid of its series."""
    if brain_mask is None:
        return
    values, affine = load_volume(brain_mask)
    if not grids_equal(Grid(values.shape, affine), image.grid):
        same = " with another affine" if values.shape == image.shape3d else ""
        raise InputError(
            f"The brain mask {brain_mask} (shape {values.shape}{same}) is on another grid than its BOLD "
            f"series {image.path} (shape {image.shape3d}); give the mask of the same space and resolution."
        )
