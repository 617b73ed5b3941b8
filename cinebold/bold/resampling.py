"""Mask and resampling as one sparse matrix: a volume becomes the responses of the mask's voxels in one product."""

import numpy as np
from scipy.sparse import csr_array, vstack

from cinebold.bold.grid import Grid, grids_equal
from cinebold.errors import SettingError

#: Coordinates this close to a voxel centre, in voxels, are on it: rounding in affines must not blur a pure
#: selection.
ON_CENTRE = 1e-6

INTERPOLATIONS = ("linear", "nearest", "cubic")

#: Targets whose weights are found together; bounds the memory (1 kB a target where there are 64 weights).
_N_TOGETHER = 16384


def mask_resample_operator(
    source: Grid, target: Grid, mask: np.ndarray, *, interpolation: str = "linear"
) -> csr_array:
    """The matrix W with responses = W @ volume.

    Parameters
    ----------
    source : grid of the volumes
    target : grid of the mask
    mask : (n_x, n_y, n_z) bool on the target grid
    interpolation : "linear" (trilinear), "nearest", or "cubic" (B-splines of order 3): the volume must then be
        `spline_coefficients` of the volume, unless the grids are equal

    Returns
    -------
    (n_targets, n_source_voxels) float32; rows in the order of `mask`'s True voxels in C order, so that
    `values[mask] = responses` puts them back; columns in file order, x fastest (Fortran order).
    Voxels outside the centres of the outermost source voxels have an empty row, value 0, as in
    `nilearn.image.resample_img`. Zero weights are not stored: a NaN that is not needed does not spread.
    """
    if interpolation not in INTERPOLATIONS:
        raise SettingError(
            f"The interpolation must be 'linear', 'nearest' or 'cubic', not {interpolation!r}."
        )
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
    weights_of = {"linear": _linear, "nearest": _nearest, "cubic": _cubic}[interpolation]
    parts = []
    for start in range(0, max(len(coordinates), 1), _N_TOGETHER):
        some = coordinates[start : start + _N_TOGETHER]
        last = np.array(source.shape) - 1
        inside = ((some >= 0) & (some <= last)).all(axis=1)
        along_axes = [
            weights_of(np.clip(some[:, axis], 0, last[axis]), last[axis]) for axis in range(3)
        ]  # each: indices and weights, (n_some, n_neighbours)
        columns = sum(
            _along(indices, axis) * strides[axis] for axis, (indices, _) in enumerate(along_axes)
        ).reshape(len(some), -1)
        weights = np.ones((len(some), 1, 1, 1))
        for axis, (_, of_axis) in enumerate(along_axes):
            weights = weights * _along(of_axis, axis)
        parts.append(_assemble(columns, weights.reshape(len(some), -1) * inside[:, None], source.n_voxels))
    return parts[0] if len(parts) == 1 else csr_array(vstack(parts, format="csr"))


def spline_coefficients(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """What the cubic operator weighs: coefficients of the spline through the voxels.

    Parameters
    ----------
    volume : (n_voxels,) in file order, finite
    shape : (n_x, n_y, n_z)

    Returns
    -------
    (n_voxels,) float64, in file order; beyond the borders the volume is mirrored, as in `scipy.ndimage`
    """
    from scipy.ndimage import spline_filter

    # File order is C order of the axes (z, y, x).
    return spline_filter(volume.reshape(shape[::-1]), order=3, output=np.float64, mode="mirror").ravel()


def _along(values: np.ndarray, axis: int) -> np.ndarray:
    """(n, k) as (n, 1, 1, k) for x, (n, 1, k, 1) for y, (n, k, 1, 1) for z: x runs fastest, as columns do."""
    shape = [len(values), 1, 1, 1]
    shape[3 - axis] = values.shape[1]
    return values.reshape(shape)


def _nearest(coordinates: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    # Ties go up, as in scipy.ndimage.
    indices = np.floor(coordinates + 0.5).astype(np.int64)
    return indices[:, None], np.ones((len(indices), 1))


def _linear(coordinates: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    lower = np.floor(coordinates)
    fraction = coordinates - lower
    indices = np.minimum(np.stack([lower, lower + 1], axis=1), last).astype(np.int64)
    return indices, np.stack([1 - fraction, fraction], axis=1)


def _cubic(coordinates: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    """The four B-splines of order 3 that are not 0 at a coordinate; neighbours beyond the border are mirrored."""
    lower = np.floor(coordinates)
    t = coordinates - lower
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    indices = lower.astype(np.int64)[:, None] + np.arange(-1, 3)
    period = max(2 * last, 1)
    indices = np.abs(indices) % period
    return np.where(indices > last, period - indices, indices), weights / 6


def _assemble(columns: np.ndarray, weights: np.ndarray, n_columns: int) -> csr_array:
    """CSR from (n_rows, n_entries) columns and their weights, without the zeros."""
    stored = weights != 0
    pointers = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    index_type = np.int32 if max(n_columns, pointers[-1]) < 2**31 else np.int64
    return csr_array(
        (weights[stored].astype(np.float32), columns[stored].astype(index_type), pointers.astype(index_type)),
        shape=(len(columns), n_columns),
    )
