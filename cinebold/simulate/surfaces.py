"""The simulated series on surfaces: each vertex has the series of the voxel that it lies in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.bold.gifti import write_gifti
from cinebold.bold.surfaces import HEMISPHERES, SurfaceGeometry, hemisphere_name
from cinebold.errors import SettingError
from cinebold.files import save_nifti, write_json
from cinebold.simulate.brain import Brain

if TYPE_CHECKING:
    from cinebold.bold.geometry import Geometry

#: Vertices of a hemisphere by space; the icosahedra of FreeSurfer are nested, and nilearn brings the third.
N_VERTICES = {"fsaverage3": 642, "fsaverage4": 2_562, "fsaverage5": 10_242}
#: Grayordinates: the cortex with the vertices of fsaverage4, since no surface of fsLR is at hand, and thalamus voxels.
CIFTI_SPACE = "fsLR"
CIFTI_DENSITY = "5k"
SPACES = (*N_VERTICES, CIFTI_SPACE)
_CIFTI_VERTICES = 2_562
#: |x|, y, z in mm
_THALAMUS_MM = ((2, 24), (-34, 2), (-4, 20))


@dataclass(frozen=True)
class Projection:
    """A space and where its positions lie among the voxels of the brain."""

    name: str  #: as it stands in file names
    geometry: "Geometry"  #: the targets are the positions inside the brain
    voxels: np.ndarray  #: (n_targets,) which of the True voxels of the brain mask

    def save_map(self, folder: Path, before: str, after: str, values: np.ndarray) -> list[Path]:
        """Write (n_brain_voxels,) as a map called `before`_space-..._`after`."""
        return self.geometry.save_map(folder / f"{before}_{self.name}_{after}", values[self.voxels])


def make_projections(spaces: tuple[str, ...], brain: Brain) -> tuple[Projection, ...]:
    """The spaces, in their order.

    Raises
    ------
    SettingError : a space is not one of `SPACES`.
    """
    for space in spaces:
        if space not in SPACES:
            raise SettingError(f"surfaces can be {', '.join(SPACES)}, and {space!r} is none of them.")
    return tuple(
        _grayordinates(brain) if space == CIFTI_SPACE else _surface(space, brain) for space in spaces
    )


def write_surface_series(
    func_dir: Path,
    stem: str,
    series: np.ndarray,
    projection: Projection,
    tr_s: float,
    sidecar: dict[str, Any],
) -> None:
    """Write (n_volumes, n_brain_voxels) as fMRIPrep does: a file a hemisphere, or a CIFTI file, with sidecars."""
    everywhere = projection.geometry.filled(series[:, projection.voxels])
    name = f"{stem}_{projection.name}_bold"
    if isinstance(projection.geometry, SurfaceGeometry):
        halves = projection.geometry.by_hemisphere(everywhere)
        for hemisphere, half in zip(HEMISPHERES, halves, strict=True):
            own = hemisphere_name(name, hemisphere)
            write_gifti(func_dir / f"{own}.func.gii", half, hemisphere, [""] * len(half), tr_s=tr_s)
            write_json(func_dir / f"{own}.json", sidecar)
        return
    import nibabel
    from nibabel.cifti2 import SeriesAxis

    axes = (SeriesAxis(0, tr_s, len(everywhere)), projection.geometry.axis)
    image = nibabel.Cifti2Image(everywhere, header=axes)
    image.nifti_header.set_intent("ConnDenseSeries")
    save_nifti(func_dir / f"{name}.dtseries.nii", image)
    write_json(func_dir / f"{name}.json", sidecar)


def _surface(space: str, brain: Brain) -> Projection:
    n_vertices = N_VERTICES[space]
    voxels = np.concatenate([_voxels_of(_vertices_mm(side, n_vertices), brain) for side in ("left", "right")])
    return Projection(
        f"space-{space}", SurfaceGeometry(voxels >= 0, (n_vertices, n_vertices)), voxels[voxels >= 0]
    )


def _grayordinates(brain: Brain) -> Projection:
    from nibabel.cifti2 import BrainModelAxis

    from cinebold.bold.cifti import CiftiGeometry

    axis, voxels = None, []
    for side in ("left", "right"):
        found = _voxels_of(_vertices_mm(side, _CIFTI_VERTICES), brain)
        part = BrainModelAxis.from_mask(found >= 0, name=f"cortex_{side}")
        axis = part if axis is None else axis + part
        voxels.append(found[found >= 0])
    number = np.full(brain.shape, -1)
    number[brain.mask] = np.arange(brain.mask.sum())
    x, y, z = (brain.affine[:3, :3] @ np.indices(brain.shape).reshape(3, -1) + brain.affine[:3, 3:]).reshape(
        3, *brain.shape
    )
    for side, sign in (("left", -1), ("right", 1)):
        inside = brain.mask.copy()
        for coordinate, (low, high) in zip((sign * x, y, z), _THALAMUS_MM, strict=True):
            inside &= (coordinate >= low) & (coordinate < high)
        if inside.any():
            axis = axis + BrainModelAxis.from_mask(inside, name=f"thalamus_{side}", affine=brain.affine)
            voxels.append(number[inside])
    chosen = np.concatenate(voxels)
    name = f"space-{CIFTI_SPACE}_den-{CIFTI_DENSITY}"
    return Projection(name, CiftiGeometry(np.ones(len(chosen), bool), axis), chosen)


def _vertices_mm(side: str, n_vertices: int) -> np.ndarray:
    """Points half-way between the white and the pial surface of fsaverage5, which ships with nilearn."""
    from nilearn.datasets import fetch_surf_fsaverage
    from nilearn.surface import load_surf_mesh

    files = fetch_surf_fsaverage("fsaverage5")
    white, pial = (
        np.asarray(load_surf_mesh(files[f"{kind}_{side}"]).coordinates) for kind in ("white", "pial")
    )
    return ((white + pial) / 2)[:n_vertices].astype(float)


def _voxels_of(points_mm: np.ndarray, brain: Brain) -> np.ndarray:
    """Which of the True voxels of the brain mask each point lies in; -1: in none."""
    to_voxels = np.linalg.inv(brain.affine)
    indices = np.rint(points_mm @ to_voxels[:3, :3].T + to_voxels[:3, 3]).astype(int)
    inside = ((indices >= 0) & (indices < brain.shape)).all(axis=1)
    number = np.full(brain.shape, -1)
    number[brain.mask] = np.arange(brain.mask.sum())
    return np.where(inside, number[tuple(np.clip(indices, 0, np.array(brain.shape) - 1).T)], -1)
