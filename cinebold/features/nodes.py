"""Networks of torchvision that are read at named nodes, whole or pooled, and projected where they are too large."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from cinebold.features.network import NetworkExtractor, exact_inference
from cinebold.features.parameters import require
from cinebold.features.projection import N_ENTRIES, SparseProjection

if TYPE_CHECKING:
    import torch

#: A layer of more numbers a window than this is not stored as it is: 20 000 are 80 kB a window.
LARGEST = 20_000


@dataclass(frozen=True)
class Layer:
    """What is read: nodes and the shape of each, channels first, then time and places."""

    nodes: Mapping[str, tuple[int, ...]]
    always_pooled: bool = False  #: averaged over time and places, as the network's head does it

    def n_features(self, spatial: str) -> int:
        """How many numbers a window."""
        return sum(shape[0] if self.is_pooled(spatial) else prod(shape) for shape in self.nodes.values())

    def is_pooled(self, spatial: str) -> bool:
        """Whether only the means of the channels are read."""
        return self.always_pooled or spatial == "mean"


def check_layer(extractor: str, parameters: Any, layers: Mapping[str, Layer]) -> None:
    """Raise SettingError unless `layer`, `spatial`, `n_projected` and `projection_seed` of the parameters make
    sense together."""
    require(
        extractor, parameters.layer in layers, f"layer must be one of {', '.join(layers)}", parameters.layer
    )
    require(
        extractor, parameters.spatial in ("full", "mean"), "spatial must be full or mean", parameters.spatial
    )
    n_projected = parameters.n_projected
    require(
        extractor,
        n_projected == 0 or n_projected >= N_ENTRIES,
        f"n_projected must be 0 (never) or at least {N_ENTRIES}",
        n_projected,
    )
    require(
        extractor,
        parameters.projection_seed >= 0,
        "projection_seed must not be negative",
        parameters.projection_seed,
    )
    n_features = layers[parameters.layer].n_features(parameters.spatial)
    require(
        extractor,
        n_features <= LARGEST or 0 < n_projected < n_features,
        f"layer {parameters.layer!r} has {n_features} numbers a window, more than the {LARGEST} that are kept "
        "as they are; set n_projected (for example 4096) or spatial = 'mean'",
        n_projected,
    )


def projection_of(parameters: Any, layer: Layer) -> SparseProjection | None:
    """The projection of a layer with more numbers than `n_projected`; None for the others and for 0."""
    n_features = layer.n_features(parameters.spatial)
    if 0 < parameters.n_projected < n_features:
        return SparseProjection(n_features, parameters.n_projected, parameters.projection_seed)
    return None


class NodeExtractor(NetworkExtractor):
    """A network of torchvision, read at the nodes of one layer.

    Extractors of one network, weights and device share one copy of it, and one pass for each batch of frames, so that
    all the layers of a recipe cost little more than the deepest.
    """

    n_together: ClassVar[int] = 1  #: windows that one thread of a CPU takes at once

    def __init__(self, parameters: Any, **where: Any) -> None:
        super().__init__(parameters, **where)
        self.layer = self.layers()[parameters.layer]
        self.projection = projection_of(parameters, self.layer)

    def layers(self) -> Mapping[str, Layer]:
        """The layers by name."""
        raise NotImplementedError

    def official_transform(self) -> Any:
        """torchvision's preprocessing that belongs to the weights."""
        raise NotImplementedError

    def unit_transform(self, activations: np.ndarray) -> np.ndarray:
        """Applied to every number before pooling and projection."""
        return activations

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """Windows of prepared frames as the network takes them."""
        raise NotImplementedError

    def unprojected_names(self) -> tuple[str, ...]:
        """The names of the layer's numbers, or of its channels where it is pooled."""
        pooled = self.layer.is_pooled(self.parameters.spatial)
        return tuple(
            f"{node} {'channel' if pooled else 'unit'} {index:04d}"
            for node, shape in self.layer.nodes.items()
            for index in range(shape[0] if pooled else prod(shape))
        )

    def column_names(self) -> tuple[str, ...]:
        """Classes, channels, units, or numbered projections."""
        if self.projection is None:
            return self.unprojected_names()
        n_outputs = self.projection.n_outputs
        return tuple(f"{self.parameters.layer} projection {index:04d}" for index in range(n_outputs))

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """By torchvision's transform, on the CPU on every device: its roundings differ between them."""
        return self._network.prepared(frame)

    def values(self, clips: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """The layer's numbers, transformed, pooled or flattened, and projected."""
        activations = self._network.read(clips, self.stacked)
        columns = []
        for node in self.layer.nodes:
            units = self.unit_transform(activations[node].float().cpu().numpy())
            units = units.reshape(*units.shape[:2], -1)  # (n_windows, n_channels, n_places)
            if self.layer.is_pooled(self.parameters.spatial):
                units = units.mean(axis=2)
            columns.append(units.reshape(len(units), -1))
        values = np.concatenate(columns, axis=1)
        return values if self.projection is None else self.projection.apply(values)

    def _build(self) -> "SharedNetwork":
        key = json.dumps([self.name, self.weights_identity(), self.device])
        shared = _SHARED.get(key)
        if shared is None:
            network = self.loaded().to(self.device)
            shared = SharedNetwork(network, self.official_transform(), self.device, self.n_together)
            _SHARED[key] = shared
        shared.want(self.layer.nodes)
        return shared


class SharedNetwork:
    """One network and those who read it; what the first of them makes of a frame or a batch serves the others."""

    def __init__(self, network: "torch.nn.Module", transform: Any, device: str, n_together: int = 1) -> None:
        self._network, self._transform, self._device = network, transform, device
        self._n_together = n_together
        self._nodes: dict[str, None] = {}
        self._graph: Any = None
        self._frame: tuple[Any, Any] = (None, None)  # the last frame, prepared
        self._batch: tuple[int, list[Any], Any] = (
            0,
            [],
            None,
        )  # the last: windows, their frames, activations

    def want(self, nodes: Mapping[str, Any]) -> None:
        """These nodes will be read; what comes after the deepest is not computed."""
        if set(nodes) - set(self._nodes):
            self._nodes |= dict.fromkeys(nodes)
            self._graph, self._batch = None, (0, [], None)

    def prepared(self, frame: np.ndarray) -> "torch.Tensor":
        """A frame, (h, w, 3) uint8, after the official preprocessing: (3, height, width) float32."""
        import torch

        if self._frame[0] is not frame:
            picture = torch.tensor(frame).permute(2, 0, 1)
            self._frame = (frame, self._transform(picture).to(self._device).contiguous())
        return self._frame[1]

    def read(self, clips: Sequence[Sequence["torch.Tensor"]], stacked: Any) -> Mapping[str, "torch.Tensor"]:
        """The activations of all nodes that are wanted, by name, for some windows."""
        frames = [frame for clip in clips for frame in clip]
        n_clips, known, activations = self._batch
        same = (n_clips, len(known)) == (len(clips), len(frames))
        if not same or any(a is not b for a, b in zip(known, frames, strict=True)):
            activations = self._evaluated(stacked(clips))
            self._batch = (len(clips), frames, activations)
        return activations

    def _evaluated(self, batch: "torch.Tensor") -> Mapping[str, "torch.Tensor"]:
        """On a CPU in parts of fixed size, a thread each.

        Threads inside a convolution share its sums out in ways that change the last digits with their number.
        """
        import torch

        graph = self._traced()
        if self._device != "cpu":
            with exact_inference():
                return graph(batch)

        def evaluate(part: "torch.Tensor") -> Mapping[str, "torch.Tensor"]:
            with torch.inference_mode():
                return graph(part)

        n_threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                parts = list(pool.map(evaluate, batch.split(self._n_together)))
        finally:
            torch.set_num_threads(n_threads)
        if len(parts) == 1:
            return parts[0]
        return {node: torch.cat([part[node] for part in parts]) for node in self._nodes}

    def _traced(self) -> Any:
        if self._graph is None:
            from torchvision.models.feature_extraction import create_feature_extractor

            self._graph = create_feature_extractor(
                self._network, {node: node for node in self._nodes}, suppress_diff_warning=True
            )
        return self._graph


_SHARED: WeakValueDictionary[str, SharedNetwork] = WeakValueDictionary()
