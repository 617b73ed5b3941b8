"""A feature series: what an extractor says about a film, window by window."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cinebold.features.rows import StoredRows


@dataclass(frozen=True, eq=False)
class FeatureSeries:
    """Features of one film, at times in film time (seconds; 0 is the start of the container)."""

    #: (n_windows, n_features) float32; while a series is computed for the store, its rows on disk
    values: "np.ndarray | StoredRows"
    times_s: np.ndarray  #: (n_windows,) float64: the reference time of each window
    names: tuple[str, ...]  #: one a column, unique
    pad_fraction: np.ndarray  #: (n_windows,) float32: the share of each window that lies outside the film
    film_duration_s: float
    provenance: dict[str, Any] = field(default_factory=dict)  #: JSON-able: all that the values depend on

    def __post_init__(self) -> None:
        n_windows, n_features = self.values.shape
        if (
            self.times_s.shape != (n_windows,)
            or self.pad_fraction.shape != (n_windows,)
            or len(self.names) != n_features
        ):
            raise ValueError(
                f"A feature series of {n_windows} windows and {n_features} columns has "
                f"{self.times_s.shape} times, {self.pad_fraction.shape} pad fractions "
                f"and {len(self.names)} names."
            )
