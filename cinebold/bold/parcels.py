"""Parcels as targets: the mean of the targets of each parcel, and maps of parcels painted on them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from cinebold.bold.atlases import atlas_labels, atlas_names, table_beside
from cinebold.bold.geometry import Geometry
from cinebold.bold.source import RunSource, TargetReader
from cinebold.errors import InputError

#: Targets of a `TargetReader` that are read at once.
_N_TOGETHER = 4096


class Parcellation:
    """Which targets belong to which parcel.

    Parameters
    ----------
    labels : (n_targets,) integers, 0 where there is no parcel
    names : of labels; a label without one is called "label <number>". Empty: the labels themselves are all there is

    Attributes
    ----------
    labels : as they were given
    indices : labels of the parcels that have targets, ascending
    names : their names
    n_targets_each : how many targets each has
    empty, empty_indices : names and labels of parcels without a target, of which no response can be made
    members : (n_parcels, n_targets) sparse, 1 where a target belongs to a parcel
    """

    def __init__(self, labels: np.ndarray, names: Mapping[int, str] | None = None) -> None:
        names = {index: name for index, name in (names or {}).items() if index != 0}
        self.labels = np.asarray(labels, np.int64)
        found, parcels, counts = np.unique(labels[labels != 0], return_inverse=True, return_counts=True)
        self.indices: tuple[int, ...] = tuple(int(index) for index in found)
        self.names: tuple[str, ...] = tuple(names.get(index, f"label {index}") for index in self.indices)
        self.n_targets_each: tuple[int, ...] = tuple(int(count) for count in counts)
        self.empty_indices: tuple[int, ...] = tuple(sorted(set(names) - set(self.indices)))
        self.empty: tuple[str, ...] = tuple(names[index] for index in self.empty_indices)
        targets = np.flatnonzero(labels)
        self.members = csr_array(
            (np.ones(len(targets)), (parcels, targets)), shape=(len(found), len(labels)), dtype=np.float64
        )

    @property
    def n_parcels(self) -> int:
        """The number of parcels that have targets."""
        return len(self.indices)

    def painted(self, values: np.ndarray) -> np.ndarray:
        """(n_parcels,) or (k, n_parcels) on the targets: (n_targets,) or (k, n_targets) float32, NaN outside parcels.

        `Geometry.save_map` writes them.
        """
        values = np.asarray(values, np.float32)
        if values.shape[-1] != self.n_parcels:
            raise ValueError(f"{values.shape[-1]} values for {self.n_parcels} parcels")
        painted = np.full((*values.shape[:-1], self.members.shape[1]), np.nan, np.float32)
        parcels, targets = self.members.nonzero()
        painted[..., targets] = values[..., parcels]
        return painted


def parcellation_of(atlas: str | Path, geometry: Geometry, table: str | Path | None = None) -> Parcellation:
    """The parcels of an atlas on the targets of a geometry.

    Parameters
    ----------
    atlas : see `atlas_labels`
    table : names of the labels (`atlas_names`); None: a TSV beside the atlas (`table_beside`), else what the file says
        itself, else numbers
    """
    labels, names = atlas_labels(atlas, geometry)
    table = table or table_beside(atlas)
    if table is not None:
        names = atlas_names(table)
        if not set(names) & set(np.unique(labels).tolist()):
            raise InputError(f"No index of {table} is a label of {atlas}; they do not belong together.")
    return Parcellation(labels, names)


def parcel_source(source: RunSource, parcellation: Parcellation) -> RunSource:
    """The means of parcels in place of a source's targets.

    Targets without data (not finite in the first volume; of a `TargetReader`, in any volume) are left out of their
    parcel's mean; one that is finite in some volumes only makes its parcel NaN there: `prepare_responses` refuses it.
    """
    if source.n_targets != parcellation.members.shape[1]:
        raise ValueError(f"{source.n_targets} targets, labels of {parcellation.members.shape[1]}")
    kind = _MeansOfTargets if isinstance(source, TargetReader) else _Means
    return kind(source, parcellation)


class _Means:
    """Of a source of volumes."""

    targets_name = "parcels"

    def __init__(self, source: RunSource, parcellation: Parcellation) -> None:
        self.path, self.n_volumes = source.path, source.n_volumes
        self.n_targets = parcellation.n_parcels
        self.bytes_per_volume = source.bytes_per_volume + 12 * source.n_targets
        self.description: Mapping[str, Any] = {
            **source.description,
            "parcels_empty": list(parcellation.empty),
        }
        self._source, self._members = source, parcellation.members

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """See `RunSource`."""
        averages: csr_array | None = None
        for start, rows in self._source.blocks(n_volumes_per_block):
            means = np.empty((len(rows), self.n_targets), np.float32)
            for mean, values in zip(means, rows, strict=True):
                finite = np.isfinite(values)
                if averages is None:
                    valid = finite
                    averages = _averages(self._members, valid)
                mean[:] = averages @ np.where(valid, values, 0).astype(np.float64)
                if (changed := finite != valid).any():
                    mean[self._members @ changed.astype(float) > 0] = np.nan
            yield start, means


class _MeansOfTargets(_Means):
    """Of a source of time series: all parcels are summed up in one pass over the targets."""

    def blocks(self, n_volumes_per_block: int) -> Iterator[tuple[int, np.ndarray]]:
        """See `RunSource`."""
        sums = np.zeros((self.n_targets, self.n_volumes))
        counts = np.zeros(self.n_targets)
        columns = self._members.tocsc()
        for start in range(0, self._source.n_targets, _N_TOGETHER):
            stop = min(start + _N_TOGETHER, self._source.n_targets)
            values = self._source.read_targets(start, stop).T.astype(np.float64)  # type: ignore[attr-defined]
            some = np.isfinite(values).any(axis=1)
            members = csr_array(columns[:, start:stop])
            # A value that is not finite stays so in the sum of its parcel only: absent entries are no products.
            sums += members @ np.where(some[:, None], values, 0)
            counts += members @ some.astype(float)
        with np.errstate(invalid="ignore"):
            means = (sums / counts[:, None]).T.astype(np.float32)
        for start in range(0, self.n_volumes, n_volumes_per_block):
            yield start, means[start : start + n_volumes_per_block]


def _averages(members: csr_array, valid: np.ndarray) -> csr_array:
    """The operator of means over valid targets; of none, NaN."""
    weights = csr_array(members.multiply(valid[None, :].astype(float)))
    with np.errstate(divide="ignore"):
        per_parcel = 1 / weights.sum(axis=1)
    return csr_array(weights.multiply(np.asarray(per_parcel).reshape(-1, 1)))
