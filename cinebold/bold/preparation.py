"""One run's responses: streamed from its file, masked, resampled, cleaned, written as (n_volumes, n_targets)."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.cleaning import clean_tile, nuisance_basis
from cinebold.bold.confounds import Confounds
from cinebold.bold.grid import Grid, grids_equal
from cinebold.bold.reading import BoldImage, load_volume
from cinebold.bold.resampling import mask_resample_operator
from cinebold.bold.source import RunSource, VolumeSource
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
    interpolation : "linear" or "nearest"
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
    _check_brain_mask(image, brain_mask)
    operator = mask_resample_operator(image.grid, grid_target, mask, interpolation=interpolation)
    return prepare_responses(
        VolumeSource(image, operator, interpolation=interpolation),
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
        _extract(source, confounds.keep, path, memory_mb, progress)
        constant, tsnr = _clean(path, basis, confounds.keep, memory_mb, standardise)
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
        "tsnr_median": float(np.nanmedian(tsnr)),
        "standardised": standardise,
        **source.description,
    }


def _check_confounds(path: Path, n_volumes: int, confounds: Confounds) -> None:
    if len(confounds.keep) != n_volumes:
        raise InputError(
            f"The confounds {confounds.source} have {len(confounds.keep)} rows, but {path} has "
            f"{n_volumes} volumes; they must be of one run of fMRIPrep."
        )


def _check_brain_mask(image: BoldImage, brain_mask: str | Path | None) -> None:
    if brain_mask is None:
        return
    values, affine = load_volume(brain_mask)
    if not grids_equal(Grid(values.shape, affine), image.grid):
        same = " with another affine" if values.shape == image.shape3d else ""
        raise InputError(
            f"The brain mask {brain_mask} (shape {values.shape}{same}) is on another grid than its BOLD "
            f"series {image.path} (shape {image.shape3d}); give the mask of the same space and resolution."
        )


def _extract(source: RunSource, keep: np.ndarray, path: Path, memory_mb: float, progress: bool) -> None:
    """Write the source's stream into a .npy file."""
    n_volumes, n_targets = source.n_volumes, source.n_targets
    n_rows = int(np.clip(memory_mb * 2**20 / 2 // (source.bytes_per_volume + 4 * n_targets), 1, 16))
    never = np.ones(n_targets, bool)  # not finite in any kept volume so far
    first_bad = np.full(n_targets, -1)  # the first kept volume in which a target is not finite
    with open(path, "wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_volumes, n_targets)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start, rows in _with_progress(source, n_rows, progress):
            for row, values in enumerate(rows):
                if keep[start + row]:
                    finite = np.isfinite(values)
                    never &= ~finite
                    first_bad[~finite & (first_bad < 0)] = start + row
            rows.astype("<f4", copy=False).tofile(stream)
    sometimes = (first_bad >= 0) & ~never
    if sometimes.any():
        volume = first_bad[sometimes].min() + 1
        raise InputError(
            f"{source.path} has NaN or infinite values inside the mask, first in volume {volume} of "
            f"{n_volumes} ({sometimes.sum()} of {n_targets} {source.targets_name} are affected); preprocess the "
            "run again."
        )


def _with_progress(source: RunSource, n_rows: int, progress: bool) -> Any:
    blocks = source.blocks(n_rows)
    if not progress:
        return blocks
    from tqdm import tqdm

    return tqdm(
        blocks, total=-(-source.n_volumes // n_rows), desc=source.path.name, unit="block", leave=False
    )


def _clean(
    path: Path, basis: np.ndarray, keep: np.ndarray, memory_mb: float, standardise: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Clean the responses in their file, tile by tile of voxels; returns (constant, tsnr), (n_targets,) "
    "each."""
    n_volumes, n_targets = np.lib.format.open_memmap(path, mode="r").shape
    # A tile is there once as float32 and up to three times as float64.
    width = int(np.clip(memory_mb * 2**20 // (n_volumes * 28), 1, 4096))
    qualities = []
    for start in range(0, n_targets, width):
        # A new map each time: pages of the last tile leave the memory with it.
        responses = np.lib.format.open_memmap(path, mode="r+")
        tile = np.array(responses[:, start : start + width])
        qualities.append(clean_tile(tile, basis, keep, standardise=standardise))
        responses[:, start : start + width] = tile
        del responses
    constant = np.concatenate([quality.constant for quality in qualities])
    return constant, np.concatenate([quality.tsnr for quality in qualities])
