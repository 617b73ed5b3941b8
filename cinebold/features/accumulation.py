"""Frames stream through; the windows that they complete go through a network, batch by batch."""

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from cinebold.features.bins import BinAverage
from cinebold.features.rows import Rows, RowsInMemory
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import TIME_TOLERANCE_S

if TYPE_CHECKING:
    import torch

    from cinebold.features.network import NetworkExtractor
    from cinebold.features.reduction import WrappedNetwork


class WindowAccumulator:
    """Holds the prepared frames of the windows that are not yet complete, and one batch of windows.

    Windows are completed in their order, whenever the frames of their last samples were shown. Batches are counted from
    the first window, also where the first ones were computed by another process (`keep_in`): so the same windows
    meet in a batch.
    """

    def __init__(self, extractor: "NetworkExtractor | WrappedNetwork", info: FilmInfo) -> None:
        self._extractor, self._info = extractor, info
        self._windows = extractor.windows(info)
        # No window from this one on begins before this time.
        self._earliest_s = np.minimum.accumulate(self._windows.samples_s[::-1, 0])[::-1]
        self._unfinished: deque[list[torch.Tensor]] = deque()  # frames in the order of their sample times
        self._complete: list[list[torch.Tensor]] = []
        self._n_complete = self._n_computed = 0
        self._batch_size = extractor.batch[extractor.device.split(":")[0]]
        self._last_frame: np.ndarray | None = None
        self._blank: torch.Tensor | None = None
        self._names = extractor.column_names()
        self._rows: Rows = RowsInMemory()
        self._bins = None
        if self._windows.bin_s is not None:
            self._bins = BinAverage(self._windows.bin_s, info.duration_s, len(self._names))

    def keep_in(self, rows: Rows) -> None:
        """Hand finished rows over to `rows`, before the first frame; windows that it has are not computed again."""
        import torch

        device = self._extractor.device.split(":")[0]
        rows.begin(
            self._names, {"device": device, "batch": self._batch_size, "torch": str(torch.__version__)}
        )
        self._rows = rows
        self._n_complete = self._n_computed = rows.n_done
        if self._bins is not None and rows.n_done:
            self._bins.restore(rows.state)

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame."""
        self._take(time_s - TIME_TOLERANCE_S)
        self._last_frame = frame

    def finish(self) -> FeatureSeries:
        """The features of the film."""
        self._take(np.inf)
        self._forward()
        bins = self._bins
        if bins is not None:
            self._rows.append(bins.means(), self._n_computed, bins.state())
        return FeatureSeries(
            values=self._rows.values(),
            times_s=self._windows.times_s if bins is None else bins.times_s,
            names=self._names,
            pad_fraction=(self._windows if bins is None else bins).pad_fraction.astype(np.float32),
            film_duration_s=self._info.duration_s,
            provenance=self._extractor.fingerprint(),
        )

    def _take(self, until_s: float) -> None:
        """The last frame was on display until then; the first one also stands for what is before it."""
        if self._last_frame is None:
            return
        import torch

        begin, end = self._n_complete, int(np.searchsorted(self._earliest_s, until_s))
        counts = (self._windows.samples_s[begin:end] < until_s).sum(axis=1)
        while len(self._unfinished) < len(counts):
            self._unfinished.append([])
        prepared, blank = None, self._windows.blank
        for window, (count, clip) in enumerate(zip(counts, self._unfinished, strict=False), start=begin):
            for position in range(len(clip), count):
                if prepared is None:
                    prepared = self._extractor.prepare(self._last_frame)
                if blank is not None and blank[window, position]:
                    if self._blank is None:
                        self._blank = torch.zeros_like(prepared)
                    clip.append(self._blank)
                else:
                    clip.append(prepared)
        n_frames = self._windows.samples_s.shape[1]
        while self._unfinished and len(self._unfinished[0]) == n_frames:
            self._complete.append(self._unfinished.popleft())
            self._n_complete += 1
            if len(self._complete) == self._batch_size:
                self._forward()

    def _forward(self) -> None:
        """Send the complete windows through the network."""
        if not self._complete:
            return
        values = self._extractor.values(self._complete)
        first, self._n_computed = self._n_computed, self._n_computed + len(self._complete)
        self._complete = []
        if self._bins is None:
            self._rows.append(values, self._n_computed)
            return
        # Each window stands for the time from half way to the one before until half way to the next.
        times_s = self._windows.times_s
        period_s = times_s[1] - times_s[0] if len(times_s) > 1 else self._info.duration_s
        for window, row in enumerate(values, start=first):
            begin_s = window * period_s
            self._bins.add(begin_s, begin_s + period_s, row)
        self._rows.append(self._bins.closed(), self._n_computed, self._bins.state())
