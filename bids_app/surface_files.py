"""Series on surfaces: pairs of GIFTI files, CIFTI files, and what lies beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.layouts import BidsFile, only, parse_name
from bids_app.sidecars import ImageHeader, check_content
from cinebold.errors import InputError

GIFTI, CIFTI = ".func.gii", ".dtseries.nii"
_HEMISPHERES = ("L", "R")
#: The surfaces that maps may be drawn on, the best first.
_DRAWN = ("inflated", "midthickness")
#: Vertices of a hemisphere in the densities of CIFTI files, as the densities of their surfaces are called.
_SURFACES_OF = {"91k": "32k", "170k": "59k"}


@dataclass(frozen=True)
class SeriesParts:
    """What a preprocessed series is made of."""

    header: ImageHeader
    n_volumes: int
    shape: tuple[int, ...]
    inputs: tuple[BidsFile, ...]  #: all files but the confounds
    of_run: dict[str, Any] = field(default_factory=dict)  #: fields of a `Run` besides
    named_by: tuple[str, ...] = ("space", "den")  #: entities of the series that the outputs' names take over


def is_surface_series(file: BidsFile) -> bool:
    """Whether this is a series of a hemisphere, or of grayordinates; fMRIPrep gives them no `desc`."""
    if file.suffix != "bold" or not file.has(desc=None, echo=None, part=None):
        return False
    return file.extension == CIFTI or (file.extension == GIFTI and file.entities.get("hemi") in _HEMISPHERES)


def without_right(files: Iterable[BidsFile]) -> list[BidsFile]:
    """The files without the right hemispheres whose left ones are among them."""
    files = list(files)
    lefts = {_version(file) for file in files if file.has(hemi="L")}
    return [file for file in files if not (file.has(hemi="R") and _version(file) in lefts)]


def surface_parts(bold: BidsFile, derived: Sequence[BidsFile]) -> SeriesParts:
    """Both hemispheres, or the CIFTI file, with cortex masks and surfaces to draw on where there are any.

    Raises
    ------
    InputError : a hemisphere is missing, or a file cannot be read
    """
    if bold.extension == CIFTI:
        return _cifti_parts(bold, derived)
    from cinebold.bold.gifti import read_gifti_header

    side = bold.entities["hemi"]
    others = [file for file in derived if _version(file) == _version(bold) and not file.has(hemi=side)]
    other = only(
        others,
        f"series of the other hemisphere (hemi-{'R' if side == 'L' else 'L'}) for {bold.path.name}",
        "both are needed: get the file, or run fMRIPrep again",
    )
    left, right = (bold, other) if side == "L" else (other, bold)
    for file in (left, right):
        check_content(file.path)
    headers = [read_gifti_header(file.path) for file in (left, right)]
    if headers[0].n_volumes != headers[1].n_volumes:
        raise InputError(
            f"{left.path} has {headers[0].n_volumes} volumes but {right.path.name} has {headers[1].n_volumes}; get "
            "the shorter one again."
        )
    n_vertices = [header.n_vertices for header in headers]
    masks = _of_both(
        [f for f in derived if f.suffix == "mask" and f.extension == ".label.gii" and f.has(desc="cortex")],
        left,
        n_vertices,
        left.entities.get("den"),
    )
    return SeriesParts(
        ImageHeader((*n_vertices, headers[0].n_volumes), np.eye(4), None, states_tr=False),
        headers[0].n_volumes,
        (sum(n_vertices),),
        (left, right, *masks),
        {
            "geometry": "surface",
            "bold": str(left.path),
            "bold_right": str(right.path),
            "cortex_masks": tuple(str(file.path) for file in masks),
            "meshes": _meshes(left, derived, n_vertices, left.entities.get("den")),
        },
    )


def _cifti_parts(bold: BidsFile, derived: Sequence[BidsFile]) -> SeriesParts:
    from cinebold.bold.cifti import load_cifti

    check_content(bold.path)
    image = load_cifti(bold.path)
    series, models = (image.header.get_axis(k) for k in range(2))
    tr_s = float(getattr(series, "step", 0)) if getattr(series, "unit", "") == "SECOND" else 0.0
    n_vertices = _vertices_of(models)
    density = bold.entities.get("den", "")
    return SeriesParts(
        ImageHeader(tuple(image.shape), np.eye(4), tr_s if tr_s > 0 else None),
        int(image.shape[0]),
        (int(image.shape[1]),),
        (bold,),
        {
            "geometry": "cifti",
            "meshes": _meshes(bold, derived, n_vertices, _SURFACES_OF.get(density, density)),
        },
    )


def meshes_of_map(path: Path, derived: Sequence[BidsFile]) -> tuple[str, ...]:
    """The left and the right surface among `derived` that a stored map may be drawn on; none: not there, or a volume.

    Parameters
    ----------
    path : of two hemispheres the left one's
    """
    from cinebold.bold.cifti import CiftiGeometry
    from cinebold.bold.maps import geometry_of_map
    from cinebold.bold.surfaces import SurfaceGeometry

    file, geometry = parse_name(path), geometry_of_map(path)
    if file is None:
        return ()
    density = file.entities.get("den")
    if isinstance(geometry, SurfaceGeometry):
        return _meshes(file, derived, geometry.n_vertices, density)
    if isinstance(geometry, CiftiGeometry):
        n_vertices = _vertices_of(geometry.axis)
        return _meshes(file, derived, n_vertices, _SURFACES_OF.get(density or "", density))
    return ()


def _vertices_of(models: Any) -> list[int]:
    """Of the left and the right cortex of a CIFTI file; 0 where it has none."""
    return [models.nvertices.get(f"CIFTI_STRUCTURE_CORTEX_{side}", 0) for side in ("LEFT", "RIGHT")]


def _meshes(
    bold: BidsFile, derived: Sequence[BidsFile], n_vertices: Sequence[int], density: str | None
) -> tuple[str, ...]:
    """Surfaces with as many vertices as the series; fsaverage needs none."""
    if str(bold.entities.get("space")).startswith("fsaverage"):
        return ()
    for kind in _DRAWN:
        surfaces = [f for f in derived if f.suffix == kind and f.extension == ".surf.gii"]
        if found := _of_both(surfaces, bold, n_vertices, density):
            return tuple(str(file.path) for file in found)
    return ()


def _of_both(
    files: Sequence[BidsFile], bold: BidsFile, n_vertices: Sequence[int], density: str | None
) -> tuple[BidsFile, ...]:
    """The anatomical files (left, right) on the surface of the series; nothing where it is not exactly one each.

    Files without `space` are of the participant's own surface, fsnative.
    """
    from cinebold.bold.gifti import read_gifti_header

    space = bold.entities.get("space")
    same_space = [
        file
        for file in files
        if file.has(space=space, den=density) or (space == "fsnative" and file.has(space=None, den=None))
    ]
    in_session = [file for file in same_space if file.has(ses=bold.entities.get("ses"))]
    chosen = []
    for side, expected in zip(_HEMISPHERES, n_vertices, strict=True):
        found = [file for file in in_session or same_space if file.has(hemi=side)]
        if len(found) != 1:
            return ()
        check_content(found[0].path)
        if read_gifti_header(found[0].path).n_vertices != expected:
            return ()
        chosen.append(found[0])
    return tuple(chosen)


def _version(file: BidsFile) -> tuple[Any, ...]:
    """The same for both hemispheres of a series, and for no other file."""
    versions = {key: value for key, value in file.entities.items() if key != "hemi"}
    return file.suffix, file.extension, tuple(sorted(versions.items())), str(Path(file.path).parent)
