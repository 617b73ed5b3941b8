"""NIfTI volumes, read once and in order: gzip by ISA-L, one block of volumes in memory while the next is read."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cinebold.bold.grid import Grid
from cinebold.bold.headers import NiftiHeader, read_header
from cinebold.bold.streams import ByteStream, count_readable_bytes, is_gzip, stream_errors
from cinebold.bold.streams import require_content as require_content
from cinebold.errors import InputError


class BoldImage:
    """A 4-D NIfTI file (.nii or .nii.gz) as a stream of volumes.

    Only the header is read here. Voxels are flattened as they lie in the file, x fastest (Fortran order), the
    order of the columns of `mask_resample_operator`: nothing is transposed on the way.

    Parameters
    ----------
    path : the image; integers of any width, float32 and float64, both byte orders, scl_slope and scl_inter
        applied.

    Attributes
    ----------
    header : what is needed of the header, its warnings included
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
        self.header: NiftiHeader = read_header(self.path)
        shape = self.header.shape
        if len(shape) != 4:
            raise InputError(
                f"A BOLD series has 4 dimensions, but {self.path} has shape {shape}; give the "
                "preprocessed series (desc-preproc_bold), not a mask, a reference image or a map."
            )
        self.shape3d: tuple[int, int, int] = shape[:3]
        self.n_volumes: int = shape[3]
        self.affine = self.header.affine
        self.voxel_sizes_mm: tuple[float, ...] = self.header.zooms[:3]
        self._n_voxels = int(np.prod(self.shape3d))

    @property
    def grid(self) -> Grid:
        """The grid of one volume."""
        return Grid(self.shape3d, self.affine)

    @property
    def bytes_per_volume(self) -> int:
        """What one volume needs while it is read: as stored, the next one too, and as float32."""
        return self._n_voxels * (2 * self.header.dtype.itemsize + 4)

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of the first volume, (n, n_voxels) float32) in order of time.

        The rows are a view of one buffer that the next block overwrites: copy what is to be kept. Values are
        not looked at, NaN included; `prepare_responses` judges those inside the mask.

        Raises
        ------
        InputError : the file ends early or its compression is damaged; the message names the volume.
        """
        values = np.empty((min(max(1, n_volumes_per_block), self.n_volumes), self._n_voxels), np.float32)
        for start, stored in self.stored_blocks(n_volumes_per_block):
            block = values[: len(stored)]
            block[:] = stored
            yield start, self.header.scale(block)

    def stored_blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """As `blocks`, but values as they are stored, in the file's type and byte order, neither converted nor scaled.

        Compressed files are read ahead by one block in a thread; others are mapped into memory block by block, so that
        only what is looked at is read.
        """
        n_rows = min(max(1, n_volumes_per_block), self.n_volumes)
        return self._decompressed(n_rows) if is_gzip(self.path) else self._mapped(n_rows)

    def _mapped(self, n_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        header = self.header
        per_volume = self._n_voxels * header.dtype.itemsize
        if self.path.stat().st_size < header.offset + self.n_volumes * per_volume:
            raise self._broken("the file ends there")
        for start in range(0, self.n_volumes, n_rows):
            shape = (min(n_rows, self.n_volumes - start), self._n_voxels)
            # A new map each time: pages of the last block leave the memory with it.
            yield start, np.memmap(self.path, header.dtype, "r", header.offset + start * per_volume, shape)

    def _decompressed(self, n_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        buffers = [np.empty((n_rows, self._n_voxels), self.header.dtype) for _ in range(2)]
        sizes = [min(n_rows, self.n_volumes - start) for start in range(0, self.n_volumes, n_rows)]
        with ByteStream(self.path) as stream, ThreadPoolExecutor(1) as reader:
            self._fill(stream, np.empty(self.header.offset, np.uint8))
            waiting = reader.submit(self._fill, stream, buffers[0][: sizes[0]])
            for block, size in enumerate(sizes):
                waiting.result()
                if block + 1 < len(sizes):
                    following = buffers[(block + 1) % 2][: sizes[block + 1]]
                    waiting = reader.submit(self._fill, stream, following)
                yield block * n_rows, buffers[block % 2][:size]
            try:
                stream.check_end()
            except stream_errors() as error:
                raise self._broken(str(error)) from error

    def _fill(self, stream: ByteStream, target: np.ndarray) -> None:
        try:
            stream.fill(memoryview(target.reshape(-1).view(np.uint8)))
        except stream_errors() as error:
            raise self._broken(str(error)) from error

    def _broken(self, reason: str) -> InputError:
        per_volume = self._n_voxels * self.header.dtype.itemsize
        n_whole = max(0, count_readable_bytes(self.path) - self.header.offset) // per_volume
        return InputError(
            f"{self.path} should hold {self.n_volumes} volumes but breaks off at volume "
            f"{min(n_whole, self.n_volumes - 1) + 1} ({reason}); it was probably not copied or downloaded whole: "
            "get it again."
        )


def load_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a 3-D NIfTI (a mask, a tissue map) whole.

    Returns
    -------
    values : (n_x, n_y, n_z) float32, scaled; a single fourth dimension is dropped
    affine : (4, 4)
    """
    path = Path(path)
    header = read_header(path)
    if len(header.shape) < 3 or any(n != 1 for n in header.shape[3:]):
        raise InputError(f"A mask or tissue map has 3 dimensions, but {path} has shape {header.shape}.")
    shape = header.shape[:3]
    raw = np.empty(int(np.prod(shape)), header.dtype)
    try:
        with ByteStream(path) as stream:
            stream.fill(memoryview(bytearray(header.offset)))
            stream.fill(memoryview(raw.view(np.uint8)))
            stream.check_end()
    except stream_errors() as error:
        raise InputError(
            f"{path} cannot be read to its end ({raw.nbytes} bytes of data are expected; {error}); get the file again."
        ) from error
    return header.scale(raw.reshape(shape, order="F").astype(np.float32)), header.affine
