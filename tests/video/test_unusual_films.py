"""Films as they are in the wild: AVI without times of presentation, wrong headers, odd formats; made here."""

import struct
import warnings
import weakref
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cinebold.errors import InputError
from cinebold.video.decoding import iterate_frames, probe_film

B_FRAMES = {"bf": "2", "g": "20", "crf": "5", "x264opts": "b-adapt=0"}


def decoded(path, **options):
    info = probe_film(path)
    pairs = list(iterate_frames(info, **options))
    return info, np.array([time for time, _ in pairs]), np.array([frame for _, frame in pairs])


def assert_grey_levels(info, times, frames, n, tolerance=3):
    """All frames of `grey_levels`, one after the other, a twenty-fifth of a second apart."""
    np.testing.assert_array_equal(times, info.pts_s)
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-6)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 10 + 5 * np.arange(n), atol=tolerance)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("codec", "options"), [("libx264", B_FRAMES), ("mpeg4", {"bf": "2", "qscale": "1"})])
def test_avi_with_b_frames_keeps_all_frames_in_their_places(encode, grey_levels, codec, options, n_threads):
    """AVI stores no times of presentation; for H.264 FFmpeg makes up such that do not follow the pictures."""
    path = encode("a.avi", grey_levels(40), codec, **options)
    assert_grey_levels(*decoded(path, n_threads=n_threads), 40, tolerance=5)


def patched(path, *changes):
    """A copy with little-endian 32-bit numbers put at so many bytes behind a four-letter code."""
    content = bytearray(path.read_bytes())
    for code, offset, *values in changes:
        start = content.index(code) + 8 + offset
        content[start : start + 4 * len(values)] = struct.pack(f"<{len(values)}I", *values)
    target = path.with_name("patched.avi")
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(
    "changes",
    [
        [(b"avih", 16, 0), (b"strh", 32, 0)],  # no number of frames
        [(b"avih", 0, 0)],  # no period
        [(b"avih", 32, 1, 1)],  # another size in the main header
    ],
)
def test_avi_headers_are_not_trusted(encode, grey_levels, changes):
    path = patched(encode("a.avi", grey_levels(40), "mpeg4", qscale="1"), *changes)
    info, times, frames = decoded(path)
    assert info.warnings == () and (info.width, info.height) == (64, 48)
    assert_grey_levels(info, times, frames, 40, tolerance=5)


def test_avi_that_announces_too_much_is_read_to_its_end_and_told(encode, grey_levels):
    path = patched(encode("a.avi", grey_levels(40), "mpeg4"), (b"avih", 16, 9999), (b"strh", 32, 9999))
    info, times, _ = decoded(path)
    assert len(times) == 40 and info.duration_s < 2
    assert len(info.warnings) == 1 and "data end at 1.6" in info.warnings[0]


def test_avi_without_its_index(encode, grey_levels):
    path = encode("a.avi", grey_levels(40), "mpeg4", qscale="1")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"idx1")])
    assert_grey_levels(*decoded(path), 40, tolerance=5)


def test_a_container_without_a_number_of_frames(encode, grey_levels):
    import av

    path = encode("a.mkv", grey_levels(20), crf="1")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    assert_grey_levels(*decoded(path), 20)


@pytest.mark.parametrize(("name", "n_shown"), [("a.nut", 6), ("a.mkv", 6), ("a.mp4", 1)])
def test_a_negative_first_time_stamp(film, grey_levels, name, n_shown):
    """Film time 0 is the container's start, so times begin there; MP4's edit list does not show what is before 0."""
    path = film(name, grey_levels(6), [-200, -160, -120, -80, -40, 0])
    info, times, frames = decoded(path)
    np.testing.assert_allclose(info.pts_s, 0.04 * np.arange(n_shown), atol=1e-6)
    np.testing.assert_array_equal(times, info.pts_s)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), (10 + 5 * np.arange(6))[-n_shown:], atol=2)


def test_a_transport_stream_begins_late(film, grey_levels):
    import av

    path = film("a.ts", grey_levels(20), list(range(0, 800, 40)))
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time > 0
    assert_grey_levels(*decoded(path), 20)


