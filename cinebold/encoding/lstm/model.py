"""A fitted LSTM encoder: from features to responses, on disk without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.encoding.lstm.network import LSTMNetwork
from cinebold.encoding.lstm.training import undelayed_columns
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.preprocessing import SpaceReducer
from cinebold.errors import InputError
from cinebold.files import atomic_path, read_json, write_json

SCHEMA_VERSION = "lstm-1"


@dataclass(frozen=True)
class LSTMModel:
    """Reducers, a network and its linear read-out; used as an `EncodingModel` is, but for delays and weights."""

    reducers: dict[str, SpaceReducer]
    tr_s: float
    network: LSTMNetwork  #: of component scores, each space divided by its unit
    readout: np.ndarray  #: (n_hidden, n_targets) float32
    intercept: np.ndarray  #: (n_targets,) float32
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  #: of the features, before the PCA
    mask: np.ndarray | None = None  #: (x, y, z) bool, where the targets lie, in C order
    affine: np.ndarray | None = None  #: (4, 4)
    card: dict[str, Any] = field(default_factory=dict)  #: JSON-able facts about the fit

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Empty: no weight of a network belongs to one feature space and delay."""
        return {}

    def predict(self, features: Mapping[str, np.ndarray], has_film: np.ndarray | None = None) -> np.ndarray:
        """The responses to one run's features, from the run's first volume on.

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
        for space, reducer in self.reducers.items():
            shape = np.shape(features[space])
            if len(shape) != 2 or shape[1] != len(reducer.mean):
                raise InputError(
                    f"The model needs {len(reducer.mean)} features of {space} a volume, got shape {shape}."
                )
        states = self.network.states(undelayed_columns(self.reducers, features, has_film))
        return (states @ self.readout.astype(np.float64) + self.intercept).astype(np.float32)

    def save(self, prefix: str | Path) -> tuple[Path, Path]:
        """Write `prefix`.safetensors and `prefix`.json; equal models give equal bytes."""
        from safetensors.numpy import save

        arrays = {f"lstm.{name}": value for name, value in self.network.parameters.items()}
        arrays |= {"readout": self.readout, "intercept": self.intercept}
        for space, reducer in self.reducers.items():
            for name in ("mean", "scale", "explained_variance_ratio", "components"):
                if getattr(reducer, name) is not None:
                    arrays[f"{space}.{name}"] = getattr(reducer, name)
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
            "n_hidden": self.network.n_hidden,
            "n_layers": self.network.n_layers,
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
    def load(cls, prefix: str | Path) -> "LSTMModel":
        """Read what `save` wrote."""
        from safetensors.numpy import load

        tensors = Path(f"{prefix}.safetensors")
        content = _card(prefix)
        if content.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{prefix}.json has schema version {content.get('schema_version')}, expected {SCHEMA_VERSION}: it is "
                "no LSTM model of this version; fit the model again."
            )
        if not tensors.is_file():
            raise InputError(
                f"The model {prefix} is not whole: {tensors} does not exist; fit the model again."
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
            tr_s=content["tr_s"],
            network=LSTMNetwork(
                {
                    name.removeprefix("lstm."): value
                    for name, value in arrays.items()
                    if name.startswith("lstm.")
                }
            ),
            readout=arrays["readout"],
            intercept=arrays["intercept"],
            names={space: tuple(facts["names"]) for space, facts in spaces.items()},
            mask=arrays["mask"].astype(bool) if "mask" in arrays else None,
            affine=arrays.get("affine"),
            card=content["fit"],
        )


def load_model(prefix: str | Path) -> EncodingModel | LSTMModel:
    """Read a fitted model of either kind."""
    return (LSTMModel if _card(prefix).get("schema_version") == SCHEMA_VERSION else EncodingModel).load(
        prefix
    )


def _card(prefix: str | Path) -> dict[str, Any]:
    path = Path(f"{prefix}.json")
    if not path.is_file():
        raise InputError(f"The model {prefix} is not whole: {path} does not exist; fit the model again.")
    return read_json(path)
