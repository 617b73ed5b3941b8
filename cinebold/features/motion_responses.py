"""Responses of a bank of motion-energy filters to a film that streams by, in tiles of its ticks."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cinebold.features.motion_filters import FilterBank

#: pymoten's offset inside the logarithm
LOG_OFFSET = 1e-5
#: Ticks that go through the products together. All tiles have this size, counted from the film's first tick: so the
#: same numbers meet in the same products, and neither blocks nor threads change a bit of the answer.
TILE = 32


class MotionResponses:
    """Log energies of all channels, tick by tick, of a film that comes in blocks.

    With S and C the projections of the pictures onto a channel's spatial sine and cosine, and s and c its
    temporal pair of n taps, the quadrature pair at tick t is

        sum_d S[t - d'] c[d] + C[t - d'] s[d]    and    sum_d C[t - d'] c[d] - S[t - d'] s[d],    d' = d -
        ceil(n/2) + 1,

    with zeros outside the film. Float64: energies near 0 meet a logarithm. Tiles are spread over as many threads as
    the linear algebra library has.
    """

    def __init__(self, bank: FilterBank, device: str = "cpu") -> None:
        self._filters = _TileFilters(bank) if device == "cpu" else _TorchTileFilters(bank, device)
        self._n_pixels = bank.height * bank.width
        self._n_taps = bank.temporal_sine.shape[1]
        self._n_ahead = -(-self._n_taps // 2) - 1
        self._waiting = np.zeros((0, self._n_pixels))  # pictures of less than a tile
        self._kept = np.zeros((2 * bank.n_filters, self._n_taps - 1))
        self._n_skipped, self._n_added, self._n_given = self._n_ahead, 0, 0

    def add(self, pictures: np.ndarray) -> np.ndarray:
        """(n, n_pixels) pictures to the (m, n_channels) responses now known: those of earlier ticks."""
        self._n_added += len(pictures)
        known = np.concatenate([self._waiting, pictures]) if len(self._waiting) else pictures
        n_tiles = len(known) // TILE
        self._waiting = known[n_tiles * TILE :].copy()
        return self._respond(known[: n_tiles * TILE].reshape(n_tiles, TILE, self._n_pixels))

    def finish(self) -> np.ndarray:
        """The responses of the last ticks."""
        known, self._waiting = self._waiting, self._waiting[:0]
        n_left = self._n_added - self._n_given
        n_tiles = -(-(len(known) + self._n_ahead) // TILE)
        padded = np.zeros((n_tiles * TILE, self._n_pixels))
        padded[: len(known)] = known
        return self._respond(padded.reshape(n_tiles, TILE, self._n_pixels))[:n_left]

    def _respond(self, tiles: np.ndarray) -> np.ndarray:
        """Responses to (n_tiles, TILE, n_pixels); they are known `n_ahead` ticks later."""
        projections = _in_threads(self._filters.project, tiles)
        joined = []
        for projection in projections:
            joined.append(np.concatenate([self._kept, projection], axis=1))
            self._kept = joined[-1][:, TILE:]
        responses = _in_threads(self._filters.energies, joined)
        given = np.concatenate([np.zeros((0, self._filters.n_channels)), *responses])[self._n_skipped :]
        if responses:
            self._n_skipped = 0
            self._n_given += len(given)
        return given


def _in_threads(work: Callable[[np.ndarray], np.ndarray], tiles: Sequence[np.ndarray]) -> list[np.ndarray]:
    from cinebold.encoding.tiles import one_thread_products

    if not len(tiles):
        return []
    with one_thread_products() as n_threads, ThreadPoolExecutor(min(n_threads, len(tiles))) as threads:
        return list(threads.map(work, tiles))


class _TileFilters:
    """The two steps on the CPU: a small matrix product a patch, and one over time for all filters."""

    def __init__(self, bank: FilterBank) -> None:
        self._bank = bank
        self._temporal = temporal_operator(bank)
        self._chosen = chosen_energies(bank)
        self._stacked = [np.concatenate([patch.sine, patch.cosine]) for patch in bank.patches]
        self.n_channels = len(bank.names)

    def project(self, pictures: np.ndarray) -> np.ndarray:
        """(TILE, n_pixels) to (2 n_filters, TILE): on all sines, then on all cosines."""
        bank = self._bank
        by_pixel = np.ascontiguousarray(pictures.T).reshape(bank.height, bank.width, TILE)
        projections = np.empty((2, bank.n_filters, TILE))
        begin = 0
        for patch, filters in zip(bank.patches, self._stacked, strict=True):
            end = begin + len(patch.sine)
            under = by_pixel[patch.rows, patch.columns].reshape(-1, TILE)
            projections[:, begin:end] = (filters @ under).reshape(2, end - begin, TILE)
            begin = end
        return projections.reshape(-1, TILE)

    def energies(self, projections: np.ndarray) -> np.ndarray:
        """(2 n_filters, n_taps - 1 + TILE) to the log energies, (TILE, n_channels)."""
        moved = (projections @ self._temporal).reshape(2, self._bank.n_filters, -1, 2, TILE)
        (sine_sine, sine_cosine), (cosine_sine, cosine_cosine) = moved.transpose(0, 3, 1, 2, 4)
        energies = np.empty((2, *sine_sine.shape))
        energies[0] = (sine_cosine + cosine_sine) ** 2 + (cosine_cosine - sine_sine) ** 2
        energies[1] = (sine_cosine - cosine_sine) ** 2 + (cosine_cosine + sine_sine) ** 2
        amplitude = np.sqrt(energies.reshape(-1, TILE)[self._chosen])
        amplitude += LOG_OFFSET
        return np.ascontiguousarray(np.log(amplitude, out=amplitude).T)


class _TorchTileFilters:
    """The same with torch on a device, where one large product is faster than many small ones."""

    def __init__(self, bank: FilterBank, device: str) -> None:
        import torch

        self._to_device: Callable[[np.ndarray], Any] = lambda values: torch.from_numpy(values).to(device)
        self._filters = self._to_device(np.concatenate(bank.dense()))
        self._temporal = self._to_device(temporal_operator(bank))
        self._chosen = self._to_device(chosen_energies(bank))
        self._n_filters, self.n_channels = bank.n_filters, len(bank.names)

    def project(self, pictures: np.ndarray) -> np.ndarray:
        """(TILE, n_pixels) to (2 n_filters, TILE)."""
        return (self._filters @ self._to_device(pictures).T).cpu().numpy()

    def energies(self, projections: np.ndarray) -> np.ndarray:
        """(2 n_filters, n_taps - 1 + TILE) to the log energies, (TILE, n_channels)."""
        import torch

        moved = (self._to_device(projections) @ self._temporal).reshape(2, self._n_filters, -1, 2, TILE)
        (sine_sine, sine_cosine), (cosine_sine, cosine_cosine) = moved.permute(0, 3, 1, 2, 4)
        forward = (sine_cosine + cosine_sine) ** 2 + (cosine_cosine - sine_sine) ** 2
        backward = (sine_cosine - cosine_sine) ** 2 + (cosine_cosine + sine_sine) ** 2
        energies = torch.stack([forward, backward]).reshape(-1, TILE)[self._chosen]
        return torch.log(torch.sqrt(energies) + LOG_OFFSET).T.cpu().numpy()


def temporal_operator(bank: FilterBank) -> np.ndarray:
    """Convolution as a product: (n_taps - 1 + TILE, n_temporal * 2 * TILE), of each pair first the sine."""
    n_temporal, n_taps = bank.temporal_sine.shape
    operator = np.zeros((n_taps - 1 + TILE, n_temporal, 2, TILE))
    ticks = np.arange(TILE)
    for tap in range(n_taps):
        rows = n_taps - 1 - tap + ticks
        operator[rows, :, 0, ticks] = bank.temporal_sine[:, tap]
        operator[rows, :, 1, ticks] = bank.temporal_cosine[:, tap]
    return operator.reshape(n_taps - 1 + TILE, -1)


def chosen_energies(bank: FilterBank) -> np.ndarray:
    """(n_channels,) where each channel is among the energies, (forward or backward, n_filters, n_temporal)."""
    shape = (2, bank.n_filters, len(bank.temporal_sine))
    where = (bank.backward.astype(int), bank.spatial_of_channel, bank.temporal_of_channel)
    return np.ravel_multi_index(where, shape)
