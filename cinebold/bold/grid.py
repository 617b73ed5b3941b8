"""Voxel grids: a shape and an affine."""

from dataclasses import dataclass

import numpy as np

from cinebold.errors import SettingError


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie; compare two with `grids_equal`."""

    shape: tuple[int, int, int]
    affine: np.ndarray  #: (4, 4), voxel indices to mm

    @property
    def n_voxels(self) -> int:
        """The number of voxels."""
        return int(np.prod(self.shape))

    @property
    def voxel_sizes_mm(self) -> np.ndarray:
        """The three voxel sizes."""
        return np.linalg.norm(np.asarray(self.affine)[:3, :3], axis=0)


def target_grid(shape: tuple[int, int, int], affine: np.ndarray, resolution_mm: float | None) -> Grid:
    """The grid that responses are resampled to.

    Parameters
    ----------
    shape, affine : the grid of the input
    resolution_mm : edge of the new isotropic voxels; None keeps the input's grid, and so does the size it has
        already

    Returns
    -------
    The input's axes and the centre of its field of view, with isotropic voxels, as many as cover that field
    of view (it grows by less than one voxel along each axis).

    >>> grid = target_grid((97, 115, 97), np.diag([2.0, 2.0, 2.0, 1.0]), 4.0)
    >>> grid.shape
    (49, 58, 49)
    """
    source = Grid(tuple(int(n) for n in shape[:3]), np.array(affine, float))
    if resolution_mm is None:
        return source
    sizes_mm = source.voxel_sizes_mm
    extents_mm = sizes_mm * source.shape
    if not np.isfinite(resolution_mm) or not 0 < resolution_mm <= extents_mm.max():
        raise SettingError(
            f"The resolution must be a voxel size in mm within the field of view ({extents_mm.max():.0f} "
            f"mm), not {resolution_mm}; use `native` to keep the grid of the input."
        )
    if np.allclose(sizes_mm, resolution_mm, rtol=1e-4, atol=0):
        return source
    # Without the tolerance, 12.000001 mm would need a fifth voxel of 3 mm.
    new_shape = np.maximum(1, np.ceil(extents_mm / resolution_mm - 1e-3)).astype(int)
    rotation = source.affine[:3, :3] / sizes_mm
    centre_mm = source.affine[:3, :3] @ ((np.array(source.shape) - 1) / 2) + source.affine[:3, 3]
    new_affine = np.eye(4)
    new_affine[:3, :3] = rotation * resolution_mm
    new_affine[:3, 3] = centre_mm - new_affine[:3, :3] @ ((new_shape - 1) / 2)
    return Grid(tuple(int(n) for n in new_shape), new_affine)


def world_grid(shape: tuple[int, int, int], affine: np.ndarray, resolution_mm: float) -> Grid:
    """The grid along the axes of the world, x to the right, with isotropic voxels over the input's field of view.

    As `nilearn.image.resample_img(image, target_affine=np.eye(3) * resolution_mm)` makes it: the first voxel lies on
    the lowest corner of the input's voxel centres, and one voxel at least lies on or beyond the highest. Also made
    where the input has that resolution, since its axes may be others.

    >>> world_grid((113, 136, 113), np.diag([-1.5, 1.5, 1.5, 1.0]), 3.0).shape
    (57, 69, 57)
    """
    source = target_grid(shape, affine, None)
    target_grid(shape, affine, resolution_mm)  # refuses what is no voxel size
    new_affine = np.diag([resolution_mm, resolution_mm, resolution_mm, 1.0])
    # The steps are nilearn's, one by one: a rounding error here is a voxel more or less there.
    to_target = np.linalg.inv(new_affine).dot(source.affine)
    last = np.array(source.shape) - 1
    corners = np.array(np.meshgrid(*[(0.0, n) for n in last], [1.0], indexing="ij")).reshape(4, -1)
    bounds = np.dot(to_target, corners)[:3]
    lowest, highest = bounds.min(axis=1), bounds.max(axis=1)
    new_affine[:3, 3] = new_affine[:3, :3].dot(lowest)
    return Grid(tuple(int(np.ceil(extent)) + 1 for extent in highest - lowest), new_affine)


def grids_equal(a: Grid, b: Grid, tolerance: float = 0.01) -> bool:
    """Whether two grids have the same shape and no voxel centre differs by more than `tolerance` voxels.

    Affines pass through float32 and quaternions on their way into a header, so that equal grids differ in the
    last digits. The greatest distance is at one of the eight corners.
    """
    if tuple(a.shape) != tuple(b.shape):
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape], [1], indexing="ij")).reshape(4, -1)
    distances_mm = np.linalg.norm((np.asarray(a.affine) - np.asarray(b.affine)) @ corners, axis=0)
    return bool(distances_mm.max() <= tolerance * min(a.voxel_sizes_mm.min(), b.voxel_sizes_mm.min()))
