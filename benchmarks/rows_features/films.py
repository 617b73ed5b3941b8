"""The film that rows decode, and time of processors."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

#: 854 x 480, H.264, 24 frames/s, 30 s; Blender Foundation, CC-BY 3.0
REAL_CLIP = Path("videos/bbb_480p_30s.mp4")


@contextmanager
def benchmark_film(quick: bool) -> Iterator[Path]:
    """The real clip where the project's data are, else (and for a quick look) one that is made: moving texture."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    clip = Path(os.environ.get("CINEBOLD_TEST_DATA", beside)) / REAL_CLIP
    if clip.is_file() and not quick:
        yield clip
        return
    height, width, n_frames = (90, 160, 48) if quick else (480, 854, 720)
    with TemporaryDirectory() as folder:
        yield _encoded(Path(folder) / "texture.mp4", height, width, n_frames)


def _encoded(path: Path, height: int, width: int, n_frames: int) -> Path:
    import av

    wide = (np.random.default_rng(0).random((height, 4 * width, 3)) * 255).astype(np.uint8)
    for axis in (0, 1):  # coarse enough for a codec
        wide = np.mean([np.roll(wide, shift, axis) for shift in range(6)], axis=0).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index in range(n_frames):
            picture = np.roll(wide, -3 * index, axis=1)[:, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@dataclass(frozen=True)
class Turns:
    """The least of each: one work's time is not that of a quieter minute than the other's."""

    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    results: dict[str, Any]


def in_turns(works: dict[str, Callable[[], Any]], repeats: int) -> Turns:
    """Do the works one after the other, again and again."""
    seconds = {name: float("inf") for name in works}
    cpu_seconds, results = dict(seconds), {}
    for _ in range(repeats):
        for name, work in works.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            results[name] = work()
            cpu_seconds[name] = min(cpu_seconds[name], time.process_time() - cpu_start)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return Turns(seconds, cpu_seconds, results)


def n_processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))
