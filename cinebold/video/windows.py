"""Windows of film time: where the frames around each reference time are sampled."""

from dataclasses import dataclass

import numpy as np

from cinebold.errors import SettingError

#: Sample times are sums of fractions of a second and may fall a rounding error before the frame they mean.
TIME_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class WindowRule:
    """How a film is cut into windows: every `hop_s` a reference time with `n_samples` sample times around it.

    The k-th of n samples of the window at t, with dt = span_s / n, is taken at

        centre: t + (k - (n - 1) / 2) dt        end (causal): t + (k - (n - 1)) dt        start: t + k dt
        frame: t + (k - floor(n / 2)) dt, so that one sample is at t and of an even n one more is before it

    >>> WindowRule(span_s=2.0, hop_s=1.0, n_samples=2).sample_times(2.5).tolist()
    [[0.0, 1.0], [1.0, 2.0]]
    """

    span_s: float
    hop_s: float
    n_samples: int
    align: str = "centre"  #: "centre", "end", "start" or "frame"

    def __post_init__(self) -> None:
        if not (0 < self.span_s < np.inf and 0 < self.hop_s < np.inf and self.n_samples >= 1):
            raise SettingError(
                "A window needs a positive span, hop and number of samples; "
                f"found {self.span_s} s, {self.hop_s} s and {self.n_samples}."
            )
        if self.align not in _ORIGINS:
            raise SettingError(f"A window is aligned at its {', '.join(_ORIGINS)}; found {self.align!r}.")

    def times(self, duration_s: float) -> np.ndarray:
        """Reference times hop/2, 3 hop/2, ... before `duration_s`; (n_windows,), at least one."""
        n_windows = max(1, int(np.ceil((duration_s - TIME_TOLERANCE_S) / self.hop_s - 0.5)))
        return (np.arange(n_windows) + 0.5) * self.hop_s

    def sample_times(self, duration_s: float) -> np.ndarray:
        """(n_windows, n_samples) film times; those outside the film mean its first or last frame."""
        step_s = self.span_s / self.n_samples
        offsets_s = (np.arange(self.n_samples) - _ORIGINS[self.align](self.n_samples)) * step_s
        return self.times(duration_s)[:, None] + offsets_s

    def pad_fraction(self, duration_s: float) -> np.ndarray:
        """(n_windows,) share of each window's samples that lie outside the film."""
        samples_s = self.sample_times(duration_s)
        outside = (samples_s < -TIME_TOLERANCE_S) | (samples_s >= duration_s - TIME_TOLERANCE_S)
        return outside.mean(axis=1)


#: Which sample, of n, is at the reference time.
_ORIGINS = {
    "centre": lambda n: 0.5 * (n - 1),
    "end": lambda n: 1.0 * (n - 1),
    "start": lambda n: 0.0,
    "frame": lambda n: n // 2,
}


def evenly_spaced_frames(n_frames: int, n_samples: int) -> np.ndarray:
    """Indices of `n_samples` frames over a whole film, the first and the last included; truncated, not rounded.

    A film of fewer frames is used whole, and its last frame is repeated.

    >>> evenly_spaced_frames(10, 4).tolist(), evenly_spaced_frames(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 1, 1])
    """
    if n_frames < n_samples:
        return np.minimum(np.arange(n_samples), n_frames - 1)
    return np.linspace(0, n_frames - 1, n_samples).astype(int)


def frames_shown_at(pts_s: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Index of the frame on display at each time: the last that is not later; clipped at both ends.

    >>> frames_shown_at(np.array([0.0, 0.1, 0.4]), np.array([-1.0, 0.1, 0.39, 9.0])).tolist()
    [0, 1, 1, 2]
    """
    last = np.searchsorted(pts_s, np.asarray(times_s) + TIME_TOLERANCE_S, side="right") - 1
    return np.clip(last, 0, len(pts_s) - 1)


class ShownFrames:
    """The same while frames stream by: which of the sorted `times_s` fall on the display of which frame.

    `add` tells of a new frame and returns the slice of the times at which the frame before it was on display;
    `finish` returns the rest, which belongs to the last frame.
    """

    def __init__(self, times_s: np.ndarray) -> None:
        self._times_s = times_s
        self._n_seen = 0
        self._begun = False

    def add(self, time_s: float) -> slice:
        """The times before `time_s`; none for the first frame, which also stands for what is before it."""
        begin = self._n_seen
        if self._begun:
            self._n_seen = max(
                begin, int(np.searchsorted(self._times_s, time_s - TIME_TOLERANCE_S, side="left"))
            )
        self._begun = True
        return slice(begin, self._n_seen)

    def finish(self) -> slice:
        """The times from the last frame's on."""
        begin, self._n_seen = self._n_seen, len(self._times_s)
        return slice(begin, self._n_seen)
