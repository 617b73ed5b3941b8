"""Atlases: the label of each target and the names of the labels, of volumes, surfaces and grayordinates."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cinebold.bold.cifti import CiftiGeometry, load_cifti
from cinebold.bold.geometry import Geometry, VolumeGeometry
from cinebold.bold.grid import Grid
from cinebold.bold.reading import load_volume
from cinebold.bold.resampling import mask_resample_operator
from cinebold.bold.streams import require_content
from cinebold.bold.surfaces import HEMISPHERES, SurfaceGeometry, hemisphere_path
from cinebold.errors import InputError

_IMAGE_EXTENSIONS = (".dlabel.nii", ".label.gii", ".nii.gz", ".nii", ".gii")
#: float32 holds integers below this; labels of images are read as such.
_LARGEST_LABEL = 2**24


def atlas_labels(path: str | Path, geometry: Geometry) -> tuple[np.ndarray, dict[int, str]]:
    """The label of every target of a geometry.

    Parameters
    ----------
    path : for voxels a 3-D NIfTI of integers on any grid of the same space (its nearest voxel counts); for vertices
        a label.gii, the left one of a pair; for grayordinates a dlabel.nii, of all or some of the structures

    Returns
    -------
    labels : (n_targets,) int64, 0 where there is no parcel
    names : what the file itself calls its labels, 0 left out; empty for NIfTI. The right hemisphere's are moved
        behind the left one's where both use a label with different meanings or one name; then the names begin with
        "L " and "R ".

    Raises
    ------
    InputError : a file of another kind, values that are no labels, another mesh, or no parcel on any target.
    """
    names: dict[int, str] = {}
    if isinstance(geometry, VolumeGeometry):
        labels = _volume_labels(path, geometry)
    elif isinstance(geometry, SurfaceGeometry):
        labels, names = _surface_labels(Path(path), geometry)
    elif isinstance(geometry, CiftiGeometry):
        labels, names = _cifti_labels(path, geometry)
    else:
        raise TypeError(f"no atlas can be laid over a {type(geometry).__name__}")
    if not labels.any():
        raise InputError(
            f"No {geometry.targets_name} that are analysed lie in a parcel of the atlas {path}; are both in one space?"
        )
    return labels, names


def atlas_names(path: str | Path) -> dict[int, str]:
    """The names of labels from a BIDS table: tab-separated, columns `index` and `name`; 0 is left out.

    Raises
    ------
    InputError : no such columns, an index that is no integer or comes twice, or no name.
    """
    path = require_content(path)
    with open(path, newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    found = tuple(rows[0]) if rows else ()
    if not {"index", "name"} <= set(found):
        raise InputError(
            f"The table of an atlas needs the columns index and name, tab-separated, but {path} has "
            f"{', '.join(map(str, found)) or 'none'}."
        )
    names: dict[int, str] = {}
    for number, row in enumerate(rows, start=2):
        try:
            index = int(row["index"])
        except (TypeError, ValueError):
            raise InputError(
                f"Line {number} of {path} has the index {row['index']!r}; expected an integer."
            ) from None
        if index in names:
            raise InputError(f"The index {index} comes twice in {path}; each parcel needs its own.")
        name = (row["name"] or "").strip()
        if name in ("", "n/a"):
            raise InputError(f"Line {number} of {path} gives no name to the index {index}.")
        names[index] = name
    names.pop(0, None)
    return names


def table_beside(path: str | Path) -> Path | None:
    """The table that belongs to an atlas: a TSV in its folder whose entities are all among the atlas's own."""
    path = Path(path)
    pieces = _pieces(path)
    fitting = [table for table in path.parent.glob("*.tsv") if set(table.name[:-4].split("_")) <= set(pieces)]
    fitting = [table for table in fitting if table.name[:-4].split("_")[-1] == pieces[-1]]
    return max(fitting, key=lambda table: (len(table.name), table.name), default=None)


def atlas_files(path: str | Path) -> list[str]:
    """An atlas's file, or those of both hemispheres where the name is the left one's."""
    if "hemi-L" not in Path(path).name:
        return [str(path)]
    return [str(hemisphere_path(path, hemisphere)) for hemisphere in HEMISPHERES]


def atlas_label(path: str | Path) -> str:
    """A label for names of files: the atlas's `atlas-` or `seg-` entity, else its whole name's letters and digits.

    >>> atlas_label("tpl-MNI152NLin2009cAsym_res-02_atlas-Schaefer2018_desc-100Parcels7Networks_dseg.nii.gz")
    'Schaefer2018'
    >>> atlas_label("my_parcels.nii.gz")
    'myparcels'
    """
    pieces = _pieces(Path(path))
    entities = dict(piece.partition("-")[::2] for piece in pieces)
    named = entities.get("atlas") or entities.get("seg") or "".join(pieces)
    return "".join(c for c in named if c.isalnum() and c.isascii()) or "own"


