"""Procedural films: equal bytes, the duration asked for, and features that vary."""

import numpy as np
import pytest

from cinebold.simulate.films import make_film, procedural_frames, write_film
from cinebold.video.decoding import iterate_frames, probe_film


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    films = [
        make_film(tmp_path / f"{i}.mp4", 3.0, np.random.default_rng(seed)) for i, seed in enumerate((1, 1, 2))
    ]
    first, second, third = (film.read_bytes() for film in films)
    assert first == second
    assert first != third


@pytest.mark.parametrize("duration_s", [0.05, 5.0, 7.3])
def test_duration_is_the_one_asked_for_to_a_frame(tmp_path, duration_s):
    info = probe_film(
        make_film(tmp_path / "film.mp4", duration_s, np.random.default_rng(0), frame_shape=(48, 80))
    )
    assert info.pts_s[0] == 0
    assert info.duration_s == pytest.approx(max(1, round(duration_s * 12)) / 12, abs=1e-6)
    assert (info.height, info.width) == (48, 80)


def test_scenes_are_cut_and_none_is_too_short():
    frames = np.stack(
        list(procedural_frames(600, np.random.default_rng(0), 10, (24, 40), (2.0, 4.0)))
    ).astype(float)
    assert frames.shape == (600, 24, 40, 3)
    mean = frames.mean(axis=(1, 2, 3))
    # Flicker of a plain field changes the mean by 24 grey levels a frame at most.
    cuts = np.flatnonzero(np.abs(np.diff(mean)) > 30)
    assert len(cuts) >= 8
    assert np.diff(cuts).min() >= 20
    assert mean.std() > 15
    assert frames.std(axis=(1, 2, 3)).std() > 10


def test_decoded_frames_are_those_that_were_written(tmp_path):
    frames = [np.full((32, 48, 3), value, np.uint8) for value in (30, 90, 150, 210)]
    film = write_film(tmp_path / "steps.mp4", frames, 10, (32, 48))
    decoded = [(time_s, frame.mean()) for time_s, frame in iterate_frames(probe_film(film))]
    np.testing.assert_allclose([time_s for time_s, _ in decoded], [0, 0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose([mean for _, mean in decoded], [30, 90, 150, 210], atol=4)  # 8-bit video range
