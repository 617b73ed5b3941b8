"""Grayordinates: geometry, maps, and CIFTI series as a source of responses."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cinebold.bold.geometry import Geometry, map_names, with_extension
from cinebold.bold.streams import require_content
from cinebold.errors import InputError
from cinebold.files import save_nifti

if TYPE_CHECKING:
    import nibabel
    from nibabel.cifti2 import BrainModelAxis


def load_cifti(path: str | Path) -> "nibabel.Cifti2Image":
    """A CIFTI file with a brain model axis; its data are not read.

    Raises
    ------
    InputError : no file, a git-annex pointer, no CIFTI-2 file, or one of parcels or connections
    """
    import nibabel
    from nibabel.cifti2 import BrainModelAxis

    path = require_content(path)
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Cifti2Image):
            raise ValueError("it is another kind of NIfTI")
        axes = [image.header.get_axis(k) for k in range(image.ndim)]
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as a CIFTI-2 file ({error}); get or write the file again."
        ) from error
    if len(axes) != 2 or not isinstance(axes[1], BrainModelAxis):
        raise InputError(f"{path} must be a dense series or map (grayordinates), and it is not.")
    return image


class CiftiGeometry(Geometry):
    """The grayordinates of a brain model axis.

    Parameters
    ----------
    kept : (n_grayordinates,) bool
    """

    targets_name = "grayordinates"
    map_extension = ".dscalar.nii"

    def __init__(self, kept: np.ndarray, axis: "BrainModelAxis") -> None:
        super().__init__(kept)
        self.axis = axis

    @classmethod
    def of_file(cls, path: str | Path) -> Self:
        """All grayordinates of a series or a map."""
        axis = load_cifti(path).header.get_axis(1)
        return cls(np.ones(len(axis), bool), axis)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote."""
        image = load_cifti(path)
        return cls(np.asarray(image.dataobj)[0] != 0, image.header.get_axis(1))

    def with_kept(self, kept: np.ndarray) -> Self:
        """See `Geometry`."""
        return type(self)(kept, self.axis)

    def is_like(self, other: Geometry) -> bool:
        """See `Geometry`."""
        return isinstance(other, CiftiGeometry) and self.axis == other.axis

    def save(self, stem: Path) -> Path:
        """See `Geometry`."""
        return self._write(stem, self.kept[None].astype(np.float32), ["targets"])

    def save_map(self, stem: Path, values: np.ndarray, names: Sequence[str] = ()) -> list[Path]:
        """See `Geometry`; a row a map."""
        rows = np.atleast_2d(self.filled(values))
        return [self._write(stem, rows, map_names(stem, len(rows), names))]

    def _write(self, stem: Path, rows: np.ndarray, names: Sequence[str]) -> Path:
        import nibabel
        from nibabel.cifti2 import ScalarAxis

        image = nibabel.Cifti2Image(rows, header=(ScalarAxis(list(names)), self.axis))
        image.update_headers()
        image.nifti_header.set_intent("ConnDenseScalar")
        return save_nifti(with_extension(stem, self.map_extension), image)

    def describe(self) -> dict[str, Any]:
        """See `Geometry`; the structures with their numbers of grayordinates."""
        structures = {
            str(name).removeprefix("CIFTI_STRUCTURE_"): part.stop - part.start
            for name, part in self.structures().items()
        }
        return {"kind": "cifti", "structures": structures, "n_targets": self.n_targets}

    def cortex(self, values: np.ndarray, hemisphere: str) -> np.ndarray:
        """Of (n_grayordinates,) those of a cortex, "left" or "right", over all its vertices; NaN between them.

        Empty where the axis has no such cortex.
        """
        name = f"CIFTI_STRUCTURE_CORTEX_{hemisphere.upper()}"
        if name not in self.structures():
            return np.empty(0, np.float32)
        part = self.structures()[name]
        everywhere = np.full(self.axis.nvertices[name], np.nan, np.float32)
        everywhere[self.axis.vertex[part]] = values[part]
        return everywhere

    def volume(self, values: np.ndarray) -> "nibabel.Nifti1Image | None":
        """Of (n_grayordinates,) those that are voxels, as an image that is NaN elsewhere; None: there are none."""
        import nibabel

        if self.axis.volume_shape is None:
            return None
        filled = np.full(self.axis.volume_shape, np.nan, np.float32)
        voxels = self.axis.volume_mask
        filled[tuple(self.axis.voxel[voxels].T)] = values[voxels]
        return nibabel.Nifti1Image(filled, self.axis.affine)

    def structures(self) -> dict[str, slice]:
        """Each structure and where its grayordinates stand."""
        return {
            name: slice(part.start, len(self.axis) if part.stop is None else part.stop)
            for name, part, _ in self.axis.iter_structures()
        }


class CiftiSource:
    """The kept grayordinates of a dense series; see `source.RunSource`.

    Time lies fastest in the file: `read_targets` reads only what it gives.

    Raises
    ------
    InputError : other grayordinates than the geometry's, or a file that is too short
    """

    targets_name = "grayordinates"

    def __init__(self, path: str | Path, geometry: CiftiGeometry) -> None:
        self.path = Path(path)
        image = load_cifti(path)
        if image.header.get_axis(1) != geometry.axis:
            raise InputError(
                f"{path} has other grayordinates than the first run; all runs of a participant must be in one "
                "space and density."
            )
        self.n_volumes = int(image.shape[0])
        self.n_targets = geometry.n_targets
        data = image.dataobj
        self._dtype, self._offset = data.dtype, int(data.offset)
        self._slope, self._intercept = np.float32(data.slope), np.float32(data.inter)
        self._kept, self._rows = geometry.kept, np.flatnonzero(geometry.kept)
        self.bytes_per_volume = len(self._kept) * (self._dtype.itemsize + 4)
        self.description: Mapping[str, Any] = {}
        n_bytes = self._offset + len(self._kept) * self.n_volumes * self._dtype.itemsize
        if (found := self.path.stat().st_size) < n_bytes:
            raise InputError(
                f"{path} should hold {n_bytes} bytes but ends after {found}; it was probably not copied or "
                "downloaded whole: get it again."
            )

    def read_targets(self, start: int, stop: int) -> np.ndarray:
        """(n_volumes, stop - start) float32 of the targets from `start` to before `stop`."""
        # A new map each time: the pages that were read may leave the memory.
        stored = np.memmap(self.path, self._dtype, "r", self._offset, (len(self._kept), self.n_volumes))
        values = np.ascontiguousarray(stored[self._rows[start:stop]].T, np.float32)
        if self._slope != 1:
            values *= self._slope
        if self._intercept != 0:
            values += self._intercept
        return values

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """See `RunSource`; the whole series is in memory, so that `read_targets` is the better way."""
        values = self.read_targets(0, self.n_targets)
        for start in range(0, self.n_volumes, n_volumes_per_block):
            yield start, values[start : start + n_volumes_per_block]
