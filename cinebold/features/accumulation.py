"""Frames stream through; the windows that they complete go through a network, batch by batch."""

from typing import TYPE_CHECKING

import numpy as np

from cinebold.features.bins import BinAverage
from cinebold.features.series import FeatureSeries
from cinebold.video.decoding import FilmInfo
from cinebold.video.windows import ShownFrames

if TYPE_CHECKING:
    import torch

    from cinebold.features.network import NetworkExtractor


class WindowAccumulator:
    """Holds the prepared frames of the windows that are not yet complete, and one batch of windows."""

    def __init__(self, extractor: "NetworkExtractor", info: FilmInfo) -> None:
        self._extractor, self._info = extractor, info
        self._windows = extractor.windows(info)
        samples_s = self._windows.samples_s
        self._n_frames = samples_s.shape[1]
        order = np.argsort(samples_s, axis=None, kind="stable")
        self._window_of, self._position_of = np.divmod(order, self._n_frames)
        self._samples = ShownFrames(samples_s.ravel()[order])
        self._clips: dict[int, list[torch.Tensor]] = {}  # window -> frames in the order of its sample times
        self._complete: list[list[torch.Tensor]] = []
        self._batch_size = extractor.batch[extractor.device.split(":")[0]]
        self._last_frame: np.ndarray | None = None
        self._blank: torch.Tensor | None = None
        self._names = extractor.column_names()
        self._outputs: list[np.ndarray] = []
        self._bins = None
        if self._windows.bin_s is not None:
            self._bins = BinAverage(self._windows.bin_s, info.duration_s, len(self._names))
        self._n_averaged = 0

    def add(self, time_s: float, frame: np.ndarray) -> None:
        """The next frame."""
        self._take(self._samples.add(time_s))
        self._last_frame = frame

    def finish(self) -> FeatureSeries:
        """The features of the film."""
        self._take(self._samples.finish())
        self._forward()
        bins = self._bins
        return FeatureSeries(
            values=np.concatenate(self._outputs) if bins is None else bins.means(),
            times_s=self._windows.times_s if bins is None else bins.times_s,
            names=self._names,
            pad_fraction=(self._windows if bins is None else bins).pad_fraction.astype(np.float32),
            film_duration_s=self._info.duration_s,
            provenance=self._extractor.fingerprint(),
        )

    def _take(self, samples: slice) -> None:
        """The last frame was on display at these sample times; windows are completed in their order."""
        if samples.stop == samples.start or self._last_frame is None:
            return
        import torch

        prepared = self._extractor.prepare(self._last_frame)
        if self._blank is None:
            self._blank = torch.zeros_like(prepared)
        blank = self._windows.blank
        for window, position in zip(self._window_of[samples], self._position_of[samples], strict=True):
            clip = self._clips.setdefault(int(window), [])
            clip.append(prepared if blank is None or not blank[window, position] else self._blank)
            if len(clip) == self._n_frames:
                self._complete.append(self._clips.pop(int(window)))
                if len(self._complete) == self._batch_size:
                    self._forward()

    def _forward(self) -> None:
        """Send the complete windows through the network."""
        if not self._complete:
            return
        values = self._extractor.values(self._complete)
        self._complete = []
        if self._bins is None:
            self._outputs.append(values)
            return
        # Each window stands for the time from half way to the one before until half way to the next.
        times_s = self._windows.times_s
        period_s = times_s[1] - times_s[0] if len(times_s) > 1 else self._info.duration_s
        for row in values:
            begin_s = self._n_averaged * period_s
            self._bins.add(begin_s, begin_s + period_s, row)
            self._n_averaged += 1
