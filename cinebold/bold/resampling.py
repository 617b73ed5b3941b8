"""Mask and resampling as one sparse matrix: a volume becomes the responses of the mask's voxels in one "
"product."""

import numpy as np
from scipy.sparse import csr_array

from cinebold.bold.grid import Grid, grids_equal
from cinebold.errors import SettingError

#: Coordinates this close to a voxel centre, in voxels, are on it: rounding in affines must not blur a pure
#: selection.
ON_CENTRE = 1e-6


def mask_resample_operator(
    source: Grid, target: Grid, mask: np.ndarray, *, interpolation: str = "linear"
) -> csr_array:
    """The matrix W with responses = W @ volume.

    Parameters
    ----------
    source : grid of the volumes
    target : grid of the mask
    mask : (n_x, n_y, n_z) bool on the target grid
    interpolation : "linear" (trilinear) or "nearest"

    Returns
    -------
    (n_targets, n_source_voxels) float32; rows in the order of `mask`'s True voxels in C order, so that
    `values[mask] = responses` puts them back; columns in file order, x fastest (Fortran order).
    Voxels outside the centres of the outermost source voxels have an empty row, value 0, as in
    `nilearn.image.resample_img`. Zero weights are not stored: a NaN that is not needed does not spread.
    """
    if interpolation not in ("linear", "nearest"):
        raise SettingError(f"The interpolation must be 'linear' or 'nearest', not {interpolation!r}.")
    if mask.shape != tuple(target.shape):
        raise ValueError(f"mask has shape {mask.shape}, its grid {target.shape}")
    voxels = np.argwhere(mask)
    strides = np.array([1, source.shape[0], source.shape[0] * source.shape[1]])
    if grids_equal(source, target):
        return _assemble((voxels @ strides)[:, None], np.ones((len(voxels), 1)), source.n_voxels)

    to_source = np.linalg.inv(source.affine) @ target.affine
    coordinates = voxels @ to_source[:3, :3].T + to_source[:3, 3]  # (n_targets, 3), in source voxels
    nearest = np.rint(coordinates)
    coordinates = np.where(np.abs(coordinates - nearest) < ON_CENTRE, nearest, coordinates)
    last = np.array(source.shape) - 1
    inside = ((coordinates >= 0) & (coordinates <= last)).all(axis=1)
    coordinates = np.clip(coordinates, 0, last)

    if interpolation == "nearest":
        # Ties go up, as in scipy.ndimage.
        columns = np.floor(coordinates + 0.5).astype(np.int64) @ strides
        return _assemble(columns[:, None], inside[:, None].astype(float), source.n_voxels)

    lower = np.floor(coordinates)
    fraction = coordinates - lower
    columns, weights = [], []
    for z in (0, 1):
        for y in (0, 1):
            for x in (0, 1):
                corner = np.array([x, y, z])
                columns.append(np.minimum(lower + corner, last).astype(np.int64) @ strides)
                weights.append(np.where(corner, fraction, 1 - fraction).prod(axis=1) * inside)
    return _assemble(np.stack(columns, 1), np.stack(weights, 1), source.n_voxels)


def _assemble(columns: np.ndarray, weights: np.ndarray, n_columns: int) -> csr_array:
    """CSR from (n_rows, n_entries) columns in ascending order and their weights, without the zeros."""
    stored = weights != 0
    pointers = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    index_type = np.int32 if max(n_columns, pointers[-1]) < 2**31 else np.int64
    return csr_array(
        (weights[stored].astype(np.float32), columns[stored].astype(index_type), pointers.astype(index_type)),
        shape=(len(columns), n_columns),
    )
