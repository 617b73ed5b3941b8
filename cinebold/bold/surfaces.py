"""The vertices of both hemispheres: geometry, maps, and GIFTI series as a source of responses.

A pair of files is named by its left one: `hemisphere_path` gives the other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from cinebold.bold.geometry import Geometry, map_names, with_extension
from cinebold.bold.gifti import STRUCTURES, read_gifti, read_gifti_header, stream_gifti, write_gifti
from cinebold.errors import InputError
from cinebold.files import atomic_path

HEMISPHERES = ("L", "R")
_AFTER_HEMISPHERE = re.compile("_(?:space|res|den|model|stat)-")


def hemisphere_path(path: str | Path, hemisphere: str) -> Path:
    """The file of a hemisphere, from that of the left one.

    >>> hemisphere_path("a/sub-1_hemi-L_space-fsaverage5_bold.func.gii", "R").name
    'sub-1_hemi-R_space-fsaverage5_bold.func.gii'
    """
    path = Path(path)
    return path.with_name(path.name.replace("hemi-L", f"hemi-{hemisphere}"))


def hemisphere_name(name: str, hemisphere: str) -> str:
    """A name with its `hemi-`, which BIDS wants before `space-` and what follows it.

    >>> hemisphere_name("sub-1_task-a_space-fsaverage5_model-x_stat-r", "L")
    'sub-1_task-a_hemi-L_space-fsaverage5_model-x_stat-r'
    >>> hemisphere_name("tpl-fsaverage5_task-a_model-x_stat-r_desc-q", "R")
    'tpl-fsaverage5_task-a_hemi-R_model-x_stat-r_desc-q'
    >>> hemisphere_name("stat-r_statmap", "R")
    'hemi-R_stat-r_statmap'
    """
    if found := _AFTER_HEMISPHERE.search(name):
        return f"{name[: found.start()]}_hemi-{hemisphere}{name[found.start() :]}"
    return f"hemi-{hemisphere}_{name}"


class SurfaceGeometry(Geometry):
    """The vertices of the left hemisphere, then those of the right.

    Parameters
    ----------
    kept : (n_left + n_right,) bool
    n_vertices : of the two hemispheres
    """

    targets_name = "vertices"
    map_extension = ".func.gii"

    def __init__(self, kept: np.ndarray, n_vertices: tuple[int, int]) -> None:
        super().__init__(kept)
        self.n_vertices = n_vertices

    def with_kept(self, kept: np.ndarray) -> Self:
        """See `Geometry`."""
        return type(self)(kept, self.n_vertices)

    def is_like(self, other: Geometry) -> bool:
        """See `Geometry`; meshes with equal numbers of vertices are not told apart."""
        return isinstance(other, SurfaceGeometry) and self.n_vertices == other.n_vertices

    def save(self, stem: Path) -> Path:
        """See `Geometry`."""
        left, right = self.by_hemisphere(self.kept)
        with atomic_path(with_extension(stem, ".npz")) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, L=left, R=right)
        return with_extension(stem, ".npz")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote."""
        with np.load(path) as stored:
            halves = [stored[hemisphere] for hemisphere in HEMISPHERES]
        return cls(np.concatenate(halves), (len(halves[0]), len(halves[1])))

    @classmethod
    def of_files(cls, left: str | Path, right: str | Path, masks: Sequence[str | Path] = ()) -> Self:
        """All vertices of a pair of series or maps; or those of a pair of masks (left, right), not 0 inside.

        Raises
        ------
        InputError : a mask has another number of vertices, or keeps none
        """
        n_vertices = (read_gifti_header(left).n_vertices, read_gifti_header(right).n_vertices)
        if not masks:
            return cls(np.ones(sum(n_vertices), bool), n_vertices)
        halves = []
        for path, series, expected in zip(masks, (left, right), n_vertices, strict=True):
            values = np.atleast_2d(read_gifti(path))[0]
            if len(values) != expected:
                raise InputError(
                    f"the cortex mask {path} has {len(values)} vertices, but {Path(series).name} has {expected}; "
                    "both must be of one surface."
                )
            halves.append(np.isfinite(values) & (values != 0))
        kept = np.concatenate(halves)
        if not kept.any():
            raise InputError(
                f"the cortex masks {masks[0]} and its right one keep no vertex; write them again."
            )
        return cls(kept, n_vertices)

    def by_hemisphere(self, everywhere: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., n_vertices of both) as the left and the right part."""
        return everywhere[..., : self.n_vertices[0]], everywhere[..., self.n_vertices[0] :]

    def save_map(self, stem: Path, values: np.ndarray, names: Sequence[str] = ()) -> list[Path]:
        """See `Geometry`; two files, the left one first, an array a map."""
        rows = np.atleast_2d(self.filled(values))
        named = map_names(stem, len(rows), names)
        return [
            write_gifti(
                stem.with_name(hemisphere_name(stem.name, hemisphere) + self.map_extension),
                half,
                hemisphere,
                named,
            )
            for hemisphere, half in zip(HEMISPHERES, self.by_hemisphere(rows), strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """See `Geometry`."""
        return {"kind": "surface", "n_vertices": list(self.n_vertices), "n_targets": self.n_targets}


class SurfaceSource:
    """The kept vertices of a pair of GIFTI series; see `source.RunSource`.

    Raises
    ------
    InputError : the hemispheres have different lengths, are swapped, or are not of the geometry
    """

    targets_name = "vertices"

    def __init__(self, left: str | Path, right: str | Path, geometry: SurfaceGeometry) -> None:
        self.path, self._right = Path(left), Path(right)
        headers = [read_gifti_header(path) for path in (left, right)]
        for path, header, hemisphere, expected in zip(
            (left, right), headers, HEMISPHERES, geometry.n_vertices, strict=True
        ):
            if header.structure in STRUCTURES.values() and header.structure != STRUCTURES[hemisphere]:
                raise InputError(
                    f"{path} is named as hemisphere {hemisphere} but says of itself that it is "
                    f"{header.structure}; correct the name or write the file again."
                )
            if header.n_vertices != expected:
                raise InputError(
                    f"{path} has {header.n_vertices} vertices, but the first run has {expected}; all runs of a "
                    "participant must be on one surface."
                )
        if headers[0].n_volumes != headers[1].n_volumes:
            raise InputError(
                f"{self.path} has {headers[0].n_volumes} volumes but {self._right.name} has "
                f"{headers[1].n_volumes}; get the shorter one again."
            )
        self.n_volumes = headers[0].n_volumes
        self.n_targets = geometry.n_targets
        # Text in base64, bytes and values of one array.
        self.bytes_per_volume = 16 * len(geometry.kept)
        self.description: Mapping[str, Any] = {}
        self._kept = geometry.kept

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """See `RunSource`."""
        rows = np.empty((min(n_volumes_per_block, self.n_volumes), self.n_targets), np.float32)
        start = filled = 0
        for left, right in self._volumes():
            rows[filled] = np.concatenate([left, right])[self._kept]
            filled += 1
            if filled == len(rows):
                yield start, rows
                start, filled = start + filled, 0
        if filled:
            yield start, rows[:filled]
            start += filled
        if start != self.n_volumes:
            raise InputError(
                f"{self.path} should hold {self.n_volumes} volumes but breaks off at volume {start + 1}; get it "
                "again."
            )

    def _volumes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return zip(*(_rows_of(stream_gifti(path)) for path in (self.path, self._right)), strict=False)


def _rows_of(arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Volume by volume, whether an array is a volume or all of them (n_vertices, n_volumes)."""
    return chain.from_iterable(array.T if array.ndim == 2 else (array,) for array in arrays)
