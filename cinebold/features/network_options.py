"""How a network is evaluated, and how it gives the scores of its classes: what all extractors that run one offer."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cinebold.features.parameters import require

SCORES = ("logits", "softmax", "sigmoid")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """All of these change digits, so that they belong to the identity of the features."""

    scores: str = (
        "logits"  #: of a layer of classes: "logits", as the network has them, "softmax" or "sigmoid"
    )
    precision: str = "float32"  #: "bfloat16": products in bfloat16, sums in float32 (torch's autocast)
    channels_last: bool = False  #: weights and windows with the channels as the last axis in memory
    compiled: bool = False  #: by torch.compile, which takes a minute or more before the first window

    def check_options(self, extractor: str, layer: str, has_classes: bool) -> None:
        """Raise SettingError unless they make sense for this layer."""
        require(extractor, self.scores in SCORES, f"scores must be one of {', '.join(SCORES)}", self.scores)
        require(
            extractor,
            has_classes or self.scores == "logits",
            f"scores are those of classes, which layer {layer!r} does not have; leave scores out",
            self.scores,
        )
        require(
            extractor,
            self.precision in PRECISIONS,
            f"precision must be one of {', '.join(PRECISIONS)}",
            self.precision,
        )


def options_of(parameters: Any) -> NetworkOptions:
    """The options among the parameters of an extractor; the defaults where it has none."""
    return parameters if isinstance(parameters, NetworkOptions) else NetworkOptions()


#: Younger than the first stored features, which stay valid: left out of a fingerprint where they have their defaults.
YOUNGER = tuple(field.name for field in fields(NetworkOptions))


def class_scores(logits: np.ndarray, scores: str) -> np.ndarray:
    """Logits, (n_windows, n_classes) float32, as `scores` asks for them."""
    if scores == "logits":
        return logits
    from scipy.special import expit, softmax

    return expit(logits) if scores == "sigmoid" else softmax(logits, axis=1)


def without_defaults(parameters: dict[str, Any], kind: type, names: tuple[str, ...]) -> dict[str, Any]:
    """Parameters as they stand in a fingerprint: those of `names` only where they differ from their default.

    >>> without_defaults({"precision": "float32", "scores": "softmax"}, NetworkOptions, YOUNGER)
    {'scores': 'softmax'}
    """
    defaults = {field.name: field.default for field in fields(kind)}
    return {name: value for name, value in parameters.items() if name not in names or value != defaults[name]}
