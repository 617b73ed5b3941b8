"""A fitted encoding model: how to get from features to responses, on disk without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.design.delays import delayed
from cinebold.design.hrf import convolved, hrf_kernel
from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.errors import InputError
from cinebold.files import atomic_path, read_json, write_json

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
    mask: np.ndarray | None = None  #: (x, y, z) bool, where the targets lie, in C order
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
        missing = [space for space in self.reducers if space not in features]
        if missing:
            raise InputError(
                f"The model needs the feature spaces {', '.join(self.reducers)}; missing: "
                f"{', '.join(missing)}."
            )
        prediction: np.ndarray | float = self.intercept.astype(np.float64)
        for space, reducer in self.reducers.items():
            values = np.asarray(features[space])
            if values.ndim != 2 or values.shape[1] != len(reducer.mean):
                raise InputError(
                    f"The model needs {len(reducer.mean)} features of {space} a volume, got shape "
                    f"{values.shape}."
                )
            scores = reducer.scores(values, has_film)
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
        from safetensors.numpy import save

        arrays: dict[str, np.ndarray] = {"intercept": self.intercept}
        for space, reducer in self.reducers.items():
            arrays[f"{space}.weights"] = self.weights[space]
            arrays[f"{space}.mean"] = reducer.mean
            arrays[f"{space}.scale"] = reducer.scale
            arrays[f"{space}.explained_variance_ratio"] = reducer.explained_variance_ratio
            if reducer.components is not None:
                arrays[f"{space}.components"] = reducer.components
        if self.mask is not None:
            arrays["mask"] = np.asarray(self.mask, dtype=np.uint8)
        if self.affine is not None:
            arrays["affine"] = np.asarray(self.affine, dtype=np.float64)
        tensors, card = Path(f"{prefix}.safetensors"), Path(f"{prefix}.json")
        with atomic_path(tensors) as temporary:
            temporary.write_bytes(save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}))
        content = {
            "schema_version": SCHEMA_VERSION,
            "tr_s": self.tr_s,
            "delays_volumes": list(self.delays),
            "delays_s": [delay * self.tr_s for delay in self.delays],
            "hrf": self.hrf,
            "n_targets": len(self.intercept),
            "spaces": {
                space: {
                    "n_features": len(reducer.mean),
                    "n_components": reducer.n_components,
                    "pca": reducer.components is not None,
                    "explained_variance": float(reducer.explained_variance_ratio.sum()),
                    "unit": reducer.unit,
                    "standardised_by_volume": reducer.by_volume,
                    "names": list(self.names.get(space, ())),
                }
                for space, reducer in self.reducers.items()
            },
            "fit": self.card,
        }
        return tensors, write_json(card, content)

    @classmethod
    def load(cls, prefix: str | Path) -> "EncodingModel":
        """Read what `save` wrote."""
        from safetensors.numpy import load

        tensors, card_path = Path(f"{prefix}.safetensors"), Path(f"{prefix}.json")
        for path in (tensors, card_path):
            if not path.is_file():
                raise InputError(
                    f"The model {prefix} is not whole: {path} does not exist; fit the model again."
                )
        content = read_json(card_path)
        if content.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{card_path} has schema version {content.get('schema_version')}, expected {SCHEMA_VERSION}; "
                "fit the model again."
            )
        arrays = load(tensors.read_bytes())
        spaces = content["spaces"]
        return cls(
            reducers={
                space: SpaceReducer(
                    mean=arrays[f"{space}.mean"],
                    scale=arrays[f"{space}.scale"],
                    components=arrays.get(f"{space}.components"),
                    explained_variance_ratio=arrays[f"{space}.explained_variance_ratio"],
                    unit=facts["unit"],
                    by_volume=facts["standardised_by_volume"],
                )
                for space, facts in spaces.items()
            },
            delays=tuple(content["delays_volumes"]),
            tr_s=content["tr_s"],
            weights={space: arrays[f"{space}.weights"] for space in spaces},
            intercept=arrays["intercept"],
            names={space: tuple(facts["names"]) for space, facts in spaces.items()},
            mask=arrays["mask"].astype(bool) if "mask" in arrays else None,
            affine=arrays.get("affine"),
            card=content["fit"],
            hrf=content["hrf"],
        )
