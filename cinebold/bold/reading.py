"""NIfTI volumes, read once and in order: gzip by ISA-L, one block of volumes in memory at a time."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np

from cinebold.bold.grid import Grid
from cinebold.errors import InputError

#: A git-annex pointer is a short text; a real image is never this small.
LONGEST_POINTER_BYTES = 32 * 1024


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    affine: np.ndarray
    zooms: tuple[float, ...]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float


class BoldImage:
    """A 4-D NIfTI file (.nii or .nii.gz) as a stream of float32 volumes.

    Only the header is read here. Voxels are flattened as they lie in the file, x fastest (Fortran order), the
    order of the columns of `mask_resample_operator`: nothing is transposed on the way.

    Parameters
    ----------
    path : the image; integers of any width, float32 and float64, both byte orders, scl_slope and scl_inter
        applied.

    Attributes
    ----------
    shape3d : (n_x, n_y, n_z)
    affine : (4, 4), voxel indices to mm
    n_volumes : number of volumes
    voxel_sizes_mm : the three voxel sizes

    Raises
    ------
    InputError : no file, a git-annex pointer, not a NIfTI, not 4-D, or a data type without numbers we can
        use.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        header = _read_header(self.path)
        if len(header.shape) != 4:
            raise InputError(
                f"A BOLD series has 4 dimensions, but {self.path} has shape {header.shape}; give the "
                "preprocessed series (desc-preproc_bold), not a mask, a reference image or a map."
            )
        self.shape3d: tuple[int, int, int] = header.shape[:3]
        self.n_volumes: int = header.shape[3]
        self.affine = header.affine
        self.voxel_sizes_mm: tuple[float, ...] = header.zooms[:3]
        self._header = header

    @property
    def grid(self) -> Grid:
        """The grid of one volume."""
        return Grid(self.shape3d, self.affine)

    @property
    def bytes_per_volume(self) -> int:
        """What one volume needs while it is read: as stored and as float32."""
        return int(np.prod(self.shape3d)) * (self._header.dtype.itemsize + 4)

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of the first volume, (n, n_voxels) float32) in order of time.

        The rows are a view of one buffer that the next block overwrites: copy what is to be kept. Values are
        not looked at, NaN included; `prepare_run` judges those inside the mask.

        Raises
        ------
        InputError : the file ends early or its compression is damaged; the message names the volume.
        """
        header = self._header
        n_voxels = int(np.prod(self.shape3d))
        n_rows = min(max(1, n_volumes_per_block), self.n_volumes)
        values = np.empty((n_rows, n_voxels), np.float32)
        plain = header.dtype == np.dtype("=f4")
        stored = values if plain else np.empty((n_rows, n_voxels), header.dtype)
        with _open(self.path) as stream:
            self._fill(stream, np.empty(header.offset, np.uint8))
            for start in range(0, self.n_volumes, n_rows):
                n = min(n_rows, self.n_volumes - start)
                for row in range(n):
                    self._fill(stream, stored[row].view(np.uint8))
                    if not plain:
                        values[row] = stored[row]
                    if header.slope != 1:
                        values[row] *= np.float32(header.slope)
                    if header.intercept != 0:
                        values[row] += np.float32(header.intercept)
                yield start, values[:n]
            self._check_end(stream)

    def _fill(self, stream: BinaryIO, target: np.ndarray) -> None:
        filled = 0
        while filled < len(target):
            try:
                n = stream.readinto(memoryview(target)[filled:])
            except (EOFError, OSError, _gzip_error()) as error:
                raise self._broken(str(error)) from error
            if not n:
                raise self._broken("the file ends there")
            filled += n

    def _check_end(self, stream: BinaryIO) -> None:
        # Reading past the last volume makes gzip compare its checksum.
        try:
            while stream.read(1 << 16):
                pass
        except (EOFError, OSError, _gzip_error()) as error:
            raise self._broken(str(error)) from error

    def _broken(self, reason: str) -> InputError:
        n_whole = min(self._count_whole_volumes(), self.n_volumes - 1)
        return InputError(
            f"{self.path} should hold {self.n_volumes} volumes but breaks off at volume {n_whole + 1} "
            f"({reason}); it was probably not copied or downloaded whole: get it again."
        )

    def _count_whole_volumes(self) -> int:
        """How many volumes a damaged file still gives, by the slower gzip that returns every byte before "
        "the break."""
        n_bytes = 0
        try:
            with (gzip.open if _is_gzip(self.path) else open)(self.path, "rb") as stream:
                while chunk := stream.read1(1 << 16):
                    n_bytes += len(chunk)
        except (EOFError, OSError, zlib.error):
            pass
        per_volume = int(np.prod(self.shape3d)) * self._header.dtype.itemsize
        return max(0, n_bytes - self._header.offset) // per_volume


