"""Films to frames: the presentation time of every frame, and one sequential pass over the pictures.

Film time 0 is the start of the container: the earliest start of its audio and video streams, so that a video
stream that begins after the sound keeps its place against it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import InputError

if TYPE_CHECKING:
    import av

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

    container = _open(path)
    with container:
        stream = _video_stream(container, path)
        zero_s = _container_start_s(container)
        times, last_end_s, container_end_s = _time_table(container, stream, path)
        announced_s = (container.duration or 0) / av.time_base
        stream_index = stream.index
    if zero_s is None:
        zero_s = min(times)
    pts_s = np.array([float(time - zero_s) for time in times])
    with _open(path) as container:
        try:
            first = next(_decoded_frames(container, container.streams[stream_index], []), None)
        except (av.error.FFmpegError, OSError):
            first = None
    if first is None:
        raise InputError(
            f"{path}: expected a film, but none of its {len(pts_s)} frames can be decoded; it is damaged."
        )
    rotation_deg = round(first.rotation / 90) * 90 % 360
    width, height = first.width, first.height
    if rotation_deg in (90, 270):
        width, height = height, width
    duration_s = float(last_end_s - zero_s)
    notes = []
    if announced_s - float(container_end_s - zero_s) > TRUNCATION_TOLERANCE_S:
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
        When frames of the table could not be decoded; the text names the time where decoding ends.
    """
    damaged_s: list[float] = []
    n_frames, last_s = 0, -np.inf
    turns = info.rotation_deg // 90
    width, height = (info.height, info.width) if turns % 2 else (info.width, info.height)
    with _open(Path(info.path)) as container:
        stream = container.streams[info.stream_index]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = n_threads
        for picture in _decoded_frames(container, stream, damaged_s):
            time_s = _frame_time_s(picture, stream, info, n_frames)
            if time_s <= last_s:  # a repeated time stamp: the first picture keeps its place
                continue
            frame = picture.to_ndarray(format="rgb24", width=width, height=height)
            n_frames, last_s = n_frames + 1, time_s
            yield time_s, np.ascontiguousarray(np.rot90(frame, turns)) if turns else frame
    if n_frames == 0:
        raise InputError(f"{info.path}: expected a film, but no frame can be decoded; the file is damaged.")
    period_s = 1 / info.average_fps
    if last_s < info.pts_s[-1] - 1.5 * period_s:
        warnings.warn(
            f"{info.path}: decoding ends at {last_s + period_s:.2f} s of {info.duration_s:.2f} s; "
            "the rest of the film is damaged, and its last good frame stands for it.",
            stacklevel=2,
        )
    elif damaged_s:
        warnings.warn(
            f"{info.path}: {len(damaged_s)} damaged packets were skipped, the first at "
            f"{damaged_s[0] - float(info.zero_s):.2f} s.",
            stacklevel=2,
        )


def check_is_content(path: Path) -> None:
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
        raise InputError(f"{path}: expected a film, found no such file.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: expected a film, found an empty file.")
    if size < 1024 and b"annex" in path.read_bytes():
        raise InputError(annexed)


def _open(path: Path) -> "av.container.InputContainer":
    import av

    try:
        return av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"{path}: expected a film, but the file cannot be opened as one ({error.strerror})."
        ) from error


def _video_stream(container: "av.container.InputContainer", path: Path) -> "av.VideoStream":
    """FFmpeg's choice among the video streams (the largest); a cover picture is not a film."""
    from av.stream import Disposition

    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise InputError(f"{path}: expected a film, found a file without a video stream.")
    return stream


def _container_start_s(container: "av.container.InputContainer") -> Fraction | None:
    """The earliest start of all streams; exact, where `container.start_time` is rounded to 1 us."""
    starts = [
        stream.start_time * stream.time_base
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None and stream.time_base
    ]
    return min(starts, default=None)


def _time_table(
    container: "av.container.InputContainer", stream: "av.VideoStream", path: Path
) -> tuple[list[Fraction], Fraction, Fraction]:
    """Sorted stream times of the frames, the end of the last one, and the end of the last packet of all."""
    import av

    ends: dict[Fraction, Fraction] = {}
    container_end_s = Fraction(0)
    try:
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            ticks = packet.dts if packet.pts is None else packet.pts  # AVI knows the order of decoding only
            if ticks is None or packet.is_corrupt:
                continue
            time_s, length_s = ticks * packet.time_base, (packet.duration or 0) * packet.time_base
            container_end_s = max(container_end_s, time_s + length_s)
            if packet.stream_index == stream.index and not packet.is_discard:
                ends.setdefault(time_s, time_s + length_s)
    except (av.error.FFmpegError, OSError):
        pass  # the tail is damaged: what was read counts, and the caller compares it with the header
    if not ends:
        raise InputError(f"{path}: expected a film, found a video stream without frames.")
    times = sorted(ends)
    last_end_s = ends[times[-1]]
    if last_end_s == times[-1]:  # no duration in the last packet
        if len(times) > 1:
            last_end_s += (times[-1] - times[0]) / (len(times) - 1)
        else:
            last_end_s += 1 / Fraction(stream.average_rate or 25)
    return times, last_end_s, max(container_end_s, last_end_s)


def _decoded_frames(
    container: "av.container.InputContainer", stream: "av.VideoStream", damaged_s: list[float]
) -> Iterator[Any]:
    """Frames in order of presentation; the times of packets that cannot be decoded go to `damaged_s`."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError):
            return
        time_s = float(packet.dts * packet.time_base) if packet.dts is not None else np.nan
        if packet.is_corrupt and packet.size:
            damaged_s.append(time_s)
            continue
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damaged_s.append(time_s)


def _frame_time_s(picture: Any, stream: "av.VideoStream", info: FilmInfo, n_before: int) -> float:
    if picture.pts is None:
        return float(info.pts_s[min(n_before, len(info.pts_s) - 1)])
    return float(picture.pts * (picture.time_base or stream.time_base) - info.zero_s)
