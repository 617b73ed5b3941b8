"""What a stored feature series is, without its values."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinebold.errors import InputError


@dataclass(frozen=True)
class FeatureOverview:
    """The size of a series, its film, and what was odd about it."""

    n_windows: int
    n_features: int
    pad_fraction: float  #: mean over the windows of the share that lies outside the film
    film_duration_s: float
    provenance: dict[str, Any]

    @property
    def random_weights(self) -> bool:
        """Whether the features are those of an untrained network."""
        return bool(self.provenance.get("random_weights", False))


def read_overview(path: str | Path) -> FeatureOverview:
    """Read what stands around the values of a series; InputError when the file is damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            provenance = json.loads(file.attrs["provenance"])
            if not isinstance(provenance, dict):
                raise ValueError("its provenance is no object")
            n_windows, n_features = file["values"].shape
            return FeatureOverview(
                n_windows=int(n_windows),
                n_features=int(n_features),
                pad_fraction=float(file["pad_fraction"][()].mean(dtype=float)),
                film_duration_s=float(file.attrs["film_duration_s"]),
                provenance=provenance,
            )
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected a feature file, found a damaged one ({error}); delete it and run again."
        ) from error
