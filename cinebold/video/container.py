"""Containers and decoders by PyAV: streams, the times of packets, pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinebold.errors import InputError

if TYPE_CHECKING:
    import av


def open_film(path: Path) -> "av.container.InputContainer":
    import av

    try:
        return av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"{path}: expected a film, but the file cannot be opened as one ({error.strerror})."
        ) from error


def video_stream(container: "av.container.InputContainer", path: Path) -> "av.VideoStream":
    """The stream that a player shows: marked as default, else the largest, else the first; never a cover picture."""
    from av.stream import Disposition

    films = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not films:
        raise InputError(f"{path}: expected a film, found a file without a video stream.")
    marked = [one for one in films if one.disposition & Disposition.default]
    stream = max(marked or films, key=_area)
    if stream.codec_context is None:
        raise InputError(f"{path}: expected a film, but no decoder here knows the format of its pictures.")
    return stream


def _area(stream: "av.VideoStream") -> int:
    return stream.width * stream.height if stream.codec_context is not None else 0


def container_start_s(container: "av.container.InputContainer") -> Fraction | None:
    """The earliest start of all streams; exact, where `container.start_time` is rounded to 1 us."""
    starts = [
        stream.start_time * stream.time_base
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None and stream.time_base
    ]
    return min(starts, default=None)


@dataclass(frozen=True)
class TimeTable:
    """What the packets tell of time."""

    times: list[Fraction]  #: when the frames appear, in stream time, sorted
    last_end_s: Fraction  #: of the last frame
    container_end_s: Fraction  #: of the last packet of all streams
    counted: bool  #: the packets bear times of decoding only


def time_table(container: "av.container.InputContainer", stream: "av.VideoStream", path: Path) -> TimeTable:
    """Look at all packets.

    AVI stores no times of presentation. FFmpeg then leaves them out or, for H.264, counts packets up although the
    decoder puts frames into another order: times that only grow, of a codec that reorders, are no times of frames
    there (in other containers they are those of a film that makes no use of the reordering).
    """
    import av

    ends: dict[int, int] = {}  # of the frames, in ticks of the stream's clock
    last_ends: dict[int, int] = {}  # of all packets, by stream
    n_packets, n_without_pts, growing, latest = 0, 0, True, None
    try:
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            index, pts = packet.stream_index, packet.pts
            is_picture = index == stream.index and packet.size > 0
            n_packets += is_picture
            ticks = packet.dts if pts is None else pts
            if ticks is None or packet.is_corrupt:
                continue
            end = ticks + (packet.duration or 0)
            last_ends[index] = max(last_ends.get(index, end), end)
            if is_picture and not packet.is_discard:
                ends.setdefault(ticks, end)
                n_without_pts += pts is None
                growing &= latest is None or ticks > latest
                latest = ticks
    except (av.error.FFmpegError, OSError):
        pass  # the tail is damaged: what was read counts, and the caller compares it with the header
    if not ends:
        if n_packets:
            raise InputError(
                f"{path}: expected a film, found a bare video stream, whose frames have no times; put it into a "
                "container with its frame rate, e.g. `ffmpeg -r 25 -i FILE -c copy film.mkv`."
            )
        raise InputError(f"{path}: expected a film, found a video stream without frames.")
    times = [ticks * stream.time_base for ticks in sorted(ends)]
    last_end_s = ends[max(ends)] * stream.time_base
    if last_end_s == times[-1]:  # no duration in the last packet
        if len(times) > 1:
            last_end_s += (times[-1] - times[0]) / (len(times) - 1)
        else:
            last_end_s += 1 / Fraction(stream.average_rate or 25)
    ends_s = [end * container.streams[index].time_base for index, end in last_ends.items()]
    return TimeTable(
        times=times,
        last_end_s=last_end_s,
        container_end_s=max(*ends_s, last_end_s),
        counted=n_without_pts > 0
        or (container.format.name == "avi" and growing and stream.codec_context.has_b_frames),
    )


def decoded_pictures(
    path: Path, stream_index: int, damaged_s: list[float], n_threads: int = 1
) -> Iterator[tuple[Any, Fraction]]:
    """Pictures of a stream in order of presentation, each with its time base.

    The times of packets that cannot be decoded go to `damaged_s`. Where decoders run in threads, an error in one takes
    good pictures of others with it: from the first damage on, a film is decoded again by one.
    """
    n_given = 0
    for threads in dict.fromkeys((n_threads, 1)):
        damaged_s.clear()
        with open_film(path) as container:
            stream = container.streams[stream_index]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            for picture in islice(_pictures(container, stream, damaged_s), n_given, None):
                if damaged_s and threads != 1:
                    break
                n_given += 1
                yield picture, picture.time_base or stream.time_base
        if not damaged_s:
            return


def _pictures(
    container: "av.container.InputContainer", stream: "av.VideoStream", damaged_s: list[float]
) -> Iterator[Any]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            return
        if packet is None:
            return
        time_s = float(packet.dts * packet.time_base) if packet.dts is not None else float("nan")
        if packet.is_corrupt and packet.size:
            damaged_s.append(time_s)
            continue
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damaged_s.append(time_s)