def templateflow_atlas(template: str, atlas: str, home: str | Path | None = None) -> Path:
    """An atlas that TemplateFlow has put on this machine; nothing is downloaded.

    Parameters
    ----------
    template : "MNI152NLin2009cAsym"
    atlas : its name and, after colons, further entities: "Schaefer2018:desc-100Parcels7Networks:res-02"
    home : TemplateFlow's folder; None: TEMPLATEFLOW_HOME or its usual place

    Raises
    ------
    InputError : none, or several with different names other than of resolution: the finest resolution is taken.
    """
    name, *entities = atlas.split(":")
    wanted = {f"atlas-{name}", *entities}
    usual = os.environ.get("TEMPLATEFLOW_HOME") or Path.home() / ".cache" / "templateflow"
    folder = Path(home or usual) / f"tpl-{template}"
    # Files that TemplateFlow knows but has not downloaded are there with 0 bytes.
    there = [path for path in folder.rglob("*_dseg.nii.gz") if wanted <= set(_pieces(path))]
    loaded = sorted(path for path in there if path.is_file() and path.stat().st_size)
    kinds = {tuple(piece for piece in _pieces(path) if not piece.startswith("res-")) for path in loaded}
    if len(kinds) == 1:
        return loaded[0]
    if kinds:
        found = ", ".join(path.name for path in loaded)
        raise InputError(
            f"Several atlases fit {atlas!r} in {folder}: {found}; add an entity, as in {name}:desc-X."
        )
    raise InputError(
        f"There is no downloaded atlas {atlas!r} for {template} in {folder}; on a machine with a network, "
        f"`python -c \"import templateflow.api as t; t.get('{template}', atlas='{name}', suffix='dseg')\"` gets it, "
        "or give the file of an atlas."
    )


def _pieces(path: Path) -> list[str]:
    """The entities of a name, the suffix last."""
    name = path.name
    for extension in _IMAGE_EXTENSIONS:
        name = name.removesuffix(extension)
    return name.split("_")


def _volume_labels(path: str | Path, geometry: VolumeGeometry) -> np.ndarray:
    values, affine = load_volume(path)
    values = _integers(path, np.nan_to_num(values, nan=0.0))
    nearest = mask_resample_operator(
        Grid(values.shape, affine), geometry.grid, geometry.kept, interpolation="nearest"
    )
    labels = np.zeros(geometry.n_targets, np.int64)
    inside = np.diff(nearest.indptr) > 0
    labels[inside] = values.ravel(order="F")[nearest.indices]
    return labels


def _integers(path: str | Path, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise InputError(
            f"An atlas holds one integer for each parcel, but {path} has other values; is it a map of probabilities?"
        )
    if np.abs(values).max(initial=0) >= _LARGEST_LABEL:
        raise InputError(f"Labels of an atlas must be below {_LARGEST_LABEL}, and {path} has larger ones.")
    return values.astype(np.int64)


def _surface_labels(left: Path, geometry: SurfaceGeometry) -> tuple[np.ndarray, dict[int, str]]:
    import nibabel

    halves, tables = [], []
    for hemisphere, n_vertices in zip(HEMISPHERES, geometry.n_vertices, strict=True):
        path = require_content(hemisphere_path(left, hemisphere))
        try:
            image = nibabel.load(path)
            values = image.darrays[0].data
        except (nibabel.filebasedimages.ImageFileError, AttributeError, IndexError, OSError) as error:
            raise InputError(f"{path} cannot be read as a GIFTI atlas ({error}).") from error
        if values.shape != (n_vertices,):
            raise InputError(
                f"The atlas {path} has {len(values)} vertices, but the runs have {n_vertices}; both must be of one "
                "surface."
            )
        halves.append(_integers(path, values.astype(float)))
        tables.append(_named(image.labeltable.get_labels_as_dict()))
    if any(tables[1].get(key, name) != name for key, name in tables[0].items()) or (
        set(tables[0].values()) & set(tables[1].values())
    ):
        shift = max(tables[0], default=0)
        halves[1] = np.where(halves[1] > 0, halves[1] + shift, halves[1])
        tables = [
            {key + move: f"{hemisphere} {name}" for key, name in table.items()}
            for hemisphere, move, table in zip(HEMISPHERES, (0, shift), tables, strict=True)
        ]
    return np.concatenate(halves)[geometry.kept], tables[0] | tables[1]


def _cifti_labels(path: str | Path, geometry: CiftiGeometry) -> tuple[np.ndarray, dict[int, str]]:
    from nibabel.cifti2 import LabelAxis

    image = load_cifti(path)
    axis = image.header.get_axis(0)
    if not isinstance(axis, LabelAxis):
        raise InputError(f"An atlas of grayordinates is a dlabel.nii, and {path} is not.")
    stored = _integers(path, np.asarray(image.dataobj[0], float))
    labels = np.zeros(len(geometry.kept), np.int64)
    atlas = {_place(one): number for number, one in enumerate(_elements(image.header.get_axis(1)))}
    for position, one in enumerate(_elements(geometry.axis)):
        number = atlas.get(_place(one))
        if number is not None:
            labels[position] = stored[number]
    return labels[geometry.kept], _named({key: name for key, (name, _) in axis.label[0].items()})


def _elements(axis: object) -> object:
    return zip(axis.name, axis.vertex, map(tuple, axis.voxel), strict=True)  # type: ignore[attr-defined]


def _place(element: tuple) -> tuple:
    """A vertex by its structure; a voxel by its indices, whatever the structure is called."""
    name, vertex, voxel = element
    return (name, int(vertex)) if vertex >= 0 else ("", *map(int, voxel))


def _named(table: Mapping[int, str]) -> dict[int, str]:
    return {int(key): str(name) for key, name in table.items() if int(key) != 0}