@pytest.mark.parametrize(("default", "chosen"), [(None, 1), (2, 2), (0, 0)])
def test_of_several_video_streams_the_default_or_else_the_largest_is_the_film(
    tmp_path, grey_levels, default, chosen
):
    import av
    from av.stream import Disposition

    sizes = [(24, 32), (48, 64), (16, 16)]
    with av.open(str(tmp_path / "a.mkv"), "w", options={"default_mode": "passthrough"}) as container:
        for index, (height, width) in enumerate(sizes):
            stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            if index == default:
                stream.disposition = Disposition.default
        for index, picture in enumerate(grey_levels(20)):
            for stream in container.streams.video:
                small = picture[: stream.height, : stream.width].copy()
                frame = av.VideoFrame.from_ndarray(small, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in container.streams.video:
            container.mux(stream.encode())
    info, times, frames = decoded(tmp_path / "a.mkv")
    assert info.stream_index == chosen and (info.height, info.width) == sizes[chosen]
    assert_grey_levels(info, times, frames, 20)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("a.webm", "libvpx-vp9", "yuv420p"), ("a.mp4", "libx264", "yuv444p"), ("a.mkv", "ffv1", "yuv420p")],
)
def test_odd_sizes(encode, grey_levels, name, codec, pixel_format):
    info, times, frames = decoded(encode(name, grey_levels(20, 49, 65), codec, pixel_format))
    assert (info.width, info.height) == (65, 49) and frames.shape == (20, 49, 65, 3)
    assert_grey_levels(info, times, frames, 20)
    assert np.ptp(frames[10].astype(int)) <= 6  # the last row and column too


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("libx265", "yuv420p10le"), ("ffv1", "yuv444p10le"), ("ffv1", "yuv422p12le")]
)
def test_more_than_8_bits(encode, grey_levels, codec, pixel_format):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    info, times, frames = decoded(encode("a.mkv", grey_levels(20), codec, pixel_format, **options))
    assert frames.dtype == np.uint8
    assert_grey_levels(info, times, frames, 20, tolerance=2)


COLOURS = np.array(
    [[81, 90, 240], [145, 54, 34], [41, 240, 110], [126, 128, 128], [200, 140, 100]]
)  # Y, U, V


def rgb_of(colours, matrix, full_range):
    """ITU-R BT.601 and BT.709 by their definition."""
    red_share, blue_share = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    scale, offset = ((255, 255), 0) if full_range else ((219, 224), 16)
    y = (colours[:, 0] - offset) / scale[0]
    u, v = (colours[:, 1:] - 128).T / scale[1]
    red, blue = y + 2 * (1 - red_share) * v, y + 2 * (1 - blue_share) * u
    green = (y - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    return np.clip(np.stack([red, green, blue], axis=1) * 255, 0, 255)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colours_follow_the_films_matrix_and_range(encode, matrix, full_range):
    planes = []
    for y, u, v in COLOURS:
        picture = np.full((72, 64), y, np.uint8)  # I420: 48 rows of Y, 12 of U, 12 of V
        picture[48:60], picture[60:] = u, v
        planes.append(picture)
    context = {"colorspace": {"bt601": 6, "bt709": 1}[matrix], "color_range": 2 if full_range else 1}
    path = encode("a.mkv", np.array(planes), "libx264", planes=True, context=context, qp="0")
    _, _, frames = decoded(path)
    np.testing.assert_allclose(frames[:, 24, 32], rgb_of(COLOURS, matrix, full_range), atol=2.5)


def test_a_bare_stream_has_no_times_and_is_refused(film, grey_levels):
    with pytest.raises(InputError, match=r"a\.h264: .*whose frames have no times; put it into a container"):
        probe_film(film("a.h264", grey_levels(5), list(range(0, 200, 40))))


def test_pictures_that_change_their_size_keep_that_of_the_first(encode, grey_levels):
    small = encode("small.ts", grey_levels(20))
    large = encode("large.ts", grey_levels(20, 96, 128))
    path = small.with_name("both.ts")
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info = probe_film(path)
        shapes = {frame.shape for _, frame in iterate_frames(info)}
    assert shapes == {(48, 64, 3)}


@given(st.lists(st.integers(1, 700), min_size=0, max_size=25), st.integers(0, 5000))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each example writes over the film of the one before
def test_any_time_stamps_are_found_again(film, gaps_ms, begin_ms):
    """A variable rate, any first time stamp: table and frames have what was written, from film time 0 on."""
    pts = np.cumsum([begin_ms, *gaps_ms])
    levels = np.linspace(20, 230, len(pts)).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (len(pts), 16, 16, 3)).copy()
    info, times, found = decoded(film("a.mkv", frames, pts.tolist(), codec="ffv1"))
    np.testing.assert_allclose(info.pts_s, (pts - begin_ms) / 1000, atol=1e-9)
    np.testing.assert_array_equal(times, info.pts_s)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), levels, atol=1)


def test_a_long_film_is_never_in_memory(encode):
    """Frames that were handed out and dropped are gone: of 500 at most three exist at a time."""
    rng = np.random.default_rng(0)
    path = encode("a.mkv", rng.integers(0, 255, (500, 16, 16, 3), dtype=np.uint8), preset="ultrafast")
    alive, most = set(), 0
    for index, (_, frame) in enumerate(iterate_frames(probe_film(path), n_threads=2)):
        alive.add(index)
        weakref.finalize(frame, alive.discard, index)
        del frame
        most = max(most, len(alive))
    assert index == 499 and most <= 3
