"""One pass over the responses of a run: all that any linear model will ever need of them, on disk."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.fit import check_runs
from cinebold.encoding.run_statistics.cell_bases import (
    CellBasis,
    Columns,
    cell_bases,
    run_cells,
    stacked_rows_and_folds,
)
from cinebold.encoding.run_statistics.files import (
    SCHEMA_VERSION,
    RunRecord,
    TileSums,
    analysis_sha256,
    design_sha256,
    start_record,
)
from cinebold.encoding.settings import EncodingSettings
from cinebold.encoding.tiles import one_thread_products, run_tiles
from cinebold.errors import InputError, SettingError

logger = logging.getLogger(__name__)

#: Columns of one product. It never changes, so that neither memory nor threads change a bit of a sum.
_PANEL = 256
#: Volumes whose bytes stand for a run's responses when an accumulation goes on.
_N_SAMPLED = 8
_MB = 1024**2


def accumulate_run(
    index: int,
    designs: Sequence[RunDesign],
    response: np.ndarray,
    delays_s: Sequence[float],
    settings: EncodingSettings,
    folder: str | Path,
    *,
    memory_mb: int = 4096,
    voxel_tile: int = 4096,
    progress: bool = False,
) -> RunRecord:
    """Sum up one run's responses so that models can be fitted later without them (`fit_statistics`).

    The rows of the run are parted into cells which no fold parts (`cell_bases.run_cells`), such as the rows that have
    to do with one film. For each cell and voxel, y about the voxel's provisional mean (over all used rows):

        n,   sum y,   sum y^2,   Q'y

    in float64, where Q is an orthonormal basis of all columns that a training set can have there
    (`cell_bases.cell_bases`): X'y of any scaling, any components and any delays follows from Q'y. Together with
    the run's design, which is kept beside them, these are the sums of which `statistics.RunStatistics` is made.
    Estimator, alphas, PCA, scaling of features, intercept and every cross-validation over whole runs can still
    be chosen later; delays, convolution, z-scoring of volumes, rest and the cuts of a cross-validation over films
    cannot.

    Every voxel is read once. Tiles are written when they are finished; what a killed accumulation has written
    is not computed again. Equal input gives equal bytes, whatever the memory and the number of threads.

    Parameters
    ----------
    index : which of the designs is this run's
    designs : of all runs of the analysis: which rows belong together depends on the films of the other runs
    response : (n_volumes, n_targets) array or memory map
    delays_s : seconds, rounded to volumes
    folder : the record is a folder in it that has the run's label for a name
    memory_mb : beside the designs; a share of it goes to each thread
    voxel_tile : voxels a file

    Raises
    ------
    InputError : runs that do not fit together, a folder that holds something else, a full disk
    SettingError : too little memory for a tile
    """
    _check_designs(designs, index, response)
    design, columns = designs[index], Columns.of(settings, delays_s, designs[0].tr_s)
    ordered = sorted(designs, key=lambda own: own.label)
    rows, folds, final = stacked_rows_and_folds(ordered, columns, settings)
    cells_of = {
        label: [rows.volume[cell] for cell in run_cells(rows, run, [*folds, final])]
        for run, label in enumerate(rows.labels)
    }
    cells = cells_of[design.label]
    runs = {own.label: design_sha256(own) for own in ordered}
    parts = {label: [cell.tolist() for cell in own] for label, own in cells_of.items()}
    n_targets = response.shape[1]
    card = {
        "schema_version": SCHEMA_VERSION,
        "label": design.label,
        "analysis": analysis_sha256(runs, columns, parts),
        "runs": runs,
        "columns": {**asdict(columns), "delays": list(columns.delays)},
        "n_cells": len(cells),
        "n_targets": n_targets,
        "voxel_tile": voxel_tile,
        "responses": _sampled_sha256(response),
    }
    with one_thread_products() as n_threads:
        bases = cell_bases(design, columns, cells)
        path = Path(folder) / design.label
        known = RunRecord.open(path) if (path / "card.json").is_file() else None
        _state_size(path, design.label, bases, n_targets, voxel_tile, known)
        width, n_threads = _bounded(bases, response, min(voxel_tile, n_targets), memory_mb, n_threads)
        record = start_record(path, card, design, bases)
        # Another machine may have begun this record: its bases hold, to the last bit.
        bases = record.cells
        used = np.sort(np.concatenate(cells))

        def do_tile(part: slice) -> None:
            number = part.start // voxel_tile
            if not record.tile_path(number).is_file():
                record.write(number, _tile_sums(response, part, width, used, bases))

        run_tiles(do_tile, record.tiles, n_threads, progress)
    return RunRecord.load(path)


def _tile_sums(
    response: np.ndarray, tile: slice, width: int, used: np.ndarray, cells: Sequence[CellBasis]
) -> TileSums:
    """The sums of a tile of voxels, `width` voxels in memory at once."""
    n_targets, rank = tile.stop - tile.start, sum(cell.rank for cell in cells)
    sums = TileSums(
        mean=np.empty(n_targets),
        valid=np.empty(n_targets, dtype=bool),
        products=np.empty((rank, n_targets)),
        sums=np.empty((len(cells), n_targets)),
        squares=np.empty((len(cells), n_targets)),
    )
    for start in range(0, n_targets, width):
        part = slice(start, min(start + width, n_targets))
        y = np.array(response[:, tile.start + part.start : tile.start + part.stop], dtype=np.float64)
        scored = y[used]
        sums.valid[part] = np.isfinite(scored).all(axis=0) & (scored.max(axis=0) > scored.min(axis=0))
        with np.errstate(invalid="ignore", over="ignore"):
            sums.mean[part] = scored.mean(axis=0)
            del scored
            y -= sums.mean[part]
            for first in range(part.start, part.stop, _PANEL):
                panel = slice(first, min(first + _PANEL, part.stop))
                _add_panel(sums, panel, y[:, panel.start - start : panel.stop - start], cells)
    return sums


def _add_panel(sums: TileSums, panel: slice, y: np.ndarray, cells: Sequence[CellBasis]) -> None:
    first = 0
    for number, cell in enumerate(cells):
        own = y[cell.rows]
        sums.products[first : first + cell.rank, panel] = cell.coordinates(own)
        sums.sums[number, panel] = own.sum(axis=0)
        sums.squares[number, panel] = np.einsum("tv,tv->v", own, own)
        first += cell.rank


def _bounded(
    cells: Sequence[CellBasis], response: np.ndarray, voxel_tile: int, memory_mb: int, n_threads: int
) -> tuple[int, int]:
    """How many voxels a thread reads at once, and how many threads there may be."""
    n_volumes = len(response)
    # A tile's sums, and two copies of their bytes when they are written.
    fixed = 3 * 8 * (sum(cell.rank for cell in cells) + 2 * len(cells) + 2) * voxel_tile
    fixed += 8 * _PANEL * (n_volumes + max(cell.rank for cell in cells))
    a_voxel = n_volumes * (response.dtype.itemsize + 2 * 8)
    available = memory_mb * _MB
    if available < fixed + _PANEL * a_voxel:
        raise SettingError(
            f"{memory_mb} MB of memory do not hold a tile of {voxel_tile} voxels, which takes "
            f"{(fixed + _PANEL * a_voxel) / _MB:.0f} MB: allow more memory or choose a smaller tile."
        )
    n_threads = int(min(n_threads, available // (fixed + _PANEL * a_voxel)))
    width = int((available // n_threads - fixed) // a_voxel // _PANEL * _PANEL)
    return min(width, -(-voxel_tile // _PANEL) * _PANEL), n_threads


def _state_size(
    path: Path,
    label: str,
    cells: Sequence[CellBasis],
    n_targets: int,
    voxel_tile: int,
    known: RunRecord | None,
) -> None:
    """Say how much will be written; refuse what the disk does not hold."""
    rank = sum(cell.rank for cell in cells)
    size = (8 * (rank + 2 * len(cells) + 1) + 1) * n_targets
    logger.info(
        "Statistics of run %s: %d numbers a voxel in %d cells, %.0f MB in %s.",
        label, rank, len(cells), size / _MB, path,
    )  # fmt: skip
    there = 0
    if known is not None:
        written = [known.tile_path(number) for number in range(len(known.tiles))]
        there = sum(tile.stat().st_size for tile in written if tile.is_file())
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if size - there > free:
        raise InputError(
            f"The statistics of run {label} take {size / _MB:.0f} MB, and {existing} has {free / _MB:.0f} MB left: "
            "make room or choose another folder."
        )


def _sampled_sha256(response: np.ndarray) -> str:
    """The SHA-256 of a few volumes, by which other responses of the same shape are told."""
    digest = hashlib.sha256(f"{response.shape} {response.dtype.str};".encode())
    for volume in np.unique(np.linspace(0, len(response) - 1, _N_SAMPLED).astype(int)):
        digest.update(np.ascontiguousarray(response[volume]).tobytes())
    return digest.hexdigest()


def _check_designs(designs: Sequence[RunDesign], index: int, response: np.ndarray) -> None:
    if response.ndim != 2 or len(response) != designs[index].n_volumes:
        raise InputError(
            f"Run {designs[index].label}: responses have shape {response.shape}, expected "
            f"({designs[index].n_volumes}, n_targets)."
        )
    check_runs(designs, [np.broadcast_to(np.float32(0), (own.n_volumes, 1)) for own in designs])
