"""Motion energy against pymoten, which filters one channel after the other over the whole film."""

import numpy as np
import pytest
from PIL import Image

from cinebold.errors import SettingError
from cinebold.features import motion_energy
from cinebold.features.extraction import extract_features
from cinebold.features.luminance import lightness
from cinebold.features.motion_filters import build_filter_bank
from cinebold.features.motion_responses import MotionResponses
from cinebold.features.registry import create_extractor
from cinebold.video.decoding import iterate_frames, probe_film
from cinebold.video.windows import frames_shown_at

SMALL = {
    "height": 18,
    "width": 32,
    "spatial_frequencies": [0, 2, 4],
    "temporal_frequencies": [0, 2, 4],
    "directions": [0, 90, 180, 270],
}


def pymoten_responses(pictures, parameters):
    from moten.pyramids import MotionEnergyPyramid

    pyramid = MotionEnergyPyramid(
        stimulus_vhsize=(parameters.height, parameters.width),
        stimulus_fps=parameters.rate_hz,
        temporal_frequencies=list(parameters.temporal_frequencies),
        spatial_frequencies=list(parameters.spatial_frequencies),
        spatial_directions=list(parameters.directions),
        filter_spacing=parameters.filter_spacing,
    )
    return pyramid.project_stimulus(pictures.reshape(len(pictures), -1)), pyramid


@pytest.mark.parametrize("rate_hz", [15, 10])  # 10 and 6 taps
@pytest.mark.parametrize("blocks", [[40], [1] * 40, [7, 1, 20, 12]])
def test_blocks_join_to_what_pymoten_makes_of_the_whole_film(rate_hz, blocks):
    parameters = create_extractor("motion_energy", {**SMALL, "rate_hz": rate_hz}).parameters
    pictures = np.random.default_rng(0).random((40, 18 * 32)) * 100
    reference, pyramid = pymoten_responses(pictures, parameters)
    bank = build_filter_bank(parameters)
    stream = MotionResponses(bank)
    parts = [stream.add(part) for part in np.split(pictures, np.cumsum(blocks)[:-1])]
    responses = np.concatenate([*parts, stream.finish()])
    assert responses.shape == reference.shape == (40, len(pyramid.filters))
    np.testing.assert_allclose(responses, reference, atol=1e-5)  # pymoten rounds to float32


def pinned_responses(parameters, pictures, blocks, n_threads):
    from threadpoolctl import threadpool_limits

    with threadpool_limits(n_threads, user_api="blas"):
        stream = MotionResponses(build_filter_bank(parameters))
        parts = [stream.add(part) for part in np.split(pictures, np.cumsum(blocks)[:-1])]
        return np.concatenate([*parts, stream.finish()]).tobytes()


def test_neither_blocks_nor_threads_change_a_byte():
    parameters = create_extractor("motion_energy", {**SMALL, "rate_hz": 10}).parameters
    pictures = np.random.default_rng(0).random((300, 18 * 32)) * 100
    whole = pinned_responses(parameters, pictures, [300], 1)
    for blocks, n_threads in (([300], 2), ([300], 3), ([1, 31, 33, 64, 171], 1), ([7] * 42 + [6], 2)):
        assert pinned_responses(parameters, pictures, blocks, n_threads) == whole


@pytest.mark.parametrize("n_ticks", [1, 3, 27, 28, 31, 32, 33, 96])
def test_films_shorter_and_longer_than_a_tile(n_ticks):
    parameters = create_extractor("motion_energy", SMALL).parameters
    pictures = np.random.default_rng(n_ticks).random((n_ticks, 18 * 32)) * 100
    stream = MotionResponses(build_filter_bank(parameters))
    responses = np.concatenate([stream.add(pictures), stream.finish()])
    slow = slow_responses(pictures, parameters)
    np.testing.assert_allclose(responses, slow, atol=1e-9)


