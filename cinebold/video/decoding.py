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

    container = _open(path)
    with container:
        stream = _video_stream(container, path)
        zero_s = _container_start_s(container)
        table = _time_table(container, stream, path)
        announced_s = (container.duration or 0) / av.time_base
        stream_index = stream.index
    if zero_s is None:
        zero_s = table.times[0]
    pts_s = np.array([float(time - zero_s) for time in table.times])
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
        When frames of the table could not be decoded; the text names the time where decoding ends.
    """
    from av.video.reformatter import VideoReformatter

    damaged_s: list[float] = []
    n_frames, last_s = 0, -np.inf
    turns = info.rotation_deg // 90
    width, height = (info.height, info.width) if turns % 2 else (info.width, info.height)
    reformatter = VideoReformatter()  # one for all frames: its tables are made once
    with _open(Path(info.path)) as container:
        stream = container.streams[info.stream_index]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = n_threads
        for picture in _decoded_frames(container, stream, damaged_s):
            if info.counted or picture.pts is None:
                time_s = _next_time_s(info, last_s, damaged_s)
            else:
                time_s = float(picture.pts * (picture.time_base or stream.time_base) - info.zero_s)
            if time_s <= last_s:  # a repeated time stamp: the first picture keeps its place
                continue
            rgb = reformatter.reformat(picture, width, height, "rgb24", threads=n_threads)
            frame = rgb.to_ndarray()
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


@dataclass(frozen=True)
class _TimeTable:
    """What the packets tell of time."""

    times: list[Fraction]  #: when the frames appear, in stream time, sorted
    last_end_s: Fraction  #: of the last frame
    container_end_s: Fraction  #: of the last packet of all streams
    counted: bool  #: the packets bear times of decoding only


def _time_table(container: "av.container.InputContainer", stream: "av.VideoStream", path: Path) -> _TimeTable:
    """Look at all packets.

    AVI stores no times of presentation. FFmpeg then leaves them out or, for H.264, counts packets up although the
    decoder puts frames into another order: times that only grow, of a codec that reorders, are no times of frames
    there (in other containers they are those of a film that makes no use of the reordering).
    """
    import av

    ends: dict[Fraction, Fraction] = {}
    container_end_s = Fraction(0)
    n_packets, n_without_pts, growing, last_s = 0, 0, True, None
    try:
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            is_picture = packet.stream_index == stream.index and packet.size > 0
            n_packets += is_picture
            ticks = packet.dts if packet.pts is None else packet.pts
            if ticks is None or packet.is_corrupt:
                continue
            time_s, length_s = ticks * packet.time_base, (packet.duration or 0) * packet.time_base
            container_end_s = max(container_end_s, time_s + length_s)
            if is_picture and not packet.is_discard:
                ends.setdefault(time_s, time_s + length_s)
                n_without_pts += packet.pts is None
                growing &= last_s is None or time_s > last_s
                last_s = time_s
    except (av.error.FFmpegError, OSError):
        pass  # the tail is damaged: what was read counts, and the caller compares it with the header
    if not ends:
        if n_packets:
            raise InputError(
                f"{path}: expected a film, found a bare video stream, whose frames have no times; put it into a "
                "container with its frame rate, e.g. `ffmpeg -r 25 -i FILE -c copy film.mkv`."
            )
        raise InputError(f"{path}: expected a film, found a video stream without frames.")
    times = sorted(ends)
    last_end_s = ends[times[-1]]
    if last_end_s == times[-1]:  # no duration in the last packet
        if len(times) > 1:
            last_end_s += (times[-1] - times[0]) / (len(times) - 1)
        else:
            last_end_s += 1 / Fraction(stream.average_rate or 25)
    return _TimeTable(
        times=times,
        last_end_s=last_end_s,
        container_end_s=max(container_end_s, last_end_s),
        counted=n_without_pts > 0
        or (container.format.name == "avi" and growing and stream.codec_context.has_b_frames),
    )


def _next_time_s(info: FilmInfo, last_s: float, damaged_s: list[float]) -> float:
    """The time of the table after `last_s`, not that of a packet that turned out to be damaged."""
    for time_s in info.pts_s[np.searchsorted(info.pts_s, last_s, side="right") :]:
        if not any(abs(time_s + float(info.zero_s) - damaged) < 1e-6 for damaged in damaged_s):
            return float(time_s)
    return last_s


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
