"""Films to frames: the presentation time of every frame, and one sequential pass over the pictures.

Film time 0 is the start of the container: the earliest start of its audio and video streams, so that a video
stream that begins after the sound keeps its place against it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from cinebold.errors import InputError
from cinebold.video.container import (
    container_start_s,
    decoded_pictures,
    open_film,
    time_table,
    video_stream,
)

#: a container that announces this much more than it holds is reported as cut off
TRUNCATION_TOLERANCE_S = 1.0


@dataclass(frozen=True, eq=False)
class FilmInfo:
    """What is known of a film before its frames are decoded; times are film time, in seconds."""

    path: str
    width: int  #: as displayed, after rotation
    height: int  #: as displayed, after rotation
    rotation_deg: int  #: counter-clockwise, applied to every frame: 0, 90, 180 or 270
    pts_s: np.ndarray  #: (n_frames,) float64, sorted: when each frame appears
    duration_s: float  #: when the last frame ends
    average_fps: float
    warnings: tuple[str, ...] = ()
    stream_index: int = 0
    zero_s: Fraction = field(default=Fraction(0))  #: the stream time of film time 0, exact
    counted: bool = False  #: the film stores no times of presentation: its n-th frame has the n-th time


def probe_film(path: str | Path) -> FilmInfo:
    """Read the time table of a film: every packet is looked at, one frame is decoded.

    The number of frames and the duration that a header announces are not trusted (WebM has none, others are
    wrong): the table is made from the packets' presentation time stamps.

    Raises
    ------
    InputError
        When the file is missing, a git-annex pointer, not a film, or so damaged that no frame can be decoded.
    """
    path = Path(path)
    check_is_content(path)
    import av

    container = open_film(path)
    with container:
        stream = video_stream(container, path)
        zero_s = container_start_s(container)
        table = time_table(container, stream, path)
        announced_s = (container.duration or 0) / av.time_base
        stream_index = stream.index
    if zero_s is None:
        zero_s = table.times[0]
    pts_s = np.array([float(time - zero_s) for time in table.times])
    first, _ = next(decoded_pictures(path, stream_index, []), (None, None))
    if first is None:
        raise InputError(
            f"{path}: expected a film, but none of its {len(pts_s)} frames can be decoded; it is damaged."
        )
    rotation_deg = round(first.rotation / 90) * 90 % 360
    width, height = first.width, first.height
    if rotation_deg in (90, 270):
        width, height = height, width
    duration_s = float(table.last_end_s - zero_s)
    notes = []
    if announced_s - float(table.container_end_s - zero_s) > TRUNCATION_TOLERANCE_S:
        notes.append(
            f"{path}: the film announces {announced_s:.2f} s but its data end at {duration_s:.2f} s; "
            "the file seems to be cut off."
        )
    return FilmInfo(
        path=str(path),
        width=width,
        height=height,
        rotation_deg=rotation_deg,
        pts_s=pts_s,
        duration_s=duration_s,
        average_fps=len(pts_s) / max(duration_s - pts_s[0], 1e-6),
        warnings=tuple(notes),
        stream_index=stream_index,
        zero_s=zero_s,
        counted=table.counted,
    )


def iterate_frames(info: FilmInfo, *, n_threads: int = 1) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a film once, in order of presentation.

    Yields
    ------
    time_s : float
        When the frame appears, in film time.
    frame : (height, width, 3) uint8
        RGB, turned as the film's display matrix says.

    Warns
    -----
    UserWarning
        When frames of the table could not be decoded; the text names the time where decoding begins or ends.
    """
    from av.video.reformatter import VideoReformatter

    damaged_s: list[float] = []
    first_s, last_s = np.inf, -np.inf
    turns = info.rotation_deg // 90
    width, height = (info.height, info.width) if turns % 2 else (info.width, info.height)
    reformatter = VideoReformatter()  # one for all frames: its tables are made once
    for picture, time_base in decoded_pictures(Path(info.path), info.stream_index, damaged_s, n_threads):
        if info.counted or picture.pts is None:
            time_s = _next_time_s(info, last_s, damaged_s)
        else:
            time_s = float(picture.pts * time_base - info.zero_s)
        if time_s <= last_s:  # a repeated time stamp: the first picture keeps its place
            continue
        rgb = reformatter.reformat(picture, width, height, "rgb24", threads=n_threads)
        frame = rgb.to_ndarray()
        first_s, last_s = min(first_s, time_s), time_s
        yield time_s, np.ascontiguousarray(np.rot90(frame, turns)) if turns else frame
    if first_s == np.inf:
        raise InputError(f"{info.path}: expected a film, but no frame can be decoded; the file is damaged.")
    for text in _damage(info, first_s, last_s, [at_s - float(info.zero_s) for at_s in damaged_s]):
        warnings.warn(f"{info.path}: {text}", stacklevel=2)


def _damage(info: FilmInfo, first_s: float, last_s: float, damaged_s: list[float]) -> Iterator[str]:
    """What was wrong with a film whose frames were decoded from `first_s` to `last_s`."""
    period_s = 1 / info.average_fps
    if first_s > info.pts_s[0] + 1.5 * period_s:
        yield (
            f"decoding begins at {first_s:.2f} s, as the film is cut off at its start; "
            "its first good frame stands for what is before."
        )
    if last_s < info.pts_s[-1] - 1.5 * period_s:
        yield (
            f"decoding ends at {last_s + period_s:.2f} s of {info.duration_s:.2f} s; "
            "the rest of the film is damaged, and its last good frame stands for it."
        )
    elif damaged_s:
        packets = "1 damaged packet was" if len(damaged_s) == 1 else f"{len(damaged_s)} damaged packets were"
        yield f"{packets} skipped, the first at {damaged_s[0]:.2f} s."


def check_is_content(path: Path, what: str = "a film") -> None:
    """Raise InputError when `path` is missing, empty, or stands for content that was never fetched."""
    path = Path(path)
    annexed = (
        f"{path}: this is a git-annex pointer, its content is not on this machine; run `datalad get` on it."
    )
    if path.is_symlink() and not path.exists():
        if "annex" in str(path.readlink()):
            raise InputError(annexed)
        raise InputError(f"{path}: this is a symbolic link to {path.readlink()}, which does not exist.")
    if not path.is_file():
        raise InputError(f"{path}: expected {what}, found no such file.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: expected {what}, found an empty file.")
    if size < 1024 and b"/annex/objects" in path.read_bytes():
        raise InputError(annexed)


def _next_time_s(info: FilmInfo, last_s: float, damaged_s: list[float]) -> float:
    """The time of the table after `last_s`, not that of a packet that turned out to be damaged."""
    for time_s in info.pts_s[np.searchsorted(info.pts_s, last_s, side="right") :]:
        if not any(abs(time_s + float(info.zero_s) - damaged) < 1e-6 for damaged in damaged_s):
            return float(time_s)
    return last_s
