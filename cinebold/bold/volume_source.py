"""Volumes as a source of responses: only the voxels that the mask needs are converted, scaled and weighed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from cinebold.bold.grid import Grid, grids_equal
from cinebold.bold.reading import BoldImage
from cinebold.bold.resampling import mask_resample_operator, spline_coefficients
from cinebold.errors import SettingError

#: Full width at half maximum over standard deviation of a Gaussian.
FWHM_PER_SD = np.sqrt(8 * np.log(2))


class VolumeSource:
    """The voxels of a mask, from a 4-D NIfTI on any grid; a `RunSource`.

    Parameters
    ----------
    image : the series
    grid_target, mask : the grid of the responses and its voxels
    interpolation : "linear", "nearest" or "cubic"; equal to nilearn's "linear", "nearest" and "continuous", where the
        last is kept within the values of the run's volumes (and 0), for which the file is read twice
    smoothing_mm : full width at half maximum of a Gaussian that each volume is smoothed with before it is resampled,
        as by `nilearn.image.smooth_img` (values that are not finite count as 0); None: not smoothed

    Attributes
    ----------
    see `RunSource`
    """

    targets_name = "voxels"

    def __init__(
        self,
        image: BoldImage,
        grid_target: Grid,
        mask: np.ndarray,
        *,
        interpolation: str = "linear",
        smoothing_mm: float | None = None,
    ) -> None:
        self.path = image.path
        self.n_volumes = image.n_volumes
        self.bytes_per_volume = image.bytes_per_volume
        self.description: dict[str, Any] = {
            "interpolation": interpolation,
            "smoothing_mm": smoothing_mm,
            "warnings": list(image.header.warnings),
        }
        if smoothing_mm is not None:
            extent_mm = (image.grid.voxel_sizes_mm * image.shape3d).max()
            if not 0 < smoothing_mm <= extent_mm:
                raise SettingError(
                    "The smoothing is the full width at half maximum of a Gaussian in mm, above 0 and within the field "
                    f"of view ({extent_mm:.0f} mm), not {smoothing_mm}."
                )
            self.bytes_per_volume += 8 * image.grid.n_voxels
        self._image, self._smoothing_mm = image, smoothing_mm
        self._splines = interpolation == "cubic" and not grids_equal(image.grid, grid_target)
        operator = mask_resample_operator(image.grid, grid_target, mask, interpolation=interpolation)
        self.n_targets: int = operator.shape[0]
        if self._splines:
            self.bytes_per_volume += 16 * image.grid.n_voxels
            self._nearest = mask_resample_operator(image.grid, grid_target, mask, interpolation="nearest")
        if self._splines or smoothing_mm is not None:
            self._operator = operator
        else:
            self._needed, self._operator = _compressed(operator)

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """See `RunSource`."""
        if self._splines or self._smoothing_mm is not None:
            return self._blocks_of_whole_volumes(n_volumes_per_block)
        return self._blocks_of_needed_voxels(n_volumes_per_block)

    def _blocks_of_needed_voxels(self, n_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        header = self._image.header
        rows = np.empty((min(max(1, n_per_block), self.n_volumes), self.n_targets), np.float32)
        stored = np.empty(len(self._needed), header.dtype)
        needed = np.empty(len(self._needed), np.float32)
        for start, volumes in self._image.stored_blocks(n_per_block):
            for row, volume in zip(rows, volumes, strict=False):
                # Indices are in range: without "clip", take would copy once more.
                np.take(volume, self._needed, out=stored, mode="clip")
                if self._operator is None:
                    row[:] = stored
                    header.scale(row)
                else:
                    needed[:] = stored
                    row[:] = self._operator @ header.scale(needed)
            yield start, rows[: len(volumes)]

    def _blocks_of_whole_volumes(self, n_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        bounds = self._bounds(n_per_block) if self._splines else None
        rows = np.empty((min(max(1, n_per_block), self.n_volumes), self.n_targets), np.float32)
        for start, volumes in self._image.blocks(n_per_block):
            for row, volume in zip(rows, volumes, strict=False):
                row[:] = (
                    self._splined(self._smoothed(volume))
                    if self._splines
                    else (self._operator @ self._smoothed(volume))
                )
            if bounds is not None:
                np.clip(rows, *bounds, out=rows)
            yield start, rows[: len(volumes)]

    def _bounds(self, n_per_block: int) -> tuple[np.float32, np.float32]:
        """The least and the greatest value of the run, 0 among them."""
        lowest = highest = np.float32(0)
        for _, volumes in self._image.blocks(n_per_block):
            for volume in volumes:
                smoothed = self._smoothed(volume)
                lowest = np.fmin(lowest, np.fmin.reduce(smoothed))
                highest = np.fmax(highest, np.fmax.reduce(smoothed))
        return lowest, highest

    def _smoothed(self, volume: np.ndarray) -> np.ndarray:
        if self._smoothing_mm is None:
            return volume
        from scipy.ndimage import gaussian_filter1d

        shape = self._image.shape3d[::-1]
        smoothed = np.where(np.isfinite(volume), volume, np.float32(0)).reshape(shape)
        sd_voxels = self._smoothing_mm / (FWHM_PER_SD * self._image.grid.voxel_sizes_mm)
        for axis in range(3):  # x first, which is the last axis of file order
            smoothed = gaussian_filter1d(smoothed, sd_voxels[axis], axis=2 - axis)
        return smoothed.ravel()

    def _splined(self, volume: np.ndarray) -> np.ndarray:
        """Responses of one volume; where its nearest voxel is not finite, a response is NaN."""
        shape = self._image.shape3d
        finite = np.isfinite(volume)
        if finite.all():
            return self._operator @ spline_coefficients(volume, shape)
        from nilearn.masking import extrapolate_out_mask

        values, inside = (array.reshape(shape, order="F") for array in (np.where(finite, volume, 0), finite))
        filled = extrapolate_out_mask(values, inside, iterations=2)[0].ravel(order="F")
        responses = self._operator @ spline_coefficients(filled, shape)
        responses[self._nearest @ (~finite).astype(np.float32) > 0] = np.nan
        return responses


def _compressed(operator: csr_array) -> tuple[np.ndarray, csr_array | None]:
    """The columns that an operator needs, and the operator on these alone: None where it only selects them."""
    n_weights = np.diff(operator.indptr)
    if (n_weights == 1).all() and (operator.data == 1).all():
        return operator.indices.astype(np.intp), None
    needed, columns = np.unique(operator.indices, return_inverse=True)
    smaller = csr_array(
        (operator.data, columns.astype(operator.indices.dtype), operator.indptr),
        shape=(operator.shape[0], len(needed)),
    )
    return needed.astype(np.intp), smaller
