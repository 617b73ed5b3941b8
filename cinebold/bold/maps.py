"""Maps of any geometry, by the path of their file; of two hemispheres the left one's stands for both."""

from functools import partial
from pathlib import Path

import numpy as np

from cinebold.bold.cifti import CiftiGeometry, load_cifti
from cinebold.bold.geometry import Geometry, VolumeGeometry
from cinebold.bold.gifti import gifti_array, read_gifti, read_gifti_header
from cinebold.bold.parcel_geometry import PARCELS_EXTENSION, ParcelGeometry, load_parcellation
from cinebold.bold.surfaces import HEMISPHERES, SurfaceGeometry, hemisphere_path

#: What a map's file ends with, the most frequent first.
MAP_EXTENSIONS = (VolumeGeometry.map_extension, SurfaceGeometry.map_extension, CiftiGeometry.map_extension)


def map_files(path: str | Path) -> list[str]:
    """All files of a map: one, or those of both hemispheres.

    >>> map_files("sub-1_hemi-L_stat-r_statmap.func.gii")
    ['sub-1_hemi-L_stat-r_statmap.func.gii', 'sub-1_hemi-R_stat-r_statmap.func.gii']
    """
    if not str(path).endswith(SurfaceGeometry.map_extension):
        return [str(path)]
    return [str(hemisphere_path(path, hemisphere)) for hemisphere in HEMISPHERES]


def targets_name_of(path: str | Path) -> str:
    """What the targets of a map are called, in the plural, from the name of its file."""
    kinds = (SurfaceGeometry, CiftiGeometry)
    return next(
        (k.targets_name for k in kinds if str(path).endswith(k.map_extension)), VolumeGeometry.targets_name
    )


def load_geometry(path: str | Path) -> Geometry:
    """What `Geometry.save` wrote."""
    import nibabel

    if str(path).endswith(PARCELS_EXTENSION):
        inner, parcellation = load_parcellation(path)
        return ParcelGeometry(load_geometry(inner), parcellation)
    if str(path).endswith(".npz"):
        return SurfaceGeometry.load(path)
    if str(path).endswith(CiftiGeometry.map_extension):
        return CiftiGeometry.load(path)
    image = nibabel.load(path)
    return VolumeGeometry(np.asarray(image.dataobj).astype(bool), image.affine)


def geometry_of_map(path: str | Path) -> Geometry:
    """The geometry of a map, all its positions kept; maps that a volume's geometry writes state no unit."""
    import nibabel

    if str(path).endswith(SurfaceGeometry.map_extension):
        return SurfaceGeometry.of_files(*map_files(path))
    if str(path).endswith(CiftiGeometry.map_extension):
        return CiftiGeometry.of_file(path)
    image = nibabel.load(path)
    return VolumeGeometry(np.ones(image.shape[:3], bool), image.affine, unit=None)


def map_values(path: str | Path, component: int | None = None) -> np.ndarray:
    """The values of a map over all positions; of a file of k maps all of them, or the one numbered `component`.

    Returns
    -------
    float32: (n_x, n_y, n_z) or (n_positions,); all maps of a file have the axis of the maps last in volumes, as
    NIfTI has it, and first elsewhere
    """
    import nibabel

    if str(path).endswith(SurfaceGeometry.map_extension):
        read = read_gifti if component is None else partial(gifti_array, number=component)
        return np.concatenate([read(one) for one in map_files(path)], axis=-1).astype(np.float32)
    if str(path).endswith(CiftiGeometry.map_extension):
        data = load_cifti(path).dataobj
        if component is None:
            values = np.asarray(data, np.float32)
            return values[0] if len(values) == 1 else values
        return np.asarray(data[component], np.float32)
    data = nibabel.load(path).dataobj
    return np.asanyarray(data if component is None else data[..., component], dtype=np.float32)


def n_maps(path: str | Path) -> int:
    """How many maps a file holds."""
    import nibabel

    if str(path).endswith(SurfaceGeometry.map_extension):
        return read_gifti_header(path).n_volumes
    shape = nibabel.load(path).shape
    if str(path).endswith(CiftiGeometry.map_extension):
        return int(shape[0])
    return int(shape[3]) if len(shape) > 3 else 1