def slow_responses(pictures, parameters):
    """Every channel by its own filter, drawn by pymoten, tap by tap."""
    from moten.core import mk_3d_gabor
    from moten.pyramids import MotionEnergyPyramid

    size = (parameters.height, parameters.width)
    pyramid = MotionEnergyPyramid(
        size,
        parameters.rate_hz,
        list(parameters.temporal_frequencies),
        list(parameters.spatial_frequencies),
        list(parameters.directions),
        filter_spacing=parameters.filter_spacing,
    )
    columns = []
    for channel in pyramid.filters:
        sine, cosine, fast_sine, fast_cosine = mk_3d_gabor(size, **channel)
        inside = np.abs(sine) + np.abs(cosine) > 0.001
        projected = pictures @ ((cosine + 1j * sine) * inside).ravel()
        taps = fast_cosine + 1j * fast_sine
        ahead = -(-len(taps) // 2) - 1
        column = np.convolve(projected, taps)[ahead : ahead + len(pictures)]
        columns.append(np.log(np.abs(column) + 1e-5))
    return np.array(columns).T


def test_filters_on_a_device_are_those_of_the_cpu():
    bank = build_filter_bank(create_extractor("motion_energy", SMALL).parameters)
    pictures = np.random.default_rng(0).random((150, 18 * 32)) * 100
    streams = [MotionResponses(bank), MotionResponses(bank, "cpu:0")]  # torch, on the CPU
    assert type(streams[0]._filters) is not type(streams[1]._filters)
    here, there = (np.concatenate([stream.add(pictures), stream.finish()]) for stream in streams)
    np.testing.assert_allclose(there, here, atol=1e-8)


def test_the_static_and_the_dark_are_no_edge_cases():
    """A black film has no energy in any channel; one that stands still the same at all ticks within."""
    parameters = create_extractor("motion_energy", SMALL).parameters
    for level in (0.0, 50.0):
        stream = MotionResponses(build_filter_bank(parameters))
        pictures = np.full((60, 18 * 32), level)
        responses = np.concatenate([stream.add(pictures), stream.finish()])
        np.testing.assert_allclose(responses, slow_responses(pictures, parameters), atol=1e-6)
        if level == 0:
            assert (responses == np.log(1e-5)).all()
        np.testing.assert_array_equal(responses[20], responses[30])


def test_default_pyramid_equals_pymoten_and_is_one():
    parameters = create_extractor("motion_energy").parameters
    pictures = np.random.default_rng(1).random((12, 54 * 96)) * 100
    reference, pyramid = pymoten_responses(pictures, parameters)
    bank = build_filter_bank(parameters)
    stream = MotionResponses(bank)
    responses = np.concatenate([stream.add(pictures), stream.finish()])
    np.testing.assert_allclose(responses, reference, atol=1e-5)
    assert 500 <= len(bank.names) <= 1000
    assert len(set(bank.names)) == len(bank.names)
    # Where pymoten says 225 degrees: the direction in which its filter is drawn, not the one that drives it.
    place = bank.names.index("motion dir-045 sf-2.0 tf-4.0 x-0.50 y-0.50")
    channel = pyramid.filters[place]
    assert (channel["direction"], channel["spatial_freq"], channel["temporal_freq"]) == (225, 2, 4)


def test_a_film_from_its_file(moving_film, monkeypatch):
    """All the way: decoding, the clock, small pictures, CIE L*, the pyramid, the bins; blocks shorter than the film."""
    from moten.colorspace import rgb2lab

    monkeypatch.setattr(motion_energy, "BLOCK", 7)
    extractor = create_extractor("motion_energy", {**SMALL, "hop_s": 0.4})
    series = extract_features(moving_film, {"a": extractor})["a"]

    info = probe_film(moving_film)
    frames = [frame for _, frame in iterate_frames(info)]
    ticks_s = (np.arange(36) + 0.5) / 15
    pictures = []
    for index in frames_shown_at(info.pts_s, ticks_s):
        small = Image.fromarray(frames[index]).resize((32, 18), Image.Resampling.BOX)
        pictures.append(rgb2lab(np.asarray(small) / 255.0)[..., 0])
    reference, _ = pymoten_responses(np.array(pictures), extractor.parameters)
    expected = reference.reshape(6, 6, -1).mean(axis=1)  # 6 ticks in 0.4 s
    np.testing.assert_allclose(series.values, expected, atol=1e-4)
    np.testing.assert_allclose(series.times_s, 0.2 + 0.4 * np.arange(6))
    assert series.pad_fraction.tolist() == [0] * 6


def test_films_of_any_size_have_the_same_columns(film):
    extractor = create_extractor("motion_energy", SMALL)
    grey = np.random.default_rng(0).integers(0, 255, (5, 64, 48, 3), dtype=np.uint8)
    tall = extract_features(film("a.mkv", grey), {"a": extractor})["a"]
    wide = extract_features(film("b.mkv", grey.transpose(0, 2, 1, 3)), {"a": extractor})["a"]
    assert tall.names == wide.names
    assert np.isfinite(tall.values).all()


@pytest.mark.parametrize(
    ("direction", "step"), [("000", (1, 0)), ("090", (0, -1)), ("180", (-1, 0)), ("270", (0, 1))]
)
def test_a_name_tells_the_direction_that_drives_its_channel(film, direction, step):
    """A grating that drifts at 2 Hz: to the right (0 degrees), up (90; rows count downwards), to the left, down."""
    y, x = np.mgrid[:54, :96] / 54  # in picture heights
    t = np.arange(60)[:, None, None] / 30
    wave = 127 + 100 * np.sin(2 * np.pi * (2 * (x * step[0] + y * step[1]) - 2 * t))
    frames = wave[..., None].repeat(3, axis=3).astype(np.uint8)
    extractor = create_extractor("motion_energy", {"hop_s": 2.0})
    series = extract_features(film("a.mkv", frames, fps=30), {"a": extractor})["a"]
    channels = {d: f"motion dir-{d} sf-2.0 tf-2.0 x-0.50 y-0.50" for d in ("000", "090", "180", "270")}
    responses = {d: series.values[0, series.names.index(name)] for d, name in channels.items()}
    strongest = max(responses, key=responses.get)
    assert strongest == direction
    assert responses[strongest] > 1 + max(value for d, value in responses.items() if d != strongest)


def test_lightness_is_that_of_pymoten():
    from moten.colorspace import rgb2lab

    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_allclose(lightness(frame), rgb2lab(frame / 255.0)[..., 0], atol=1e-9)


@pytest.mark.parametrize(
    "bad",
    [
        {"temporal_frequencies": [9]},
        {"spatial_frequencies": [0]},
        {"rate_hz": 12.5},
        {"directions": []},
        {"height": 2},
        {"letterbox": 1},
    ],
)
def test_parameters_that_make_no_sense(bad):
    with pytest.raises(SettingError, match="motion_energy"):
        create_extractor("motion_energy", bad)
