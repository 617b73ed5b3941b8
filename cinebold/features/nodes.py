"""Networks that are read at named nodes, whole or pooled, and projected where they are too large."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from cinebold.features.network import NetworkExtractor, class_names
from cinebold.features.network_options import NetworkOptions, class_scores, options_of
from cinebold.features.parameters import require
from cinebold.features.projection import N_ENTRIES, SparseProjection
from cinebold.features.shared_network import Reader, SharedNetwork, graph_reader

if TYPE_CHECKING:
    import torch

#: A layer of more numbers a window than this is not stored as it is: 20 000 are 80 kB a window.
LARGEST = 20_000
_ANY_SIZE: ContextVar[bool] = ContextVar("any_size", default=False)


@contextmanager
def layers_of_any_size() -> Iterator[None]:
    """Let `check_layer` pass larger ones too: those that are reduced before they are stored."""
    token = _ANY_SIZE.set(True)
    try:
        yield
    finally:
        _ANY_SIZE.reset(token)


@dataclass(frozen=True)
class Layer:
    """What is read: nodes and the shape of each, channels first, then time and places."""

    nodes: Mapping[str, tuple[int, ...]]
    always_pooled: bool = False  #: averaged over time and places, as the network's head does it
    classes: str | None = None  #: "KINETICS400" or "IMAGENET" where the numbers are scores of these classes

    def n_features(self, spatial: str) -> int:
        """How many numbers a window."""
        return sum(shape[0] if self.is_pooled(spatial) else prod(shape) for shape in self.nodes.values())

    def is_pooled(self, spatial: str) -> bool:
        """Whether only the means of the channels are read."""
        return self.always_pooled or spatial == "mean"


def check_layer(extractor: str, parameters: Any, layers: Mapping[str, Layer]) -> None:
    """Raise SettingError unless `layer`, `spatial`, `n_projected`, `projection_seed` and the options of the network
    make sense together."""
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
    layer = layers[parameters.layer]
    options_of(parameters).check_options(extractor, parameters.layer, layer.classes is not None)
    n_features = layer.n_features(parameters.spatial)
    require(
        extractor,
        n_features <= LARGEST or 0 < n_projected < n_features or _ANY_SIZE.get(),
        f"layer {parameters.layer!r} has {n_features} numbers a window, more than the {LARGEST} that are kept "
        "as they are; set n_projected (for example 4096) or spatial = 'mean', or give a basis",
        n_projected,
    )


def projection_of(parameters: Any, layer: Layer) -> SparseProjection | None:
    """The projection of a layer with more numbers than `n_projected`; None for the others and for 0."""
    n_features = layer.n_features(parameters.spatial)
    if 0 < parameters.n_projected < n_features:
        return SparseProjection(n_features, parameters.n_projected, parameters.projection_seed)
    return None


class NodeExtractor(NetworkExtractor):
    """A network, by default one of torchvision, read at the nodes of one layer.

    Extractors of one network, weights and device share one copy of it, and one pass for each batch of frames, so that
    all the layers of a recipe cost little more than the deepest.
    """

    n_together: ClassVar[int] = 1  #: windows that one thread of a CPU takes at once
    reader: ClassVar[Reader] = staticmethod(graph_reader)  #: how the nodes of the network are read
    prepares_on_device: ClassVar[bool] = False  #: frames are uploaded as bytes and transformed there

    def __init__(self, parameters: Any, **where: Any) -> None:
        super().__init__(parameters, **where)
        self.layer = self.layers()[parameters.layer]
        self.projection = projection_of(parameters, self.layer)

    def layers(self) -> Mapping[str, Layer]:
        """The layers by name."""
        raise NotImplementedError

    def official_transform(self) -> Any:
        """The preprocessing that belongs to the weights, of a picture (3, h, w) uint8; it must not refer to `self`."""
        raise NotImplementedError

    def unit_transform(self, activations: np.ndarray) -> np.ndarray:
        """Applied to every number before pooling and projection."""
        return activations

    def stacked(self, clips: Sequence[Sequence["torch.Tensor"]]) -> "torch.Tensor":
        """Windows of prepared frames as the network takes them."""
        raise NotImplementedError

    def variant(self) -> list[Any]:
        """What tells networks with the same weights apart that cannot be shared; JSON-able."""
        return []

    @property
    def options(self) -> NetworkOptions:
        """How the network is evaluated."""
        return options_of(self.parameters)

    def unprojected_names(self) -> tuple[str, ...]:
        """The classes, or the names of the layer's numbers, or of its channels where it is pooled."""
        if self.layer.classes is not None:
            return class_names(self.layer.classes)
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

    @property
    def n_columns(self) -> int:
        """After pooling and projection; no names are made."""
        if self.projection is not None:
            return self.projection.n_outputs
        return self.layer.n_features(self.parameters.spatial)

    def prepare(self, frame: np.ndarray) -> "torch.Tensor":
        """By the official transform; that of torchvision on the CPU on every device: its roundings differ."""
        return self._network.prepared(frame)

    def values(self, clips: Sequence[Sequence["torch.Tensor"]]) -> np.ndarray:
        """The layer's numbers, transformed, pooled or flattened, as scores where they are of classes, and projected."""
        activations = self._network.read(clips, self.stacked)
        columns = []
        for node in self.layer.nodes:
            units = self.unit_transform(activations[node].float().cpu().numpy())
            units = units.reshape(*units.shape[:2], -1)  # (n_windows, n_channels, n_places)
            if self.layer.is_pooled(self.parameters.spatial):
                units = units.mean(axis=2)
            columns.append(units.reshape(len(units), -1))
        values = np.concatenate(columns, axis=1)
        if self.layer.classes is not None:
            values = class_scores(values, self.options.scores)
        return values if self.projection is None else self.projection.apply(values)

    def _build(self) -> SharedNetwork:
        options = self.options
        how = [options.precision, options.channels_last, options.compiled, *self.variant()]
        key = json.dumps([self.name, self.weights_identity(), self.device, how])
        shared = _SHARED.get(key)
        if shared is None:
            shared = SharedNetwork(
                self.loaded().to(self.device),
                self.official_transform(),
                self.device,
                self.n_together,
                reader=self.reader,
                options=NetworkOptions(
                    precision=options.precision,
                    channels_last=options.channels_last,
                    compiled=options.compiled,
                ),
                prepares_on_device=self.prepares_on_device,
            )
            _SHARED[key] = shared
        shared.want(self.layer.nodes)
        return shared


_SHARED: WeakValueDictionary[str, SharedNetwork] = WeakValueDictionary()
