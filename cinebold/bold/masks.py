"""Which voxels are modelled."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.bold.grid import Grid, grids_equal
from cinebold.bold.reading import load_volume
from cinebold.bold.resampling import mask_resample_operator
from cinebold.errors import InputError, SettingError


def build_mask(
    kind: str | Path,
    grid: Grid,
    *,
    brain_masks: Sequence[str | Path],
    gm_probseg: str | Path | None = None,
    gm_threshold: float = 0.2,
) -> np.ndarray:
    """The voxels of `grid` that are in every run's brain mask and, by `kind`, in grey matter or in a given
    mask.

    Parameters
    ----------
    kind : "brain"; "gm" (grey-matter probability above `gm_threshold`); "none" (the whole grid, air included,
        whatever the brain masks say); or the path of a mask, not 0 inside
    grid : the grid of the responses
    brain_masks : one mask a run; masks on other grids are resampled (nearest), as they are for `kind` a path
    gm_probseg : grey-matter probabilities in the same space, on any grid (resampled linearly)

    Returns
    -------
    (n_x, n_y, n_z) bool

    Raises
    ------
    InputError : no grey-matter map, a map that holds no probabilities, or no voxel left; the message says
    which mask took the last ones.
    """
    mask = np.ones(grid.shape, bool)
    if str(kind) == "none":
        return mask
    for path in brain_masks:
        inside = _resampled(path, grid, "nearest") > 0.5
        if not inside.any():
            raise InputError(
                f"The brain mask {path} is empty on the grid of the analysis; preprocess this run again, or leave it "
                "out."
            )
        mask &= inside
        if not mask.any():
            raise InputError(
                f"No voxel is left in the mask after the brain mask {path}: are all runs in one space?"
            )
    if str(kind) == "brain":
        if not brain_masks:
            raise InputError("The mask 'brain' needs the brain masks of the runs, and there is none.")
        return mask
    if str(kind) == "gm":
        mask &= _grey_matter(gm_probseg, grid, gm_threshold)
        source, remedy = (
            gm_probseg,
            "is it in the same space, and the threshold below the highest probability?",
        )
    else:
        chosen = _resampled(kind, grid, "nearest")
        mask &= np.isfinite(chosen) & (chosen != 0)
        source, remedy = kind, "is it in the same space as the BOLD?"
    if not mask.any():
        raise InputError(f"No voxel of {source} lies inside the brain masks of all runs; {remedy}")
    return mask


def _grey_matter(path: str | Path | None, grid: Grid, threshold: float) -> np.ndarray:
    if not 0 <= threshold < 1:
        raise SettingError(f"The grey-matter threshold is a probability from 0 to below 1, not {threshold}.")
    if path is None:
        raise InputError(
            "The mask 'gm' needs a grey-matter probability map (label-GM_probseg) in the space of the BOLD, "
            "and there is none; run fMRIPrep with that output space, or choose the mask 'brain' or a file."
        )
    probability = _resampled(path, grid, "linear")
    if np.nanmax(probability, initial=0) > 1.01 or np.nanmin(probability, initial=0) < -0.01:
        raise InputError(
            f"{path} should hold probabilities from 0 to 1, but its values go from "
            f"{np.nanmin(probability):g} to {np.nanmax(probability):g}."
        )
    return probability > threshold


def _resampled(path: str | Path, grid: Grid, interpolation: str) -> np.ndarray:
    values, affine = load_volume(path)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    source = Grid(values.shape, affine)
    if grids_equal(source, grid):
        return values
    operator = mask_resample_operator(source, grid, np.ones(grid.shape, bool), interpolation=interpolation)
    return (operator @ values.ravel(order="F")).reshape(grid.shape)
