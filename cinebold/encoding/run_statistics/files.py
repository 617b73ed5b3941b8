"""Run statistics on disk: a folder a run, written tile by tile, put together from many machines."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding.run_statistics.cell_bases import CellBasis, Columns
from cinebold.errors import InputError
from cinebold.files import atomic_path, content_sha256, read_json, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TileSums:
    """Sums of some voxels' responses over the cells of one run, float64."""

    mean: np.ndarray  #: (n_targets,) provisional: over the rows that are used
    valid: np.ndarray  #: (n_targets,) bool: finite and not constant over these rows
    products: np.ndarray  #: (sum of ranks, n_targets): Q'(Y - mean), cell below cell
    sums: np.ndarray  #: (n_cells, n_targets): sums of y - mean
    squares: np.ndarray  #: (n_cells, n_targets): sums of (y - mean)^2


@dataclass(frozen=True)
class RunRecord:
    """The statistics of one run in a folder: card.json, design.npz, cells.safetensors and a file a tile of voxels."""

    folder: Path
    card: dict[str, Any]

    @property
    def label(self) -> str:
        """The run's label."""
        return self.card["label"]

    @property
    def n_targets(self) -> int:
        """How many voxels there are."""
        return self.card["n_targets"]

    @property
    def tiles(self) -> list[slice]:
        """The voxels of each file."""
        step = self.card["voxel_tile"]
        return [slice(start, min(start + step, self.n_targets)) for start in range(0, self.n_targets, step)]

    @property
    def columns(self) -> Columns:
        """What the statistics are of."""
        content = self.card["columns"]
        return Columns(**content | {"delays": tuple(content["delays"])})

    def tile_path(self, number: int) -> Path:
        """The file of a tile."""
        return self.folder / f"tile-{number:05d}.safetensors"

    @cached_property
    def design(self) -> RunDesign:
        """The run's design."""
        return RunDesign.load(self.folder / "design.npz")

    @cached_property
    def cells(self) -> list[CellBasis]:
        """The run's cells with their bases."""
        from safetensors.numpy import load_file

        arrays = load_file(self.folder / "cells.safetensors")
        return [
            CellBasis(arrays[f"rows_{cell}"], arrays.get(f"basis_{cell}"))
            for cell in range(self.card["n_cells"])
        ]

    def read(self, part: slice) -> TileSums:
        """The sums of the voxels of `part`, which lie in one tile."""
        from safetensors import safe_open

        number = part.start // self.card["voxel_tile"]
        first = number * self.card["voxel_tile"]
        with safe_open(self.tile_path(number), framework="numpy") as tensors:
            arrays = {
                name: tensors.get_slice(name)[:, part.start - first : part.stop - first]
                for name in tensors.keys()
            }
        return TileSums(
            mean=arrays["mean"][0],
            valid=arrays["valid"][0].astype(bool),
            products=arrays["products"],
            sums=arrays["sums"],
            squares=arrays["squares"],
        )

    def write(self, number: int, sums: TileSums) -> None:
        """Write a tile; equal sums give equal bytes."""
        save_arrays(
            self.tile_path(number),
            {
                "mean": sums.mean[np.newaxis],
                "valid": sums.valid[np.newaxis].astype(np.uint8),
                "products": sums.products,
                "sums": sums.sums,
                "squares": sums.squares,
            },
        )

    @classmethod
    def load(cls, folder: str | Path) -> "RunRecord":
        """Open a record that is whole."""
        record = cls.open(folder)
        missing = [number for number in range(len(record.tiles)) if not record.tile_path(number).is_file()]
        if missing:
            raise InputError(
                f"The statistics of run {record.label} in {folder} are not whole: {len(missing)} of "
                f"{len(record.tiles)} tiles are missing; accumulate the run again into this folder, which goes on "
                "where it stopped."
            )
        return record

    @classmethod
    def open(cls, folder: str | Path) -> "RunRecord":
        """Open a record whether or not all its tiles are there."""
        folder = Path(folder)
        if not (folder / "card.json").is_file():
            raise InputError(
                f"{folder} holds no run statistics: it has no card.json; accumulate the run first."
            )
        card = read_json(folder / "card.json")
        if card.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{folder} holds run statistics of version {card.get('schema_version')}, expected "
                f"{SCHEMA_VERSION}; accumulate the run again."
            )
        return cls(folder, card)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays atomically as safetensors; equal arrays give equal bytes."""
    from safetensors.numpy import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}))


def start_record(
    folder: Path, card: dict[str, Any], design: RunDesign, cells: Sequence[CellBasis]
) -> RunRecord:
    """Begin a run's record, or go on with one of the same run, designs and responses."""
    if (folder / "card.json").is_file():
        record = RunRecord.open(folder)
        if record.card != card:
            differing = [name for name in card if record.card.get(name) != card[name]]
            raise InputError(
                f"{folder} holds statistics of another analysis or of other responses of run {card['label']} "
                f"({', '.join(differing)} differ): choose another folder, or delete this one."
            )
        return record
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"rows_{number}": cell.rows for number, cell in enumerate(cells)}
    arrays |= {f"basis_{number}": cell.basis for number, cell in enumerate(cells) if cell.basis is not None}
    save_arrays(folder / "cells.safetensors", arrays)
    design.save(folder / "design.npz")
    # The card comes last: where it is, the rest is there.
    write_json(folder / "card.json", card)
    return RunRecord(folder, card)


