"""A map on the cortical surface: the inflated fsaverage5, which ships with nilearn, or one of the dataset."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinebold.bold.geometry import Geometry, VolumeGeometry
from cinebold.bold.maps import geometry_of_map, map_values
from cinebold.bold.surfaces import SurfaceGeometry
from cinebold.plotting.colouring import Scale, scale_for
from cinebold.plotting.figure_set import FigureSet
from cinebold.plotting.meshes import Mesh, bundled_files, inflated, mesh_for, surface_facts
from cinebold.plotting.slices import significant_targets
from cinebold.plotting.style import MUTED, drawing

#: (hemisphere, view, direction in which one looks along x) from left to right
_VIEWS = (
    ("left", "lateral", +1),
    ("left", "medial", -1),
    ("right", "medial", +1),
    ("right", "lateral", -1),
)
#: Of the line between the surfaces that must have values.
_LEAST_SHARE = 0.15


def statmap_surface(
    image_path: str | Path,
    out_png: str | Path,
    *,
    title: str,
    unit: str = "",
    threshold: float | None = None,
    vmax: float | None = None,
    symmetric: bool = False,
    q_image: str | Path | None = None,
    q: float = 0.05,
    scale: Scale | None = None,
    meshes: Sequence[str | Path] = (),
) -> Path:
    """The map on both hemispheres, lateral and medial: a row of four views and one colour bar.

    A volume is sampled along the line from the white to the pial surface; voxels without a value (NaN)
    have no weight. Vertices keep their values. Parameters as in `statmap_slices`; with `q_image` only what is below
    `q` is shown. `meshes` are surfaces of the dataset, left and right, for maps of their vertices.

    Raises NotDrawnError when there is no surface for the map's vertices.
    """
    geometry, values = geometry_of_map(image_path), map_values(image_path)
    if q_image is not None:
        values = np.where(significant_targets(q_image, geometry, q), values, np.nan)
    if scale is None:
        scale = scale_for(values, threshold=threshold, vmax=vmax, symmetric=symmetric)
    shown = {
        hemisphere: _on_mesh(geometry, values, hemisphere, scale.categories, meshes)
        for hemisphere in ("left", "right")
    }
    wide = 1.05 if scale.categories else 1.0  # their names need room
    with drawing(out_png, 10.4 * wide, 2.3) as figure:
        figure.text(0.008, 0.92, title, fontsize=11, fontweight="bold", va="center")
        for column, (hemisphere, view, looks_along) in enumerate(_VIEWS):
            axes = figure.add_axes(((0.005 + column * 0.225) / wide, 0.09, 0.22 / wide, 0.72))
            _draw_hemisphere(
                axes,
                shown[hemisphere][0],
                looks_along,
                scale.rgba(shown[hemisphere][1]),
            )
            axes.set_title(
                f"{hemisphere}, {view}", fontsize=8, color=MUTED, loc="center", fontweight="normal", y=-0.11
            )
        scale.draw_bar(figure, figure.add_axes((0.921 / wide, 0.16, 0.0135 / wide, 0.6)), unit)
    return Path(out_png)


def surface_of(figures: FigureSet, image_path: str | Path) -> dict[str, str]:
    """What a caption says of the surface on which `figures` draws a map; nothing of volumes."""
    return surface_facts(image_path, figures.options_of.get(statmap_surface, {}).get("meshes", ()))


def _on_mesh(
    geometry: Geometry,
    values: np.ndarray,
    hemisphere: str,
    n_categories: int | None,
    meshes: Sequence[str | Path],
) -> tuple[Mesh, np.ndarray]:
    """A hemisphere's surface, and the values at its vertices."""
    if isinstance(geometry, VolumeGeometry):
        if n_categories:
            return inflated(hemisphere), categories_on_surface(
                values, geometry.affine, hemisphere, n_categories
            )
        return inflated(hemisphere), sampled_on_surface(values, geometry.affine, hemisphere)
    if isinstance(geometry, SurfaceGeometry):
        own = geometry.by_hemisphere(values)[0 if hemisphere == "left" else 1]
    else:
        own = geometry.cortex(values, hemisphere)
    mesh, chosen = mesh_for(len(own), hemisphere, meshes)
    return mesh, own[chosen]


