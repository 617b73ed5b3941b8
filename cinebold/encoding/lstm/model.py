"""A fitted LSTM encoder: from features to responses, on disk without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.encoding.lstm.network import LSTMNetwork
from cinebold.encoding.lstm.training import undelayed_columns
from cinebold.encoding.model import EncodingModel
from cinebold.encoding.model_files import (
    common_arrays,
    common_fields,
    read_arrays,
    read_card,
    space_facts,
    write_model,
)
from cinebold.encoding.preprocessing import SpaceReducer, check_features
from cinebold.errors import InputError

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
    mask: np.ndarray | None = None  #: as in `EncodingModel`
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
        check_features(self.reducers, features)
        states = self.network.states(undelayed_columns(self.reducers, features, has_film))
        return (states @ self.readout.astype(np.float64) + self.intercept).astype(np.float32)

    def save(self, prefix: str | Path) -> tuple[Path, Path]:
        """Write `prefix`.safetensors and `prefix`.json; equal models give equal bytes."""
        arrays = common_arrays(self.reducers, self.mask, self.affine)
        arrays |= {f"lstm.{name}": value for name, value in self.network.parameters.items()}
        arrays |= {"readout": self.readout, "intercept": self.intercept}
        content = {
            "schema_version": SCHEMA_VERSION,
            "tr_s": self.tr_s,
            "n_hidden": self.network.n_hidden,
            "n_layers": self.network.n_layers,
            "n_targets": len(self.intercept),
            "spaces": space_facts(self.reducers, self.names),
            "fit": self.card,
        }
        return write_model(prefix, arrays, content)

    @classmethod
    def load(cls, prefix: str | Path) -> "LSTMModel":
        """Read what `save` wrote."""
        content = read_card(prefix)
        if content.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{prefix}.json has schema version {content.get('schema_version')}, expected {SCHEMA_VERSION}: it is "
                "no LSTM model of this version; fit the model again."
            )
        arrays = read_arrays(prefix)
        return cls(
            **common_fields(arrays, content),
            network=LSTMNetwork(
                {
                    name.removeprefix("lstm."): value
                    for name, value in arrays.items()
                    if name.startswith("lstm.")
                }
            ),
            readout=arrays["readout"],
        )


def load_model(prefix: str | Path) -> EncodingModel | LSTMModel:
    """Read a fitted model of either kind."""
    return (LSTMModel if read_card(prefix).get("schema_version") == SCHEMA_VERSION else EncodingModel).load(
        prefix
    )
