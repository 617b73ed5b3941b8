"""Networks with random weights: what every output, page and log says of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bids_app.config import Settings
from bids_app.recipe import Recipe
from cinebold.features.registry import extractor_class, has_weights
from cinebold.files import read_json

_KEY = "RandomWeights"


def random_spaces(settings: Settings, recipe: Recipe) -> tuple[str, ...]:
    """The feature spaces whose networks are not trained."""
    if not settings.random_weights:
        return ()
    return tuple(
        space.name for space in recipe.feature_spaces if has_weights(extractor_class(space.extractor))
    )


def random_parameters(spaces: Iterable[str]) -> dict[str, list[str]]:
    """For the `ModelParameters` of sidecars; nothing where all networks are trained."""
    found = list(spaces)
    return {_KEY: found} if found else {}


def random_spaces_of_maps(maps: Iterable[str]) -> tuple[str, ...]:
    """What the sidecars of participants' maps say, in one list."""
    found: dict[str, None] = {}
    for path in maps:
        sidecar = Path(path).with_name(f"{Path(path).name.partition('.')[0]}.json")
        content: Any = read_json(sidecar) if sidecar.is_file() else {}
        found |= dict.fromkeys(content.get("ModelParameters", {}).get(_KEY, ()))
    return tuple(found)


def random_warnings(spaces: Iterable[str]) -> tuple[str, ...]:
    """The sentence for the log; none where all networks are trained."""
    names = ", ".join(spaces)
    if not names:
        return ()
    return (
        f"the features of {names} come from a network with RANDOM weights (--random-weights): no result says "
        "anything about a trained network",
    )
