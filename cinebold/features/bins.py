"""Averages over equal bins of film time, weighted by how long each value lasts."""

import struct

import numpy as np

from cinebold.video.windows import WindowRule

_COUNTS = struct.Struct("<QQ")


class BinAverage:
    """Means of piecewise constant signals over bins of `hop_s` seconds, as the pieces stream by.

    A piece that crosses the edge of a bin counts in each by its share, so films of a variable or a low frame
    rate are averaged by what was on the screen, not by how many frames there were. Pieces come in the order of their
    beginnings; float64 sums are kept of the bins that the next one can still change.
    """

    def __init__(self, hop_s: float, duration_s: float, n_columns: int) -> None:
        self.rule = WindowRule(span_s=hop_s, hop_s=hop_s, n_samples=1)
        self.times_s = self.rule.times(duration_s)
        self.pad_fraction = bin_pad_fraction(hop_s, self.times_s, duration_s)
        self._hop_s = hop_s
        self._n_columns = n_columns
        self._n_closed = 0
        self._sums: list[np.ndarray] = []  # of the bins from the first open one on
        self._weights: list[float] = []
        self._means: list[np.ndarray] = []

    def add(self, begin_s: float, end_s: float, values: np.ndarray) -> None:
        """A piece that has `values` (n_columns,) from `begin_s` to `end_s`."""
        n_bins = len(self.times_s)
        first = max(0, int(begin_s // self._hop_s))
        last = min(n_bins - 1, int(end_s // self._hop_s))
        self._close(min(first, n_bins))
        for index in range(first, last + 1):
            overlap_s = min(end_s, (index + 1) * self._hop_s) - max(begin_s, index * self._hop_s)
            if overlap_s > 0:
                self._open(index + 1)
                self._sums[index - self._n_closed] += overlap_s * values
                self._weights[index - self._n_closed] += overlap_s

    def closed(self) -> np.ndarray:
        """(n, n_columns) float32: the means of the bins that were closed since the last call."""
        means, self._means = self._means, []
        return np.stack(means) if means else np.zeros((0, self._n_columns), np.float32)

    def means(self) -> np.ndarray:
        """The same with all open bins closed: (n_bins, n_columns) where `closed` was never called."""
        self._close(len(self.times_s))
        return self.closed()

    def state(self) -> bytes:
        """What `restore` needs to go on after the bins that were closed."""
        sums = np.array(self._sums).tobytes()
        return _COUNTS.pack(self._n_closed, len(self._sums)) + np.array(self._weights).tobytes() + sums

    def restore(self, state: bytes) -> None:
        """Go on where another with the same bins was."""
        self._n_closed, n_open = _COUNTS.unpack_from(state)
        numbers = np.frombuffer(state, dtype=np.float64, offset=_COUNTS.size)
        self._weights = numbers[:n_open].tolist()
        self._sums = list(numbers[n_open:].reshape(n_open, self._n_columns).copy())

    def _open(self, n_bins: int) -> None:
        while self._n_closed + len(self._sums) < n_bins:
            self._sums.append(np.zeros(self._n_columns))
            self._weights.append(0.0)

    def _close(self, n_bins: int) -> None:
        """Average the bins before the `n_bins`-th."""
        self._open(n_bins)
        n = max(0, n_bins - self._n_closed)
        for total, weight in zip(self._sums[:n], self._weights[:n], strict=True):
            self._means.append((total / np.float64(weight)).astype(np.float32))
        del self._sums[:n], self._weights[:n]
        self._n_closed += n


def bin_pad_fraction(hop_s: float, times_s: np.ndarray, duration_s: float) -> np.ndarray:
    """(n_bins,) float32: the share of each bin that lies after the end of the film."""
    inside_s = np.clip(duration_s - (times_s - hop_s / 2), 0, hop_s)
    return np.round(1 - inside_s / hop_s, 9).astype(np.float32)
