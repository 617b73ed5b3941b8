"""Feature series as HDF5 files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import InputError
from cinebold.features.rows import as_stored
from cinebold.features.series import FeatureSeries
from cinebold.files import atomic_path

if TYPE_CHECKING:
    import h5py


def write_features(path: str | Path, series: FeatureSeries, dtype: str = "float32") -> Path:
    """Write a series as HDF5, atomically and chunk by chunk; equal series give equal bytes.

    Datasets: `values` (n_windows, n_features), float32 or float16, in chunks with checksums, `times_s`,
    `pad_fraction`, `names`; attributes: `film_duration_s`, `provenance` (JSON).
    """
    import h5py

    names = np.array([name.encode() for name in series.names])
    with (
        atomic_path(path) as temporary,
        h5py.File(temporary, "w", libver=("earliest", "v110")) as file,
    ):
        shape = series.values.shape
        values = file.create_dataset(
            "values", shape, dtype, chunks=_chunks(shape), fletcher32=True, track_times=False
        )
        for rows in _blocks(shape):
            values[rows] = as_stored(series.values[rows], dtype, series.names, path)
        file.create_dataset("times_s", data=series.times_s.astype(np.float64), track_times=False)
        file.create_dataset("pad_fraction", data=series.pad_fraction.astype(np.float32), track_times=False)
        kind = h5py.string_dtype("utf-8", names.dtype.itemsize)
        file.create_dataset("names", data=names.astype(kind), track_times=False)
        file["values"].attrs["dimensions"] = "window, feature"
        file["times_s"].attrs["units"] = "s"
        file.attrs["film_duration_s"] = float(series.film_duration_s)
        file.attrs["provenance"] = json.dumps(series.provenance, sort_keys=True)
    return Path(path)


def read_features(path: str | Path) -> FeatureSeries:
    """Read a series that `write_features` wrote, its values as float32; InputError when the file is missing or
    damaged."""
    with _opened(path) as file:
        return FeatureSeries(
            values=file["values"].astype(np.float32)[()],
            times_s=file["times_s"][()],
            names=tuple(file["names"].asstr()[()].tolist()),
            pad_fraction=file["pad_fraction"][()],
            film_duration_s=float(file.attrs["film_duration_s"]),
            provenance=json.loads(file.attrs["provenance"]),
        )


def describe_features(path: str | Path) -> dict[str, Any]:
    """What a sidecar says of a file; all chunks are checked. InputError as in `read_features`."""
    with _opened(path) as file:
        values, names, pad_fraction = file["values"], file["names"][()], file["pad_fraction"][()]
        n_windows, n_features = values.shape
        for rows in _blocks(values.shape):
            values[rows]
        if (len(file["times_s"][()]), len(pad_fraction), len(names)) != (n_windows, n_windows, n_features):
            raise ValueError("its datasets do not agree in length")
        provenance = json.loads(file.attrs["provenance"])
        return {
            "FeatureKey": provenance.get("key"),
            "NumberOfWindows": n_windows,
            "NumberOfFeatures": n_features,
            "FilmDuration": float(file.attrs["film_duration_s"]),
            "Provenance": {
                key: value for key, value in provenance.items() if key not in ("key", "film_sha256")
            },
        }


@contextmanager
def _opened(path: str | Path) -> Iterator["h5py.File"]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if not Path(path).exists():
            raise InputError(
                f"{path}: expected a feature file, found none; run the level `stimuli` first."
            ) from error
        raise InputError(
            f"{path}: expected a feature file, found a damaged one ({error}); delete it and run again."
        ) from error


def _chunks(shape: tuple[int, ...]) -> tuple[int, int]:
    """Chunks of about 1 MB that hold whole windows."""
    n_windows, n_features = max(shape[0], 1), max(shape[1], 1)
    return min(n_windows, max(1, 2**18 // n_features)), n_features


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of each chunk."""
    step = _chunks(shape)[0]
    return (slice(begin, min(begin + step, shape[0])) for begin in range(0, shape[0], step))
