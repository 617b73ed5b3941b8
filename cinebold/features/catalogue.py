"""What extractors there are: layers, columns, windows, and whether their weights are on this machine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cinebold.errors import CineboldError, MissingWeightsError
from cinebold.features.registry import create_extractor, extractor_class, extractor_names, has_weights
from cinebold.features.weights import find_weights


@dataclass(frozen=True)
class CatalogueEntry:
    """One extractor with its default parameters. It is made without weights, and no network is built."""

    name: str
    layers: dict[str, int] = field(default_factory=dict)  #: numbers a window; "" where there are no layers
    default_layer: str = ""
    n_features: int | None = None  #: columns with the default parameters; None: another file tells
    window: dict[str, Any] = field(default_factory=dict)  #: of the default parameters
    needs_weights: bool = False
    weights_names: tuple[str, ...] = ()  #: accepted names of the file
    weights_file: str | None = None  #: where it was found
    weights_url: str | None = None
    problem: str | None = None  #: why something is not known


def catalogue(weights_dir: str | Path | None = None) -> list[CatalogueEntry]:
    """Every extractor that `create_extractor` knows.

    Raises SettingError when `weights_dir` does not exist.
    """
    folder = None if weights_dir is None else str(weights_dir)
    return [_entry(name, folder) for name in extractor_names()]


def _entry(name: str, weights_dir: str | None) -> CatalogueEntry:
    kind = extractor_class(name)
    about: dict[str, Any] = _weights(kind, weights_dir)
    try:
        extractor = create_extractor(name, random_weights=True)
        parameters = extractor.parameters
        about["default_layer"] = str(getattr(parameters, "layer", ""))
        about["window"] = {} if hasattr(extractor, "for_film") else extractor.fingerprint().get("window", {})
        about["layers"] = _layer_sizes(extractor)
        about["n_features"] = _n_features(extractor, about["layers"])
    except CineboldError as error:
        about["problem"] = str(error)
    return CatalogueEntry(name, **about)


def _layer_sizes(extractor: Any) -> dict[str, int]:
    """Value of the parameter `layer` -> numbers a window, before any projection."""
    if hasattr(extractor, "layer_sizes"):
        return dict(extractor.layer_sizes())
    if hasattr(extractor, "layers"):
        return {layer: one.n_features("full") for layer, one in extractor.layers().items()}
    return {}


def _n_features(extractor: Any, sizes: dict[str, int]) -> int | None:
    """Columns after pooling and projection; None: a file tells."""
    return getattr(extractor, "n_columns", sizes.get(""))


def _weights(kind: Any, weights_dir: str | None) -> dict[str, Any]:
    """Where an extractor's weights are; nothing for one that has none."""
    source = getattr(kind, "source", None)
    if not has_weights(kind):
        return {}
    about: dict[str, Any] = {"needs_weights": True}
    if source is not None:
        about |= {"weights_names": source.file_names, "weights_url": source.url}
    elif getattr(kind, "hub_name", ""):
        about["weights_names"] = (kind.hub_name,)
    try:
        found = (
            find_weights(source, weights_dir)
            if not hasattr(kind, "find_weights")
            else kind.find_weights(weights_dir)
        )
        about["weights_file"] = str(found)
    except MissingWeightsError:
        pass
    return about
