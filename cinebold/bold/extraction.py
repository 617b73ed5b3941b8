"""From a source to cleaned responses in a .npy file, in memory where they fit and else in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.bold.cleaning import TILE, VoxelQuality, clean_tile
from cinebold.bold.source import RunSource, TargetReader
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.errors import InputError

#: Targets that leave the file together: a multiple of a tile, so that tiles are the same whatever the memory.
_GROUP = 16 * TILE


def write_clean_responses(
    source: RunSource,
    basis: np.ndarray,
    keep: np.ndarray,
    path: Path,
    *,
    memory_mb: float,
    standardise: bool,
    progress: bool,
) -> VoxelQuality:
    """Write a source's responses to `path`, (n_volumes, n_targets) float32 in C order, cleaned by `clean_tile`.

    Neither the memory nor the number of threads (of the linear algebra library) changes a bit.

    Parameters
    ----------
    source : see `RunSource`; a `TargetReader` is asked for targets
    basis, keep : see `nuisance_basis`
    memory_mb : bound of what is held at a time, beside what the source itself needs

    Raises
    ------
    InputError : values are not finite in some of the kept volumes of a target, or the source's file is damaged.
    """
    shape = (source.n_volumes, source.n_targets)
    memory_bytes = memory_mb * 2**20
    # What is read at a time, and tiles in float64, have the rest.
    in_memory = 4 * shape[0] * shape[1] <= 0.75 * memory_bytes
    if in_memory:
        responses = np.empty(shape, np.float32)

        def view() -> np.ndarray:
            return responses
    else:
        np.lib.format.open_memmap(path, "w+", "<f4", shape)

        def view() -> np.ndarray:
            # A new map each time: pages that were used leave the memory with the last one.
            return np.lib.format.open_memmap(path, "r+")

    finite = _Finiteness(source, keep)
    read: Callable[[int, int], np.ndarray] | None = None
    if isinstance(source, TargetReader):
        read = source.read_targets
    else:
        _extract(source, finite, view, memory_bytes, progress)
    quality = VoxelQuality(np.empty(shape[1], bool), np.empty(shape[1]))
    with one_thread_products() as n_threads:
        for start in range(0, shape[1], _GROUP):
            stop = min(start + _GROUP, shape[1])
            everything = view()

            def clean(tile: slice, everything: np.ndarray = everything) -> None:
                values = everything[:, tile]
                if read is not None:
                    values[:] = read(tile.start, tile.stop)
                    finite.look_at_targets(values, tile.start)
                found = clean_tile(values, basis, keep, standardise=standardise)
                quality.constant[tile], quality.tsnr[tile] = found.constant, found.tsnr

            edges = range(start, stop, TILE)
            run_tiles(clean, [slice(edge, min(edge + TILE, stop)) for edge in edges], n_threads)
            del everything, clean
    finite.require()
    if in_memory:
        with open(path, "wb") as stream:
            np.lib.format.write_array(stream, responses.astype("<f4", copy=False))
    return quality


def _extract(
    source: RunSource,
    finite: "_Finiteness",
    view: Callable[[], np.ndarray],
    memory_bytes: float,
    progress: bool,
) -> None:
    per_volume = source.bytes_per_volume + 4 * source.n_targets
    n_rows = int(np.clip(memory_bytes / 2 // per_volume, 1, 16))
    for start, rows in _with_progress(source, n_rows, progress):
        view()[start : start + len(rows)] = rows
        finite.look_at_volumes(rows, start)
    finite.require()


def _with_progress(source: RunSource, n_rows: int, progress: bool) -> Any:
    blocks = source.blocks(n_rows)
    if not progress:
        return blocks
    from tqdm import tqdm

    return tqdm(
        blocks, total=-(-source.n_volumes // n_rows), desc=source.path.name, unit="block", leave=False
    )


class _Finiteness:
    """Targets that are not finite in any kept volume hold no data; in some of them, the run is damaged."""

    def __init__(self, source: RunSource, keep: np.ndarray) -> None:
        self._source, self._keep = source, keep
        self._never = np.ones(source.n_targets, bool)  # not finite in any kept volume so far
        self._first_bad = np.full(
            source.n_targets, -1
        )  # the first kept volume in which a target is not finite

    def look_at_volumes(self, rows: np.ndarray, start: int) -> None:
        """(n, n_targets), the volumes from `start`."""
        self._look(rows[self._keep[start : start + len(rows)]], slice(None), start)

    def look_at_targets(self, columns: np.ndarray, start: int) -> None:
        """(n_volumes, n), the targets from `start`."""
        self._look(columns[self._keep], slice(start, start + columns.shape[1]), 0)

    def _look(self, kept: np.ndarray, targets: slice, start: int) -> None:
        finite = np.isfinite(kept)
        if not len(kept):
            return
        if finite.all():
            self._never[targets] = False
            return
        self._never[targets] &= ~finite.any(axis=0)
        volumes = start + np.flatnonzero(self._keep[start:])[: len(kept)]
        first = volumes[np.argmin(finite, axis=0)]
        known = self._first_bad[targets]
        self._first_bad[targets] = np.where((known < 0) & ~finite.all(axis=0), first, known)

    def require(self) -> None:
        """An InputError that names the first volume, where targets are finite in some volumes only."""
        sometimes = (self._first_bad >= 0) & ~self._never
        if sometimes.any():
            source = self._source
            raise InputError(
                f"{source.path} has NaN or infinite values inside the mask, first in volume "
                f"{self._first_bad[sometimes].min() + 1} of {source.n_volumes} ({sometimes.sum()} of "
                f"{source.n_targets} {source.targets_name} are affected); preprocess the run again."
            )