def _draw_hemisphere(axes, mesh: Mesh, looks_along: int, colours: np.ndarray) -> None:
    """Paint one hemisphere, seen along +x or -x, with the colours (n_vertices, 4) over its folding pattern.

    An orthographic projection: triangles that face away are left out, the others painted from back to front.
    It does in a fraction of a second what matplotlib's 3-D axes need many seconds for.
    """
    from matplotlib.collections import TriMesh
    from matplotlib.tri import Triangulation

    vertices, triangles = mesh.vertices, mesh.triangles
    across = -looks_along * vertices[:, 1]
    depth = looks_along * vertices[:, 0]
    up = vertices[:, 2]
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces_us = -looks_along * normals[:, 0] > 0
    order = np.argsort(-depth[triangles].mean(axis=1), kind="stable")
    visible = triangles[order][faces_us[order]]

    vertex_normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(vertex_normals, triangles[:, corner], normals)
    vertex_normals /= np.maximum(np.linalg.norm(vertex_normals, axis=1, keepdims=True), 1e-12)
    light = np.array([-0.86 * looks_along, -0.1, 0.5])
    light /= np.linalg.norm(light)
    lit = 0.72 + 0.28 * np.clip(vertex_normals @ light, 0, 1)
    shade = np.where(mesh.sulcal_depth > 0, 0.66, 0.86)[:, None] * np.ones(
        (1, 3)
    )  # a sulcus is darker than a gyrus
    opacity = colours[:, 3:]
    painted = (shade * (1 - opacity) + colours[:, :3] * opacity) * lit[:, None]

    mesh = TriMesh(Triangulation(across, up, visible))
    mesh.set_facecolor(np.column_stack([np.clip(painted, 0, 1), np.ones(len(painted))]))
    axes.add_collection(mesh)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(across.min() - 1, across.max() + 1)
    axes.set_ylim(up.min() - 1, up.max() + 1)


def sampled_on_surface(values: np.ndarray, affine: np.ndarray, hemisphere: str) -> np.ndarray:
    """A volume's values (n_vertices,) between the white and the pial surface; NaN where there are none."""
    finite = np.isfinite(values)
    sampled = _between_surfaces([np.where(finite, values, 0.0), finite], affine, hemisphere)
    share = sampled[:, 1]
    return np.where(share >= _LEAST_SHARE, sampled[:, 0] / np.maximum(share, _LEAST_SHARE), np.nan)


def categories_on_surface(values: np.ndarray, affine: np.ndarray, hemisphere: str, n: int) -> np.ndarray:
    """The category 1 .. n (n_vertices,) with the largest share between the surfaces; NaN where there is none."""
    shares = _between_surfaces([values == number for number in range(1, n + 1)], affine, hemisphere)
    return np.where(shares.sum(axis=1) >= _LEAST_SHARE, shares.argmax(axis=1) + 1.0, np.nan)


def _between_surfaces(volumes: Sequence[np.ndarray], affine: np.ndarray, hemisphere: str) -> np.ndarray:
    """Means along the lines from the white to the pial surface, (n_vertices, n_volumes)."""
    import nibabel
    from nilearn.surface import vol_to_surf

    files = bundled_files()
    stacked = np.stack(volumes, axis=-1).astype(np.float32)
    sampled = vol_to_surf(
        nibabel.Nifti1Image(stacked, affine),
        files[f"pial_{hemisphere}"],
        inner_mesh=files[f"white_{hemisphere}"],
        interpolation="linear",
    )
    return np.nan_to_num(sampled)
