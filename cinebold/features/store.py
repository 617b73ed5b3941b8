"""Feature series on disk: one HDF5 file and one JSON sidecar a film and feature space, computed once for all.

A file is reused when the key inside it, a hash of the film's bytes and of the extractor's fingerprint, is the
one that is wanted. Files are replaced whole, under a lock, so that many jobs may ask for the same features at
once; what a killed job had computed is beside them in a partial file.
"""

import glob
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from cinebold.errors import InputError
from cinebold.features.extraction import extract_features
from cinebold.features.feature_files import describe_features, read_features, write_features
from cinebold.features.locks import held_alone
from cinebold.features.registry import Extractor, bound_to
from cinebold.features.rows import PartialRows, check_dtype
from cinebold.files import content_sha256, file_sha256, read_json, write_json
from cinebold.video.decoding import check_is_content

__all__ = ["ensure_features", "feature_key", "read_features", "write_features"]

logger = logging.getLogger(__name__)


def ensure_features(
    film: str | Path,
    requests: Mapping[str | Path, Extractor],
    *,
    n_threads: int = 1,
    progress: bool = False,
    sidecar: dict[str, Any] | None = None,
    dtypes: Mapping[str | Path, str] | None = None,
) -> tuple[str, ...]:
    """See that the features of a film are on disk; whatever is missing is computed in one pass over the film.

    Parameters
    ----------
    requests : the .h5 file of each wanted series, and its extractor
    sidecar : entries for the JSON files beside them
    dtypes : how values are stored, "float32" or "float16", by the keys of `requests`; float32 where nothing is said

    Returns
    -------
    tuple of the paths that were computed; empty when all were there

    Raises
    ------
    InputError
        When the film cannot be decoded, or a value does not fit into float16.
    """
    check_is_content(Path(film))
    film_sha256 = file_sha256(film)
    extractors = {Path(path): bound_to(extractor, film) for path, extractor in requests.items()}
    stored_as = dict.fromkeys(extractors, "float32") | {Path(k): v for k, v in (dtypes or {}).items()}
    wanted = {
        path: feature_key(film_sha256, extractor, stored_as[path]) for path, extractor in extractors.items()
    }
    entries = {**(sidecar or {}), "FilmSHA256": film_sha256}
    missing = _missing(wanted, entries)
    if not missing:
        return ()
    with ExitStack() as stack:
        for path in sorted(missing):  # one order for all processes: no two wait for each other
            stack.enter_context(held_alone(path))
        missing = _missing(wanted, entries)  # another process may have been faster
        partials = {}
        for path in missing:
            _delete_temporaries(path)
            partials[str(path)] = PartialRows(path, wanted[path], stored_as[path])
            stack.callback(partials[str(path)].close)
        series = {}
        if missing:
            series = extract_features(
                film,
                {str(path): extractors[path] for path in missing},
                n_threads=n_threads,
                progress=progress,
                partials=partials,
            )
        for path in missing:
            one = series.pop(str(path))
            about = {"film_sha256": film_sha256, "key": wanted[path]}
            if stored_as[path] != "float32":
                about["store_dtype"] = stored_as[path]
            one = replace(one, provenance={**one.provenance, **about})
            write_features(path, one, stored_as[path])
            partials[str(path)].discard()
            write_json(_sidecar_path(path), {**entries, **describe_features(path)})
    return tuple(str(path) for path in missing)


def feature_key(film_sha256: str, extractor: Extractor, dtype: str = "float32") -> str:
    """The identity of a feature series: the film's bytes and all that the stored values depend on."""
    check_dtype(dtype)
    content = {"film_sha256": film_sha256, "extractor": extractor.fingerprint()}
    return content_sha256(content if dtype == "float32" else {**content, "store_dtype": dtype})


def _missing(wanted: Mapping[Path, str], entries: dict[str, Any]) -> list[Path]:
    """The paths whose file is absent, damaged or of another key. A lost or old sidecar is written anew."""
    missing = []
    for path, key in wanted.items():
        try:
            description = describe_features(path) if path.exists() else {}
        except InputError as error:
            logger.warning("%s It is computed again.", error)
            description = {}
        if description.get("FeatureKey") != key:
            missing.append(path)
            continue
        content = {**entries, **description}
        if not _holds(_sidecar_path(path), content):
            write_json(_sidecar_path(path), content)
    return missing


def _delete_temporaries(path: Path) -> None:
    """What processes that were killed while they wrote this file left of it; the lock is held."""
    for leftover in path.parent.glob(f".{'[0-9a-f]' * 12}.{glob.escape(path.name)}"):
        leftover.unlink(missing_ok=True)


def _holds(path: Path, content: dict[str, Any]) -> bool:
    try:
        return read_json(path) == content
    except (OSError, ValueError):
        return False


def _sidecar_path(path: Path) -> Path:
    return path.with_suffix(".json")
