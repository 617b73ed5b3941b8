"""Films that were cut off or overwritten: what is whole is read, what is not is told; made here."""

import warnings

import numpy as np
import pytest

from cinebold.errors import InputError
from cinebold.video.decoding import iterate_frames, probe_film


def decoded(path, **options):
    info = probe_film(path)
    pairs = list(iterate_frames(info, **options))
    return info, np.array([time for time, _ in pairs]), np.array([frame for _, frame in pairs])


def test_avi_whose_tail_is_garbage(encode, noise):
    path = encode("a.avi", noise, "mpeg4")
    content = path.read_bytes()
    kept = len(content) * 2 // 3
    path.write_bytes(content[:kept] + np.random.default_rng(1).bytes(len(content) - kept))
    info, times, _ = decoded(path)
    assert 2 < info.duration_s < 3 and times[-1] < 3
    assert f"data end at {info.duration_s:.2f} s" in info.warnings[0]


def test_a_codec_that_nobody_knows_is_refused(film, grey_levels):
    path = film("a.mkv", grey_levels(5), list(range(0, 200, 40)))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    with pytest.raises(InputError, match=r"a\.mkv: expected a film, but no decoder here knows"):
        probe_film(path)


def test_a_film_whose_index_is_lost_is_refused(encode, noise):
    path = encode("a.mp4", noise)  # the index of an MP4 stands at its end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a\.mp4: expected a film, but the file cannot be opened"):
        probe_film(path)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_a_download_that_broke_off_is_read_as_far_as_it_goes(encode, noise, n_threads):
    path = encode("a.mp4", noise, g="10", muxer={"movflags": "faststart"})  # the index at the beginning
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    info = probe_film(path)
    assert f"announces 4.00 s but its data end at {info.duration_s:.2f} s" in info.warnings[0]
    with pytest.warns(UserWarning, match=r"1 damaged packet was skipped, the first at 2\.\d\d s"):
        times = [time for time, _ in iterate_frames(info, n_threads=n_threads)]
    assert 2.4 < times[-1] < info.duration_s < 2.8


@pytest.mark.parametrize("where", ["tail", "middle"])
def test_threads_change_no_frame_of_a_damaged_film(encode, noise, where):
    path = encode("a.mp4", noise, g="10", muxer={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    begin, end = {"tail": (0.66, 1.0), "middle": (0.4, 0.5)}[where]
    begin, end = int(len(content) * begin), int(len(content) * end)
    content[begin:end] = np.random.default_rng(1).bytes(end - begin)
    path.write_bytes(content)
    told, seen = [], []
    for n_threads in (1, 2, 4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, times, frames = decoded(path, n_threads=n_threads)
        told.append([str(warning.message) for warning in caught])
        seen.append((times.tobytes(), frames.tobytes()))
    assert seen[0] == seen[1] == seen[2]
    assert told[0] == told[1] == told[2] and len(told[0]) == 1
    if where == "tail":
        assert "decoding ends at 2.6" in told[0][0] and "of 4.00 s" in told[0][0]
    else:
        assert "damaged packets were skipped" in told[0][0]
        assert times[-1] == pytest.approx(3.96, abs=1e-6)


def test_a_recording_that_begins_between_key_frames_tells_where_its_pictures_begin(encode, grey_levels):
    path = encode("a.ts", grey_levels(40), g="15", crf="5")
    path.write_bytes(path.read_bytes()[188 * 20 :])  # whole packets of the transport stream
    info = probe_film(path)
    with pytest.warns(
        UserWarning, match=r"decoding begins at 0\.\d\d s, as the film is cut off at its start"
    ):
        pairs = list(iterate_frames(info))
    times, frames = np.array([time for time, _ in pairs]), np.array([frame for _, frame in pairs])
    assert len(times) == 25 and set(times) <= set(info.pts_s)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 10 + 5 * np.arange(15, 40), atol=3)
