"""A source of responses for a file and the geometry of its targets."""

from pathlib import Path

from cinebold.bold.cifti import CiftiGeometry, CiftiSource
from cinebold.bold.geometry import Geometry, VolumeGeometry
from cinebold.bold.parcel_geometry import ParcelGeometry
from cinebold.bold.parcels import parcel_source
from cinebold.bold.reading import BoldImage
from cinebold.bold.source import RunSource
from cinebold.bold.surfaces import SurfaceGeometry, SurfaceSource
from cinebold.bold.volume_source import VolumeSource
from cinebold.errors import InputError


def source_of(
    path: str | Path,
    geometry: Geometry,
    *,
    right: str | Path | None = None,
    interpolation: str = "linear",
    smoothing_mm: float | None = None,
) -> RunSource:
    """The targets of `geometry` in a series or in a set of maps.

    Parameters
    ----------
    path : a 4-D NIfTI on any grid for voxels, a CIFTI file for grayordinates, the left hemisphere's GIFTI for vertices
    right : the right hemisphere's
    interpolation, smoothing_mm : of voxels (`VolumeSource`)

    Raises
    ------
    InputError : a file of another kind or with other positions than the geometry's
    """
    if isinstance(geometry, ParcelGeometry):
        inner = source_of(
            path, geometry.inner, right=right, interpolation=interpolation, smoothing_mm=smoothing_mm
        )
        return parcel_source(inner, geometry.parcellation)
    if isinstance(geometry, VolumeGeometry):
        image, how = BoldImage(path), {"interpolation": interpolation, "smoothing_mm": smoothing_mm}
        return VolumeSource(image, geometry.grid, geometry.kept, **how)
    if isinstance(geometry, CiftiGeometry):
        return CiftiSource(path, geometry)
    if isinstance(geometry, SurfaceGeometry) and right is not None:
        return SurfaceSource(path, right, geometry)
    raise InputError(f"{path}: vertices need the files of both hemispheres; give the other one too.")
