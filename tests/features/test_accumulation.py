"""Windows over a stream of frames: which frames are in which window, in what order, and what is held."""

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_network import Tiny

from cinebold.features.bins import BinAverage
from cinebold.features.feature_files import write_features
from cinebold.features.network import Windows
from cinebold.features.rows import PartialRows
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import WindowRule, frames_shown_at


def info_of(pts_s: np.ndarray, duration_s: float) -> FilmInfo:
    return FilmInfo("a.mp4", 8, 8, 0, pts_s, duration_s, 25.0)


class Numbering(Tiny):
    """Its values are the numbers of the frames of each window, -1 for a blank."""

    def __init__(self, rule, blank_outside):
        super().__init__()
        self.rule, self.blank_outside = rule, blank_outside
        self.batches = []

    def _build(self):
        return "nothing"

    def windows(self, info):
        samples_s = self.rule.sample_times(info.duration_s)
        blank = (samples_s < 0) | (samples_s >= info.duration_s) if self.blank_outside else None
        times_s = self.rule.times(info.duration_s)
        return Windows(times_s, samples_s, np.zeros(len(samples_s)), blank=blank)

    def prepare(self, frame):
        import torch

        return torch.tensor(float(frame))

    def values(self, clips):
        self.batches.append(len(clips))
        return np.array([[float(frame) for frame in clip] for clip in clips], np.float32)

    def column_names(self):
        return tuple(f"frame {index}" for index in range(self.rule.n_samples))


@given(
    gaps_ms=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    span_s=st.floats(0.05, 3),
    hop_s=st.floats(0.05, 2),
    n_samples=st.integers(1, 7),
    align=st.sampled_from(["centre", "end", "start", "frame"]),
    blank=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_windows_hold_the_frames_on_display(gaps_ms, span_s, hop_s, n_samples, align, blank):
    pts_s = np.cumsum(gaps_ms) / 1000
    duration_s = pts_s[-1] + 0.1
    extractor = Numbering(WindowRule(span_s, hop_s, n_samples, align), blank)
    accumulator = extractor.start(info_of(pts_s, duration_s))
    for number, time_s in enumerate(pts_s, start=1):
        accumulator.add(float(time_s), np.array(number))
    series = accumulator.finish()
    samples_s = extractor.rule.sample_times(duration_s)
    expected = frames_shown_at(pts_s, samples_s) + 1
    if blank:
        expected[(samples_s < 0) | (samples_s >= duration_s)] = 0
    # Samples within rounding of a frame's own time may be of either side in the two ways of counting.
    near = np.abs(samples_s[..., None] - pts_s).min(axis=-1) < 2e-6
    np.testing.assert_array_equal(series.values[~near], expected[~near])
    assert all(size == 4 for size in extractor.batches[:-1])


@given(
    pieces_ms=st.lists(st.integers(0, 700), min_size=1, max_size=30),
    hop_s=st.floats(0.05, 1.5),
    breaks=st.sets(st.integers(0, 29)),
)
@settings(max_examples=60, deadline=None)
def test_bins_are_means_over_time_wherever_they_were_left_and_taken_up(pieces_ms, hop_s, breaks):
    edges_s = np.cumsum([0, *pieces_ms, 50]) / 1000
    values = np.random.default_rng(0).standard_normal((len(edges_s) - 1, 2))
    bins, means = BinAverage(hop_s, edges_s[-1], 2), []
    for index, row in enumerate(values):
        bins.add(edges_s[index], edges_s[index + 1], row)
        if index in breaks:
            means.append(bins.closed())
            state, bins = bins.state(), BinAverage(hop_s, edges_s[-1], 2)
            bins.restore(state)
    means.append(bins.means())
    lower = np.arange(len(bins.times_s))[:, None] * hop_s
    shares_s = np.minimum(edges_s[1:], lower + hop_s) - np.maximum(edges_s[:-1], lower)
    shares_s = np.clip(shares_s, 0, None)
    expected = shares_s @ values / shares_s.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.concatenate(means), expected, rtol=1e-5, atol=1e-5)


class Wide(Numbering):
    """A megabyte a batch."""

    def prepare(self, frame):
        import torch

        return torch.zeros(1)

    def values(self, clips):
        return np.full((len(clips), 2**16), 1.0, np.float32)

    def column_names(self):
        return tuple(map(str, range(2**16)))


def test_a_film_of_any_length_takes_the_same_memory(tmp_path):
    """240 windows of 256 kB are 60 MB; what is held is a few batches and one chunk of the file."""
    pts_s = np.arange(240) * 1.0
    extractor = Wide(WindowRule(1.0, 1.0, 1), blank_outside=False)
    rows = PartialRows(tmp_path / "a.h5", "key")
    tracemalloc.start()
    try:
        accumulator = extractor.start(info_of(pts_s, 240.0))
        accumulator.keep_in(rows)
        for time_s in pts_s:
            accumulator.add(time_s, np.zeros(1))
        write_features(tmp_path / "a.h5", accumulator.finish())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.h5").stat().st_size > 60e6
    assert peak < 25e6