def merge(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records of all runs of one analysis, in the order of their labels, wherever they were accumulated.

    Raises
    ------
    InputError : records of different analyses or voxels, a run twice or not at all
    """
    if not records:
        raise InputError("No run statistics were given: accumulate the runs first.")
    records = sorted(records, key=lambda record: record.label)
    first = records[0]
    for one, other in pairwise(records):
        if one.label == other.label:
            raise InputError(
                f"The statistics of run {one.label} were given twice, in {one.folder} and {other.folder}: give each "
                "run once."
            )
    for record in records[1:]:
        if record.card["analysis"] != first.card["analysis"]:
            raise InputError(
                f"The statistics in {record.folder} and {first.folder} belong to different analyses (other runs, "
                "features, films, delays or folds): accumulate all runs with the same designs and settings."
            )
        if record.n_targets != first.n_targets or record.card["voxel_tile"] != first.card["voxel_tile"]:
            raise InputError(
                f"Run {record.label} has {record.n_targets} voxels in tiles of {record.card['voxel_tile']}, run "
                f"{first.label} {first.n_targets} in tiles of {first.card['voxel_tile']}: prepare all runs with the "
                "same mask and accumulate them with the same tile."
            )
    missing = sorted(set(first.card["runs"]) - {record.label for record in records})
    if missing:
        raise InputError(f"The statistics of run {', '.join(missing)} are missing: accumulate all runs.")
    for record in records:
        if design_sha256(record.design) != first.card["runs"][record.label]:
            raise InputError(
                f"{record.folder / 'design.npz'} is not the design that the statistics were accumulated with: "
                "accumulate the run again."
            )
    return records


def design_sha256(design: RunDesign) -> str:
    """The SHA-256 of all that a design says."""
    digest = hashlib.sha256()
    arrays = {f"features.{space}": values for space, values in design.features.items()}
    arrays |= {name: getattr(design, name) for name in ("has_film", "film_of_volume", "keep")}
    arrays |= {name: getattr(design, name) for name in ("film_time_s", "nuisance")}
    for name, values in arrays.items():
        kind = "?" if values is None else "<i8" if values.dtype.kind in "iu" else "<f8"
        array = np.zeros(0) if values is None else np.ascontiguousarray(values, dtype=kind)
        digest.update(f"{name} {kind} {array.shape};".encode())
        digest.update(array.tobytes())
    facts = [design.label, design.tr_s, list(design.film_ids)]
    names = {space: list(names) for space, names in design.names.items()}
    digest.update(content_sha256([facts, names]).encode())
    return digest.hexdigest()


def analysis_sha256(runs: dict[str, str], columns: Columns, cells: dict[str, Any]) -> str:
    """What the records of all runs of one analysis share: the designs, the columns, and how rows are parted."""
    return content_sha256([runs, asdict(columns), cells, SCHEMA_VERSION])
