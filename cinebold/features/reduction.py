"""Networks whose windows are reduced by a basis while the film streams: nothing wider is kept of a window."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinebold.errors import SettingError
from cinebold.features.accumulation import WindowAccumulator
from cinebold.features.basis import Basis, read_basis
from cinebold.features.network import NetworkExtractor, Windows
from cinebold.video.decoding import FilmInfo

if TYPE_CHECKING:
    import torch


class WrappedNetwork:
    """What a `WindowAccumulator` asks of an extractor, answered by another network."""

    def __init__(self, network: NetworkExtractor) -> None:
        self.network = network
        self.name, self.parameters = network.name, network.parameters
        self.device, self.batch = network.device, network.batch

    def fingerprint(self) -> dict[str, Any]:
        """See `NetworkExtractor`; so are the other methods."""
        return self.network.fingerprint()

    def start(self, info: FilmInfo) -> WindowAccumulator:
        """An accumulator for one film; the network is built and loaded once."""
        self.network.make_ready()
        return WindowAccumulator(self, info)

    def windows(self, info: FilmInfo) -> Windows:
        """Where the windows of a film are."""
        return self.network.windows(info)

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """A frame as the network wants it."""
        return self.network.prepare(frame)

    def values(self, clips: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """What is read from the network."""
        return self.network.values(clips)

    def column_names(self) -> Sequence[str]:
        """The names of the features."""
        return self.network.column_names()


class ReducedNetwork(WrappedNetwork):
    """Scores of a network's windows on the components of a basis, which is part of the features' identity."""

    def __init__(self, network: NetworkExtractor, basis: Basis) -> None:
        super().__init__(network)
        basis.check_fits(network.fingerprint())
        self.basis = basis

    def fingerprint(self) -> dict[str, Any]:
        """That of the network, and the basis."""
        basis = {"sha256": self.basis.sha256, "n_components": self.basis.n_components}
        return {**super().fingerprint(), "basis": basis}

    def values(self, clips: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """(n_windows, n_components) float32"""
        return self.basis.apply(super().values(clips))

    def column_names(self) -> tuple[str, ...]:
        """Numbered, after the layer where there is one."""
        what = getattr(self.parameters, "layer", self.name)
        return tuple(f"{what} ipca {index:04d}" for index in range(self.basis.n_components))


def reduced(extractor: Any, basis: str | Path) -> ReducedNetwork:
    """The extractor with the basis of a file.

    Raises
    ------
    SettingError, InputError
        The extractor runs no network; the file is no basis, or one of other features.
    """
    return ReducedNetwork(checked_network(extractor), read_basis(basis))


def checked_network(extractor: Any) -> NetworkExtractor:
    """The same; SettingError where it runs no network."""
    if not isinstance(extractor, NetworkExtractor):
        raise SettingError(
            f"A basis reduces the features of a network, and {extractor.name} runs none: leave the basis out."
        )
    return extractor