def load_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a 3-D NIfTI (a mask, a tissue map) whole.

    Returns
    -------
    values : (n_x, n_y, n_z) float32, scaled; a single fourth dimension is dropped
    affine : (4, 4)
    """
    path = Path(path)
    header = _read_header(path)
    if len(header.shape) < 3 or any(n != 1 for n in header.shape[3:]):
        raise InputError(f"A mask or tissue map has 3 dimensions, but {path} has shape {header.shape}.")
    shape = header.shape[:3]
    raw = bytearray(int(np.prod(shape)) * header.dtype.itemsize)
    with _open(path) as stream:
        try:
            stream.read(header.offset)
            filled = 0
            while filled < len(raw) and (n := stream.readinto(memoryview(raw)[filled:])):
                filled += n
            stream.read()
        except (EOFError, OSError, _gzip_error()) as error:
            raise InputError(f"{path} cannot be read to its end ({error}); get the file again.") from error
    if filled < len(raw):
        raise InputError(
            f"{path} should hold {len(raw)} bytes of data but ends after {filled}; get the file again."
        )
    values = np.frombuffer(raw, header.dtype).reshape(shape, order="F").astype(np.float32)
    if header.slope != 1:
        values *= np.float32(header.slope)
    return values + np.float32(header.intercept), header.affine


def require_content(path: str | Path) -> Path:
    """The path again, when a file with content is there; an InputError that says what is there instead, "
    "when not."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        target = str(path.readlink())
        if "annex" in target:
            raise _annex_pointer(path)
        raise InputError(f"{path} is a link to {target}, which does not exist.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes); get the file again.")
    if size < LONGEST_POINTER_BYTES:
        with open(path, "rb") as stream:
            if b"/annex/objects/" in stream.readline(4096)[:4096]:
                raise _annex_pointer(path)
    return path


def _annex_pointer(path: Path) -> InputError:
    return InputError(
        f"{path} is a git-annex pointer, not the file; get its content with `datalad get` or `git annex get`."
    )


def _open(path: Path) -> BinaryIO:
    """The uncompressed bytes of a file."""
    if not _is_gzip(path):
        return open(path, "rb")
    from isal import igzip

    return igzip.open(path, "rb")


def _is_gzip(path: Path) -> bool:
    """Whether a file is gzip is told by its first bytes, not by its name."""
    with open(path, "rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _gzip_error() -> type[Exception]:
    from isal import isal_zlib

    return isal_zlib.error


def _read_header(path: Path) -> _Header:
    require_content(path)
    try:
        with _open(path) as stream:
            size = int.from_bytes(stream.read(4), "little")
            stream.seek(0)
            # sizeof_hdr tells the version: 348 or 540, in either byte order.
            second = size in (540, 0x1C020000)
            kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
            header = kind.from_fileobj(stream)
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
    except (EOFError, OSError, _gzip_error()) as error:
        raise InputError(f"The header of {path} cannot be read ({error}); get the file again.") from error
    except (nibabel.spatialimages.HeaderDataError, nibabel.wrapstruct.WrapStructError) as error:
        raise InputError(f"{path} is not a NIfTI image that can be read ({error}).") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"{path} stores its values as {dtype}; expected integers, float32 or float64: convert the image."
        )
    if any(n < 1 for n in shape):
        raise InputError(f"{path} has the impossible shape {shape}.")
    affine = np.asarray(header.get_best_affine(), float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"The affine of {path} cannot be inverted; its header is damaged.")
    return _Header(
        shape=shape,
        affine=affine,
        zooms=tuple(float(zoom) for zoom in header.get_zooms()),
        dtype=dtype,
        offset=int(header.get_data_offset()),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )
