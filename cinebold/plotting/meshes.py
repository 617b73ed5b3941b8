"""The surfaces that maps are drawn on: nilearn's inflated fsaverage5, or one of the dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cinebold.bold.geometry import VolumeGeometry
from cinebold.plotting.figure_set import NotDrawnError

_HEMISPHERES = ("left", "right")
#: FreeSurfer's icosahedra are nested: the first vertices of a finer one are those of a coarser one.
_ICOSAHEDRA = (642, 2_562, 10_242, 40_962, 163_842)
_BUNDLED = 10_242


@dataclass(frozen=True)
class Mesh:
    """One hemisphere."""

    vertices: np.ndarray  #: (n, 3) mm
    triangles: np.ndarray  #: (m, 3), normals outwards
    sulcal_depth: np.ndarray  #: (n,) above zero in sulci; zero where it is not known


def bundled_files():
    """The files of fsaverage5 inside nilearn's wheel: no download."""
    from nilearn.datasets import fetch_surf_fsaverage

    return fetch_surf_fsaverage("fsaverage5")


def inflated(hemisphere: str) -> Mesh:
    """The inflated fsaverage5, "left" or "right"."""
    from nilearn.surface import load_surf_data

    files = bundled_files()
    vertices, triangles = _read(files[f"infl_{hemisphere}"])
    depth = np.asarray(load_surf_data(files[f"sulc_{hemisphere}"]), dtype=float)
    return Mesh(vertices, triangles, depth)


def mesh_for(n_vertices: int, hemisphere: str, meshes: Sequence[str | Path] = ()) -> tuple[Mesh, np.ndarray]:
    """A surface for values of `n_vertices` vertices, and which of the values each of its vertices shows.

    Parameters
    ----------
    hemisphere : "left" or "right"
    meshes : surfaces of the dataset, left and right; none: those of nilearn, for fsaverage of any density

    Raises
    ------
    NotDrawnError : no surface with so many vertices is at hand
    """
    if meshes:
        vertices, triangles = _read(meshes[_HEMISPHERES.index(hemisphere)])
        if len(vertices) == n_vertices:
            return Mesh(vertices, triangles, np.zeros(n_vertices)), np.arange(n_vertices)
    if n_vertices not in _ICOSAHEDRA:
        raise NotDrawnError(
            f"no surface with {n_vertices:,} vertices is at hand: maps are drawn on fsaverage of any density, or on "
            "inflated or midthickness surfaces in the anat folder of the derivatives"
        )
    if n_vertices >= _BUNDLED:
        return inflated(hemisphere), np.arange(_BUNDLED)
    return inflated(hemisphere), _nearest_of_first(n_vertices, hemisphere)


def surface_facts(path: str | Path, meshes: Sequence[str | Path] = ()) -> dict[str, str]:
    """What captions say of the surface that a map is drawn on; nothing of volumes, which have one surface only."""
    if str(path).endswith(VolumeGeometry.map_extension):
        return {}
    return {"surface": f"the surface {Path(meshes[0]).name}" if meshes else "the inflated fsaverage5 surface"}


@cache
def _nearest_of_first(n_vertices: int, hemisphere: str) -> np.ndarray:
    """For each vertex of fsaverage5 the nearest on the sphere of the first `n_vertices`."""
    from scipy.spatial import cKDTree

    sphere, _ = _read(bundled_files()[f"sphere_{hemisphere}"])
    return cKDTree(sphere[:n_vertices]).query(sphere)[1]


def _read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles, turned so that normals point outwards."""
    from nilearn.surface import load_surf_mesh

    mesh = load_surf_mesh(str(path))
    vertices, triangles = np.asarray(mesh.coordinates, dtype=float), np.asarray(mesh.faces)
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if np.sum(normals * (corners.mean(axis=1) - vertices.mean(axis=0))) < 0:
        triangles = triangles[:, ::-1]
    return vertices, triangles
