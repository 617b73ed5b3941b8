"""Feature series on disk: one HDF5 file and one JSON sidecar a film and feature space, computed once for all.

A file is reused when the key inside it, a hash of the film's bytes and of the extractor's fingerprint, is the
one that is wanted. Files are replaced whole, under a lock, so that many jobs may ask for the same features at
once.
"""

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.errors import InputError
from cinebold.features.extraction import extract_features
from cinebold.features.registry import Extractor
from cinebold.features.series import FeatureSeries
from cinebold.files import atomic_path, content_sha256, file_sha256, read_json, write_json
from cinebold.video.decoding import check_is_content

logger = logging.getLogger(__name__)


def ensure_features(
    film: str | Path,
    requests: Mapping[str | Path, Extractor],
    *,
    n_threads: int = 1,
    progress: bool = False,
    sidecar: dict[str, Any] | None = None,
) -> tuple[str, ...]:
    """See that the features of a film are on disk; whatever is missing is computed in one pass over the film.

    Parameters
    ----------
    requests : the .h5 file of each wanted series, and its extractor
    sidecar : entries for the JSON files beside them

    Returns
    -------
    tuple of the paths that were computed; empty when all were there
    """
    check_is_content(Path(film))
    film_sha256 = file_sha256(film)
    wanted = {Path(path): feature_key(film_sha256, extractor) for path, extractor in requests.items()}
    entries = {**(sidecar or {}), "FilmSHA256": film_sha256}
    missing = _missing(wanted, entries)
    if not missing:
        return ()
    extractors = {Path(path): extractor for path, extractor in requests.items()}
    with ExitStack() as locks:
        locked = sorted(missing)  # one order for all processes: no two wait for each other
        for path in locked:
            locks.enter_context(_lock(path))
        missing = _missing(wanted, entries)  # another process may have been faster
        if missing:
            series = extract_features(
                film,
                {str(path): extractors[path] for path in missing},
                n_threads=n_threads,
                progress=progress,
            )
        for path in missing:
            one = series[str(path)]
            one = replace(one, provenance={**one.provenance, "film_sha256": film_sha256, "key": wanted[path]})
            write_features(path, one)
            write_json(_sidecar_path(path), _sidecar(read_features(path), entries))
        for path in locked:
            # Whoever still waits for a lock, or makes a new one, will find the file and compute nothing.
            _lock_path(path).unlink(missing_ok=True)
    return tuple(str(path) for path in missing)


def feature_key(film_sha256: str, extractor: Extractor) -> str:
    """The identity of a feature series: the film's bytes and all that the extractor's values depend on."""
    return content_sha256({"film_sha256": film_sha256, "extractor": extractor.fingerprint()})


def write_features(path: str | Path, series: FeatureSeries) -> Path:
    """Write a series as HDF5, atomically; equal series give equal bytes.

    Datasets: `values` (n_windows, n_features) float32 in chunks with checksums, `times_s`, `pad_fraction`,
    `names`; attributes: `film_duration_s`, `provenance` (JSON).
    """
    import h5py

    names = np.array([name.encode() for name in series.names])
    with (
        atomic_path(path) as temporary,
        h5py.File(temporary, "w", libver=("earliest", "v110")) as file,
    ):
        file.create_dataset(
            "values",
            data=np.ascontiguousarray(series.values, dtype=np.float32),
            chunks=_chunks(series.values.shape),
            fletcher32=True,
            track_times=False,
        )
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
    """Read a series that `write_features` wrote; InputError when the file is missing or damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return FeatureSeries(
                values=file["values"][()],
                times_s=file["times_s"][()],
                names=tuple(file["names"].asstr()[()].tolist()),
                pad_fraction=file["pad_fraction"][()],
                film_duration_s=float(file.attrs["film_duration_s"]),
                provenance=json.loads(file.attrs["provenance"]),
            )
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if not Path(path).exists():
            raise InputError(
                f"{path}: expected a feature file, found none; run the level `stimuli` first."
            ) from error
        raise InputError(
            f"{path}: expected a feature file, found a damaged one ({error}); delete it and run again."
        ) from error


def _missing(wanted: Mapping[Path, str], entries: dict[str, Any]) -> list[Path]:
    """The paths whose file is absent, damaged or of another key. A lost or old sidecar is written anew."""
    missing = []
    for path, key in wanted.items():
        try:
            series = read_features(path) if path.exists() else None
        except InputError as error:
            logger.warning("%s It is computed again.", error)
            series = None
        if series is None or series.provenance.get("key") != key:
            missing.append(path)
            continue
        content = _sidecar(series, entries)
        if not _holds(_sidecar_path(path), content):
            write_json(_sidecar_path(path), content)
    return missing


def _holds(path: Path, content: dict[str, Any]) -> bool:
    try:
        return read_json(path) == content
    except (OSError, ValueError):
        return False


def _sidecar(series: FeatureSeries, entries: dict[str, Any]) -> dict[str, Any]:
    return {
        **entries,
        "FeatureKey": series.provenance["key"],
        "NumberOfWindows": len(series.times_s),
        "NumberOfFeatures": len(series.names),
        "FilmDuration": series.film_duration_s,
        "Provenance": {
            key: value for key, value in series.provenance.items() if key not in ("key", "film_sha256")
        },
    }


def _sidecar_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _lock(path: Path) -> Any:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(_lock_path(path))


def _chunks(shape: tuple[int, ...]) -> tuple[int, int]:
    """Chunks of about 1 MB that hold whole windows."""
    n_windows, n_features = max(shape[0], 1), max(shape[1], 1)
    return min(n_windows, max(1, 2**18 // n_features)), n_features
