"""One pass over a film feeds every extractor."""

import logging
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from cinebold.features.background import frames_ahead, in_background, sharing, torch_threads
from cinebold.features.registry import Extractor, needs_frames
from cinebold.features.rows import Rows
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo, iterate_frames, probe_film

logger = logging.getLogger(__name__)


def extract_features(
    film: str | Path,
    extractors: Mapping[str, Extractor],
    *,
    n_threads: int = 1,
    progress: bool = False,
    partials: Mapping[str, Rows] | None = None,
) -> dict[str, FeatureSeries]:
    """Decode a film once and give its frames to all extractors.

    Extractors with `needs_frames = False` get none; where all are such, the film's time table is read and no more.

    Parameters
    ----------
    extractors : by any key; the series come back under the same keys
    n_threads : of the decoder and the extractors together
    progress : show a bar
    partials : where networks keep their rows while they compute, by the same keys; the values of their series stay
        there

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
    for key, rows in (partials or {}).items():
        if hasattr(accumulators[key], "keep_in"):
            accumulators[key].keep_in(rows)
    watching = [accumulators[key] for key, extractor in extractors.items() if needs_frames(extractor)]
    n_decoded = 0
    threads = sharing(extractors.values(), n_threads)
    with warnings.catch_warnings(record=True) as caught, torch_threads(threads.n_computing):
        warnings.simplefilter("always")
        if watching:
            frames = iterate_frames(info, n_threads=threads.n_decoding)
            if threads.in_background:
                frames = in_background(frames, frames_ahead(info))
            with closing(frames):
                for time_s, frame in _with_bar(frames, info, progress):
                    for accumulator in watching:
                        accumulator.add(time_s, frame)
                    n_decoded += 1
        series = {key: accumulator.finish() for key, accumulator in accumulators.items()}
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    logger.info("%s: %d frames decoded for %s", info.path, n_decoded, ", ".join(extractors))
    damage = [str(w.message) for w in caught if str(w.message).startswith(info.path)]
    finished = {}
    for key, one in series.items():
        # What an extractor without frames says does not depend on whom it shared the pass with.
        about = _about(info, n_decoded if needs_frames(extractors[key]) else None)
        own = one.provenance.get("warnings", ())
        notes = [*info.warnings, *(damage if needs_frames(extractors[key]) else ()), *own]
        # Without the folder: the same film gives the same bytes wherever it lies.
        about["warnings"] = [note.replace(info.path, Path(info.path).name) for note in notes]
        finished[key] = replace(one, provenance={**one.provenance, **about})
    return finished


def _with_bar(frames: Any, info: FilmInfo, progress: bool) -> Any:
    if not progress:
        return frames
    from tqdm import tqdm

    return tqdm(frames, total=len(info.pts_s), desc=Path(info.path).name, unit="frame", mininterval=1.0)


def _about(info: FilmInfo, n_decoded: int | None) -> dict[str, Any]:
    about = {
        "width": info.width,
        "height": info.height,
        "rotation_deg": info.rotation_deg,
        "n_frames": len(info.pts_s),
        "first_frame_s": float(info.pts_s[0]),
        "duration_s": info.duration_s,
        "average_fps": info.average_fps,
    }
    return {"film": about if n_decoded is None else {**about, "n_frames_decoded": n_decoded}}
