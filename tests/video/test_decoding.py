"""Time tables and frames of films, made here with known time stamps, and of real clips."""

import re
from fractions import Fraction

import numpy as np
import pytest

from cinebold.errors import InputError
from cinebold.video.decoding import iterate_frames, probe_film

VARIABLE_RATE = [0, 40, 80, 200, 210, 500, 1000]


def decoded(info, **options):
    pairs = list(iterate_frames(info, **options))
    return np.array([time for time, _ in pairs]), np.array([frame for _, frame in pairs])


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("a.mp4", "libx264", "yuv444p"), ("a.mkv", "libx264", "yuv444p"), ("a.webm", "libvpx-vp9", "yuv420p")],
)
def test_variable_rate_film_has_its_own_time_stamps(film, grey_levels, name, codec, pixel_format):
    path = film(name, grey_levels(7), VARIABLE_RATE, codec=codec, pixel_format=pixel_format)
    info = probe_film(path)
    np.testing.assert_allclose(info.pts_s, np.array(VARIABLE_RATE) / 1000, atol=1e-9)
    times, frames = decoded(info)
    np.testing.assert_array_equal(times, info.pts_s)
    # Lossy, so within a few grey levels; the levels are 5 apart.
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 10 + 5 * np.arange(7), atol=2)
    assert (info.width, info.height, info.rotation_deg) == (64, 48, 0)
    assert info.duration_s > 1.0


def test_film_time_0_is_the_first_frame_when_there_is_no_sound(film, grey_levels):
    info = probe_film(film("a.mkv", grey_levels(3), [5000, 5040, 5080]))
    np.testing.assert_allclose(info.pts_s, [0, 0.04, 0.08], atol=1e-9)
    assert info.duration_s == pytest.approx(0.12, abs=1e-3)


def test_a_late_video_stream_keeps_its_place_against_the_sound(film, grey_levels):
    info = probe_film(film("a.mkv", grey_levels(3), [500, 540, 580], sound_s=1.0))
    # The sound may begin some milliseconds before 0: its coder needs a start-up.
    assert info.pts_s[0] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.diff(info.pts_s), 0.04, atol=1e-9)
    assert decoded(info)[0].tolist() == info.pts_s.tolist()


def test_avi_without_presentation_times(film, grey_levels):
    info = probe_film(
        film(
            "a.avi",
            grey_levels(5),
            list(range(5)),
            time_base=Fraction(1, 25),
            codec="mpeg4",
            pixel_format="yuv420p",
        )
    )
    times, frames = decoded(info)
    np.testing.assert_allclose(info.pts_s, np.arange(5) / 25, atol=1e-9)
    np.testing.assert_allclose(times, info.pts_s, atol=1e-9)
    assert len(frames) == 5


@pytest.mark.parametrize(("rotation_deg", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_frames_are_turned_as_the_display_matrix_says(film, rotation_deg, corner):
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    frames[:, :16, :16] = (
        255  # the top left corner, which a counter-clockwise quarter turn takes to the bottom left
    )
    info = probe_film(film("a.mp4", frames, [0, 40], rotation_deg=rotation_deg))
    assert info.rotation_deg == rotation_deg
    _, turned = decoded(info)
    assert turned.shape[1:3] == (info.height, info.width) == ((48, 64) if rotation_deg == 180 else (64, 48))
    places = {
        (y, x): int(turned[0, 4 * y if y else 4, 4 * x if x else 4].mean()) for y in (0, -1) for x in (0, -1)
    }
    assert max(places, key=places.get) == corner
    assert places[corner] > 240
    assert sum(level > 100 for level in places.values()) == 1


def test_threads_change_no_frame(film, grey_levels):
    info = probe_film(film("a.mp4", grey_levels(30), list(range(0, 1200, 40))))
    one, four = decoded(info), decoded(info, n_threads=4)
    np.testing.assert_array_equal(one[0], four[0])
    np.testing.assert_array_equal(one[1], four[1])


def test_a_film_cut_off_is_reported_with_the_time_where_it_ends(film, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (100, 64, 64, 3), dtype=np.uint8)
    whole = film("whole.mkv", noise, list(range(0, 4000, 40)))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    info = probe_film(cut)
    assert 1.0 < info.duration_s < 3.0
    assert len(info.warnings) == 1
    assert f"data end at {info.duration_s:.2f} s" in info.warnings[0]
    assert probe_film(whole).warnings == ()


def test_a_damaged_tail_is_reported_with_the_time_where_decoding_ends(film, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), dtype=np.uint8)
    path = film("a.webm", noise, list(range(0, 2000, 40)), codec="libvpx-vp9", pixel_format="yuv420p")
    damaged = damage_packets(path, tmp_path / "damaged.webm", after_s=1.0)
    info = probe_film(damaged)
    with pytest.warns(UserWarning, match=r"decoding ends at [01]\.\d\d s of 2\.\d\d s"):
        times, _ = decoded(info)
    assert times[-1] < 1.5


def test_a_film_of_which_nothing_decodes_is_refused(film, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), dtype=np.uint8)
    path = film("a.webm", noise, list(range(0, 400, 40)), codec="libvpx-vp9", pixel_format="yuv420p")
    with pytest.raises(InputError, match=r"damaged\.webm: expected a film"):
        probe_film(damage_packets(path, tmp_path / "damaged.webm", after_s=-1.0))


