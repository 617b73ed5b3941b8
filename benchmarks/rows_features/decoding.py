"""Frames from a film against the loop that everyone writes, and what several extractors on one film pay for them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import Row, Setup, row, timed
from benchmarks.rows_features.films import benchmark_film, in_turns, n_processors


@row("decoding")
def decoding(setup: Setup) -> Row:
    """A film's frames as RGB arrays, the time table and its pass over the packets included; in turns with the peer."""
    from cinebold.video.decoding import iterate_frames, probe_film

    def ours(film: Path) -> int:
        return sum(1 for _ in iterate_frames(probe_film(film), n_threads=n_processors()))

    with benchmark_film(setup.quick) as film:
        info = probe_film(film)
        pairs = zip(iterate_frames(info), _plain_loop(film), strict=True)
        agreement = max(int(np.abs(one.astype(int) - other).max()) for (_, one), other in pairs)
        works = {"ours": lambda: ours(film), "peer": lambda: sum(1 for _ in _plain_loop(film))}
        turns = in_turns(works, 2 if setup.quick else 7)
        _, peak_mb, n_frames = timed(works["ours"])
    return Row(
        name="decoding",
        peer="PyAV's container.decode with its default threads, frame.to_ndarray(format='rgb24')",
        goal=1,
        agreement=float(agreement),
        agreement_of="largest difference of pixels",
        seconds_ours=turns.seconds["ours"],
        seconds_peer=turns.seconds["peer"],
        peak_mb=peak_mb,
        sizes={
            "film": film.name,
            "width": info.width,
            "height": info.height,
            "n_frames": n_frames,
            "frames_per_s": n_frames / turns.seconds["ours"],
            "frames_per_s_peer": n_frames / turns.seconds["peer"],
            "cpu_seconds_ours": turns.cpu_seconds["ours"],
            "cpu_seconds_peer": turns.cpu_seconds["peer"],
            "n_threads": n_processors(),
        },
    )


def _plain_loop(film: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


@row("decode-once")
def decode_once(setup: Setup) -> Row:
    """What three extractors on one film pay for its frames, in one pass and in three.

    Processor time of the decoder, with one thread, while the extractors wait: the parts of the time that decoding
    has do not depend on how busy the machine is.
    """
    from cinebold.features.registry import create_extractor

    extractors = {
        "low_level": create_extractor("low_level"),
        "motion_energy": create_extractor("motion_energy"),
        "coarse_motion": create_extractor("motion_energy", {"rate_hz": 10, "spatial_frequencies": [0, 2, 4]}),
    }
    with benchmark_film(setup.quick) as film:
        start = time.perf_counter()
        seconds, peak_mb, (decoder_s, together, n_frames) = timed(lambda: _extracted(film, extractors))
        peer_s, alone = 0.0, {}
        for name, extractor in extractors.items():
            one_s, series, _ = _extracted(film, {name: extractor})
            peer_s, alone = peer_s + one_s, {**alone, **series}
        all_seconds = time.perf_counter() - start
    return Row(
        name="decode-once",
        peer="three runs of one extractor each; processor time of the decoder only",
        goal=2.7,
        agreement=max(float(np.abs(together[name].values - alone[name].values).max()) for name in extractors),
        agreement_of="largest difference of features",
        seconds_ours=decoder_s,
        seconds_peer=peer_s,
        peak_mb=peak_mb,
        device=setup.device,
        sizes={
            "film": film.name,
            "n_frames": n_frames,
            "n_extractors": len(extractors),
            "seconds_one_run": seconds,
            "seconds_three_runs": all_seconds - seconds,
        },
    )


def _extracted(film: Path, extractors: dict[str, Any]) -> tuple[float, dict[str, Any], int]:
    """Processor time of the decoder (it has the thread that asks for frames), the features, the number of frames."""
    from cinebold.features import extraction

    spent_s, n_frames, decoder = 0.0, 0, extraction.iterate_frames

    def watched(info: Any, **options: Any) -> Iterator[tuple[float, np.ndarray]]:
        nonlocal spent_s, n_frames
        frames = decoder(info, **options)
        while True:
            start = time.thread_time()
            found = next(frames, None)
            spent_s += time.thread_time() - start
            if found is None:
                return
            n_frames += 1
            yield found

    extraction.iterate_frames = watched
    try:
        series = extraction.extract_features(film, extractors, n_threads=1)
    finally:
        extraction.iterate_frames = decoder
    return spent_s, series, n_frames
