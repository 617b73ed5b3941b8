"""Where targets lie. Here: what all geometries have in common, and the voxels of a grid.

`surfaces.SurfaceGeometry` is the vertices of two hemispheres, `cifti.CiftiGeometry` grayordinates; `maps` reads any.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from cinebold.bold.grid import Grid, grids_equal
from cinebold.files import save_nifti


class Geometry(ABC):
    """Positions, and which of them are targets.

    A map is one value a target, in a file of the same geometry, NaN where nothing was analysed.

    Attributes
    ----------
    kept : bool, over the positions; the targets are the True ones in C order
    affine : (4, 4) of a grid; None elsewhere
    targets_name : what a target is called, in the plural
    map_extension : of the files of a map
    """

    targets_name: ClassVar[str]
    map_extension: ClassVar[str]
    affine: np.ndarray | None = None

    def __init__(self, kept: np.ndarray) -> None:
        self.kept = np.asarray(kept, bool)

    @property
    def n_targets(self) -> int:
        """The number of targets."""
        return int(np.count_nonzero(self.kept))

    def filled(self, values: np.ndarray) -> np.ndarray:
        """(n_targets,) or (k, n_targets) as float32 over all positions, NaN elsewhere: ([k, ]*positions)."""
        values = np.asarray(values, np.float32)
        everywhere = np.full((*values.shape[:-1], *self.kept.shape), np.nan, np.float32)
        everywhere[..., self.kept] = values
        return everywhere

    def at_targets(self, everywhere: np.ndarray) -> np.ndarray:
        """The inverse of `filled`: ([k, ]*positions) to (n_targets,) or (k, n_targets)."""
        return everywhere[..., self.kept]

    @abstractmethod
    def with_kept(self, kept: np.ndarray) -> Self:
        """The same positions with other targets."""

    @abstractmethod
    def is_like(self, other: "Geometry") -> bool:
        """Whether another geometry has the same positions, whatever its targets."""

    @abstractmethod
    def save(self, stem: Path) -> Path:
        """Write the geometry itself into one file, which `maps.load_geometry` reads; `stem` has no extension."""

    @abstractmethod
    def save_map(self, stem: Path, values: np.ndarray, names: Sequence[str] = ()) -> list[Path]:
        """Write (n_targets,), or (k, n_targets) as k maps in one file; equal values give equal bytes.

        `names` of the k maps are written where the format has a place for them; without them they are numbered.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain JSON values: `kind` ("volume", "surface" or "cifti"), positions and number of targets."""


class VolumeGeometry(Geometry):
    """The voxels of a grid.

    Parameters
    ----------
    kept : (n_x, n_y, n_z) bool
    unit : what the headers of maps say of the affine; None: nothing
    """

    targets_name = "voxels"
    map_extension = ".nii.gz"

    def __init__(self, kept: np.ndarray, affine: np.ndarray, unit: str | None = "mm") -> None:
        super().__init__(kept)
        self.affine = affine
        self.unit = unit

    @property
    def grid(self) -> Grid:
        """The grid."""
        return Grid(self.kept.shape, self.affine)

    def with_kept(self, kept: np.ndarray) -> Self:
        """See `Geometry`."""
        return type(self)(kept, self.affine, self.unit)

    def is_like(self, other: Geometry) -> bool:
        """See `Geometry`."""
        return isinstance(other, VolumeGeometry) and grids_equal(self.grid, other.grid)

    def save(self, stem: Path) -> Path:
        """See `Geometry`."""
        import nibabel

        image = nibabel.Nifti1Image(self.kept.astype(np.uint8), self.affine)
        return save_nifti(with_extension(stem, ".nii.gz"), image)

    def save_map(self, stem: Path, values: np.ndarray, names: Sequence[str] = ()) -> list[Path]:
        """See `Geometry`; k maps are the fourth axis."""
        import nibabel

        filled = self.filled(values)
        image = nibabel.Nifti1Image(filled if filled.ndim == 3 else np.moveaxis(filled, 0, -1), self.affine)
        if self.unit is not None:
            image.header.set_xyzt_units(self.unit)
        return [save_nifti(with_extension(stem, self.map_extension), image)]

    def describe(self) -> dict[str, Any]:
        """See `Geometry`."""
        return {"kind": "volume", "shape": list(self.kept.shape), "n_targets": self.n_targets}


def with_extension(stem: Path, extension: str) -> Path:
    """The path with the extension behind its name, which may have dots of its own."""
    return stem.with_name(stem.name + extension)


def map_names(stem: Path, n_maps: int, names: Sequence[str]) -> list[str]:
    """`names`, or the file's own name, numbered where there are several maps."""
    if names:
        return list(names)
    return [stem.name] if n_maps == 1 else [f"{stem.name} {k:02d}" for k in range(n_maps)]
