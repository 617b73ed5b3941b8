"""A fitted encoding model: how to get from features to responses, on disk without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.design.delays import delayed
from cinebold.design.hrf import convolved, hrf_kernel
from cinebold.encoding.model_files import (
    common_arrays,
    common_fields,
    existing_part,
    read_arrays,
    read_card,
    space_facts,
    write_model,
)
from cinebold.encoding.preprocessing import SpaceReducer, check_features
from cinebold.errors import InputError

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class EncodingModel:
    """Reducers, delays and weights; weights are per unit of a principal component's score (no PCA: of a feature)."""

    reducers: dict[str, SpaceReducer]
    delays: tuple[int, ...]  #: volumes; (0,) where features are convolved
    tr_s: float
    weights: dict[str, np.ndarray]  #: feature space -> (n_components, n_delays, n_targets) float32
    intercept: np.ndarray  #: (n_targets,) float32
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  #: of the features, before the PCA
    #: where the targets lie, in C order: (x, y, z) bool, or (n_positions,) of surfaces
    mask: np.ndarray | None = None
    affine: np.ndarray | None = None  #: (4, 4)
    card: dict[str, Any] = field(default_factory=dict)  #: JSON-able facts about the fit
    hrf: str = "none"  #: "spm" or "glover": features are convolved with this response in place of delays

    def predict(self, features: Mapping[str, np.ndarray], has_film: np.ndarray | None = None) -> np.ndarray:
        """The responses to one run's features.

        Parameters
        ----------
        features : feature space -> (n_volumes, n_features), as in `RunDesign.features`
        has_film : (n_volumes,) bool; None: everywhere

        Returns
        -------
        (n_volumes, n_targets) float32, NaN for targets without a model
        """
        check_features(self.reducers, features)
        prediction: np.ndarray | float = self.intercept.astype(np.float64)
        for space, reducer in self.reducers.items():
            scores = reducer.scores(np.asarray(features[space]), has_film)
            if self.hrf == "none":
                columns = delayed(scores, self.delays)
            else:
                columns = convolved(scores, hrf_kernel(self.hrf, self.tr_s))
            weights = self.weights[space]
            by_delay = weights.transpose(1, 0, 2).reshape(
                -1, weights.shape[2]
            )  # (n_delays * n_components, n_targets)
            prediction = prediction + columns @ by_delay.astype(np.float64)
        return prediction.astype(np.float32)

    def save(self, prefix: str | Path) -> tuple[Path, Path]:
        """Write `prefix`.safetensors and `prefix`.json; equal models give equal bytes."""
        arrays = common_arrays(self.reducers, self.mask, self.affine) | {"intercept": self.intercept}
        arrays |= {f"{space}.weights": weights for space, weights in self.weights.items()}
        content = {
            "schema_version": SCHEMA_VERSION,
            "tr_s": self.tr_s,
            "delays_volumes": list(self.delays),
            "delays_s": [delay * self.tr_s for delay in self.delays],
            "hrf": self.hrf,
            "n_targets": len(self.intercept),
            "spaces": space_facts(self.reducers, self.names),
            "fit": self.card,
        }
        return write_model(prefix, arrays, content)

    @classmethod
    def load(cls, prefix: str | Path) -> "EncodingModel":
        """Read what `save` wrote."""
        existing_part(prefix, "safetensors")
        content = read_card(prefix)
        if content.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{prefix}.json has schema version {content.get('schema_version')}, expected {SCHEMA_VERSION}; "
                "fit the model again."
            )
        arrays = read_arrays(prefix)
        return cls(
            **common_fields(arrays, content),
            delays=tuple(content["delays_volumes"]),
            weights={space: arrays[f"{space}.weights"] for space in content["spaces"]},
            hrf=content["hrf"],
        )