def damage_packets(path, target, after_s):
    """A copy whose packets later than `after_s` hold bytes that no decoder takes."""
    import av

    content = path.read_bytes()
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.pts is not None and packet.size and float(packet.pts * packet.time_base) > after_s:
                # In place, so that the container around the packets stays whole.
                content = content.replace(bytes(packet), b"\xff" * packet.size)
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty file"),
        (b"/annex/objects/MD5E-s12345--0123.mp4\n", "git-annex pointer"),
        (b"this is no film" * 200, "cannot be opened"),
    ],
)
def test_what_is_not_a_film_is_refused(tmp_path, content, sentence):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.mp4.*{sentence}"):
        probe_film(path)


def test_a_missing_film_and_broken_links_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        probe_film(tmp_path / "none.mp4")
    annexed, broken = tmp_path / "annexed.mp4", tmp_path / "broken.mp4"
    annexed.symlink_to(".git/annex/objects/x/y.mp4")
    broken.symlink_to("elsewhere.mp4")
    with pytest.raises(InputError, match="git-annex pointer"):
        probe_film(annexed)
    with pytest.raises(InputError, match=r"symbolic link to elsewhere\.mp4"):
        probe_film(broken)


def test_sound_without_pictures_is_refused(tmp_path):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="flt", layout="mono")
        silence.sample_rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="without a video stream"):
        probe_film(path)


# Sizes as displayed, frames, the first time stamp, the duration: facts of the files, from ffprobe and their sources.
REAL = [
    ("bbb_480p_30s.mp4", (854, 480), 720, 0.0, 30.0),
    ("mdn_flower.webm", (960, 540), 150, 0.003, 5.008),
    ("mdn_friday.mp4", (640, 480), 185, 0.0, 185 / 30),
    ("intel_car-detection.mp4", (768, 432), 377, 0.0, 30.16),
    (
        "torchcodec_test_non_zero_start.mp4",
        (200, 112),
        12,
        0.0,
        0.4,
    ),  # begins at 8.333 s, alone in its container
    (
        "torchcodec_discard_first_keyframe.mp4",
        (64, 64),
        25,
        0.0,
        1.0,
    ),  # the five frames before 0 are not shown
    ("torchcodec_nasa_13013.mp4", (480, 270), 390, 0.0, 390 * 1001 / 30000),  # two streams: the larger
    ("torchcodec_nasa_13013_rotated.mp4", (270, 480), 17, 0.0, 17 * 1001 / 30000),
    ("decord_video_90.mov", (320, 568), 3, 0.0, 0.1),
    ("torchcodec_testsrc2_odd_height_and_width_vp9.mp4", (321, 241), 25, 0.0, 1.0),
    ("torchcodec_av1_video.mkv", (640, 360), 125, 0.0, 5.0),
]


@pytest.mark.parametrize(("name", "size", "n_frames", "first_s", "duration_s"), REAL)
def test_real_films(shared_data, name, size, n_frames, first_s, duration_s):
    info = probe_film(shared_data / "videos" / name)
    assert (info.width, info.height) == size
    assert len(info.pts_s) == n_frames
    assert info.pts_s[0] == pytest.approx(first_s, abs=1e-9)
    assert info.duration_s == pytest.approx(duration_s, abs=1e-6)
    assert info.warnings == ()
    if n_frames < 200:
        times, frames = decoded(info)
        np.testing.assert_array_equal(times, info.pts_s)
        assert frames.shape[1:] == (size[1], size[0], 3)


@pytest.mark.parametrize("n_threads", [1, 4])
def test_frames_equal_the_reference_decoder(shared_data, n_threads):
    """Bit for bit: frames by their number, and those that a reference decoder seeks to by time (the next one)."""
    import torch

    info = probe_film(shared_data / "videos" / "torchcodec_nasa_13013.mp4")
    wanted = {}
    for path in (shared_data / "videos_ref_frames").glob("nasa_13013.mp4.*.pt"):
        kind, number = re.search(r"(frame|time)([\d.]+)\.pt$", path.name).groups()
        index = int(number) if kind == "frame" else int(np.searchsorted(info.pts_s, float(number) - 1e-6))
        wanted.setdefault(index, []).append(torch.load(path, weights_only=True).numpy())
    assert sorted(wanted) == [0, 10, 180, 389] and len(wanted[389]) == 2
    for index, (_, frame) in enumerate(iterate_frames(info, n_threads=n_threads)):
        for reference in wanted.get(index, []):
            np.testing.assert_array_equal(frame, reference)


def test_the_rotated_film_is_the_plain_one_turned(shared_data):
    plain = probe_film(shared_data / "videos" / "torchcodec_nasa_13013.mp4")
    turned = probe_film(shared_data / "videos" / "torchcodec_nasa_13013_rotated.mp4")
    assert turned.rotation_deg == 90
    first = next(frame for _, frame in iterate_frames(plain)).astype(float)
    same = next(frame for _, frame in iterate_frames(turned)).astype(float)
    # Coded again, so not equal; a wrong sense of rotation correlates with nothing.
    assert np.corrcoef(np.rot90(first, 1).ravel(), same.ravel())[0, 1] > 0.9
