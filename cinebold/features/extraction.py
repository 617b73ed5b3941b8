"""One pass over a film feeds every extractor."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cinebold.features.registry import Extractor
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo, iterate_frames, probe_film

logger = logging.getLogger(__name__)


def extract_features(
    film: str | Path, extractors: Mapping[str, Extractor], *, n_threads: int = 1, progress: bool = False
) -> dict[str, FeatureSeries]:
    """Decode a film once and give its frames to all extractors.

    Parameters
    ----------
    extractors : by any key; the series come back under the same keys
    n_threads : of the decoder
    progress : show a bar

    Returns
    -------
    dict of FeatureSeries; `provenance["film"]` says what was decoded, `provenance["warnings"]` what was wrong
    with it

    Raises
    ------
    InputError
        When the film cannot be decoded.
    """
    info = probe_film(film)
    for text in info.warnings:
        warnings.warn(text, stacklevel=2)
    accumulators = {key: extractor.start(info) for key, extractor in extractors.items()}
    n_decoded = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for time_s, frame in _with_bar(info, n_threads, progress):
            for accumulator in accumulators.values():
                accumulator.add(time_s, frame)
            n_decoded += 1
        series = {key: accumulator.finish() for key, accumulator in accumulators.items()}
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    notes = [*info.warnings, *(str(w.message) for w in caught if str(w.message).startswith(info.path))]
    about = {
        "film": _about(info, n_decoded),
        # Without the folder: the same film gives the same bytes wherever it lies.
        "warnings": [note.replace(info.path, Path(info.path).name) for note in notes],
    }
    logger.info("%s: %d frames decoded for %s", info.path, n_decoded, ", ".join(extractors))
    return {key: replace(one, provenance={**one.provenance, **about}) for key, one in series.items()}


def _with_bar(info: FilmInfo, n_threads: int, progress: bool) -> Any:
    frames = iterate_frames(info, n_threads=n_threads)
    if not progress:
        return frames
    from tqdm import tqdm

    return tqdm(frames, total=len(info.pts_s), desc=Path(info.path).name, unit="frame", mininterval=1.0)


def _about(info: FilmInfo, n_decoded: int) -> dict[str, Any]:
    return {
        "width": info.width,
        "height": info.height,
        "rotation_deg": info.rotation_deg,
        "n_frames": len(info.pts_s),
        "n_frames_decoded": n_decoded,
        "first_frame_s": float(info.pts_s[0]),
        "duration_s": info.duration_s,
        "average_fps": info.average_fps,
    }
