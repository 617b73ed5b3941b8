"""A map on the inflated cortical surface (fsaverage5, which ships with nilearn)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cinebold.plotting.colouring import Scale, scale_for
from cinebold.plotting.slices import read_map, significant_voxels
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
) -> Path:
    """The map on both hemispheres, lateral and medial: a row of four views and one colour bar.

    The volume is sampled along the line from the white to the pial surface; voxels without a value (NaN)
    have no weight. Parameters as in `statmap_slices`; with `q_image` only voxels below `q` are shown.
    """
    image = read_map(image_path)
    values = np.asanyarray(image.dataobj, dtype=np.float32)
    if q_image is not None:
        values = np.where(significant_voxels(q_image, image, q), values, np.nan)
    if scale is None:
        scale = scale_for(values, threshold=threshold, vmax=vmax, symmetric=symmetric)
    sample = partial(categories_on_surface, n=scale.categories) if scale.categories else sampled_on_surface
    wide = 1.05 if scale.categories else 1.0  # their names need room
    with drawing(out_png, 10.4 * wide, 2.3) as figure:
        figure.text(0.008, 0.92, title, fontsize=11, fontweight="bold", va="center")
        for column, (hemisphere, view, looks_along) in enumerate(_VIEWS):
            axes = figure.add_axes(((0.005 + column * 0.225) / wide, 0.09, 0.22 / wide, 0.72))
            _draw_hemisphere(
                axes,
                hemisphere,
                looks_along,
                scale.rgba(sample(values, image.affine, hemisphere)),
            )
            axes.set_title(
                f"{hemisphere}, {view}", fontsize=8, color=MUTED, loc="center", fontweight="normal", y=-0.11
            )
        scale.draw_bar(figure, figure.add_axes((0.921 / wide, 0.16, 0.0135 / wide, 0.6)), unit)
    return Path(out_png)


def _draw_hemisphere(axes, hemisphere: str, looks_along: int, colours: np.ndarray) -> None:
    """Paint one hemisphere, seen along +x or -x, with the colours (n_vertices, 4) over its folding pattern.

    An orthographic projection: triangles that face away are left out, the others painted from back to front.
    It does in a fraction of a second what matplotlib's 3-D axes need many seconds for.
    """
    from matplotlib.collections import TriMesh
    from matplotlib.tri import Triangulation

    vertices, triangles, sulcal_depth = _inflated(hemisphere)
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
    shade = np.where(sulcal_depth > 0, 0.66, 0.86)[:, None] * np.ones(
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


def _inflated(hemisphere: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n, 3) in mm, triangles (m, 3) with normals outwards, and smoothed sulcal depth (n,)."""
    from nilearn.surface import load_surf_data, load_surf_mesh

    files = _bundled_surfaces()
    mesh = load_surf_mesh(files[f"infl_{hemisphere}"])
    vertices = np.asarray(mesh.coordinates, dtype=float)
    triangles = np.asarray(mesh.faces)
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if np.sum(normals * (corners.mean(axis=1) - vertices.mean(axis=0))) < 0:
        triangles = triangles[:, ::-1]
    return vertices, triangles, np.asarray(load_surf_data(files[f"sulc_{hemisphere}"]), dtype=float)


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

    files = _bundled_surfaces()
    stacked = np.stack(volumes, axis=-1).astype(np.float32)
    sampled = vol_to_surf(
        nibabel.Nifti1Image(stacked, affine),
        files[f"pial_{hemisphere}"],
        inner_mesh=files[f"white_{hemisphere}"],
        interpolation="linear",
    )
    return np.nan_to_num(sampled)


def _bundled_surfaces():
    from nilearn.datasets import fetch_surf_fsaverage

    return fetch_surf_fsaverage("fsaverage5")  # inside nilearn's wheel: no download
