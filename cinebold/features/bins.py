"""Averages over equal bins of film time, weighted by how long each value lasts."""

import numpy as np

from cinebold.video.windows import WindowRule


class BinAverage:
    """Means of piecewise constant signals over bins of `hop_s` seconds, as the pieces stream by.

    A piece that crosses the edge of a bin counts in each by its share, so films of a variable or a low frame
    rate are averaged by what was on the screen, not by how many frames there were. Bins: (n_bins, n_columns),
    float64 inside.
    """

    def __init__(self, hop_s: float, duration_s: float, n_columns: int) -> None:
        self.rule = WindowRule(span_s=hop_s, hop_s=hop_s, n_samples=1)
        self.times_s = self.rule.times(duration_s)
        self.pad_fraction = bin_pad_fraction(hop_s, self.times_s, duration_s)
        self._hop_s = hop_s
        self._sums = np.zeros((len(self.times_s), n_columns))
        self._weights = np.zeros(len(self.times_s))

    def add(self, begin_s: float, end_s: float, values: np.ndarray) -> None:
        """A piece that has `values` (n_columns,) from `begin_s` to `end_s`."""
        n_bins = len(self._weights)
        first = max(0, int(begin_s // self._hop_s))
        last = min(n_bins - 1, int(end_s // self._hop_s))
        for index in range(first, last + 1):
            overlap_s = min(end_s, (index + 1) * self._hop_s) - max(begin_s, index * self._hop_s)
            if overlap_s > 0:
                self._sums[index] += overlap_s * values
                self._weights[index] += overlap_s

    def means(self) -> np.ndarray:
        """(n_bins, n_columns) float32."""
        return (self._sums / self._weights[:, None]).astype(np.float32)


def bin_pad_fraction(hop_s: float, times_s: np.ndarray, duration_s: float) -> np.ndarray:
    """(n_bins,) float32: the share of each bin that lies after the end of the film."""
    inside_s = np.clip(duration_s - (times_s - hop_s / 2), 0, hop_s)
    return np.round(1 - inside_s / hop_s, 9).astype(np.float32)
