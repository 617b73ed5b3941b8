"""Feature spaces to scaled principal component scores, learned on training rows only."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cinebold.errors import InputError

#: Components with less than this share of the first one's variance are rounding errors.
_RANK_TOLERANCE = 1e-10
#: A feature varies less than this share of its size: rounding errors.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class SpaceReducer:
    """One feature space's way to the columns of the model: scores = ((x - mean) / scale) @ components.T."""

    mean: np.ndarray  #: (n_features,)
    scale: np.ndarray  #: (n_features,) 1 where a feature is constant
    components: np.ndarray | None  #: (n_components, n_features) orthonormal rows; None: no PCA
    explained_variance_ratio: (
        np.ndarray
    )  #: (n_components,) of the scaled features' variance; empty without PCA
    unit: float  #: root of the scores' total variance on the training rows
    by_volume: bool = False  #: each volume's features are first z-scored across the features

    @property
    def n_components(self) -> int:
        return len(self.mean) if self.components is None else len(self.components)

    def scores(self, features: np.ndarray, has_film: np.ndarray | None = None) -> np.ndarray:
        """(n_samples, n_components) scores, zero where there is no film."""
        x = np.asarray(features, dtype=np.float64)
        reduced = ((_across_features(x) if self.by_volume else x) - self.mean) / self.scale
        if self.components is not None:
            reduced = reduced @ self.components.T
        if has_film is not None:
            reduced[~np.asarray(has_film, dtype=bool)] = 0
        return reduced


def check_features(reducers: Mapping[str, SpaceReducer], features: Mapping[str, np.ndarray]) -> None:
    """Refuse features of a run, (n_volumes, n_features) of each space, that are not those that a model knows."""
    missing = [space for space in reducers if space not in features]
    if missing:
        raise InputError(
            f"The model needs the feature spaces {', '.join(reducers)}; missing: {', '.join(missing)}."
        )
    for space, reducer in reducers.items():
        shape = np.shape(features[space])
        if len(shape) != 2 or shape[1] != len(reducer.mean):
            raise InputError(
                f"The model needs {len(reducer.mean)} features of {space} a volume, got shape {shape}."
            )


def fit_reducer(
    features: np.ndarray, pca: float | None, standardise: str = "features", name: str = "space"
) -> SpaceReducer:
    """Learn scale and principal components of one feature space on its training rows.

    `standardise` "features" brings every feature to unit variance over the rows, "volumes" every row to mean 0 and
    unit variance across its features (the axis of the 2021 project), "none" neither. `pca` below 1 keeps the fewest
    components that carry this share of the variance, else this number (at most the rank). With neither scaling nor
    PCA features pass as they are, so that a category code stays one. The sign of a component makes its loading of
    the largest magnitude positive.

    A space of one column that never changes while a film is shown says that a film is shown: its scores are 1, and 0
    where there is none, whatever `standardise` and `pca`.

    Parameters
    ----------
    features : (n_samples, n_features) of the training rows with a film
    """
    x = np.asarray(features, dtype=np.float64)
    n_samples, n_features = x.shape
    if n_samples < 2:
        raise InputError(
            f"Feature space {name} has {n_samples} training rows with a film, expected at least two."
        )
    if not np.isfinite(x).all():
        raise InputError(
            f"Feature space {name} holds values that are not finite: extract its features again."
        )
    if n_features == 1 and x[0, 0] and np.ptp(x) <= _CONSTANT * abs(x[0, 0]):
        return SpaceReducer(np.zeros(1), x[0].copy(), None, np.zeros(0), unit=1.0)
    by_volume = standardise == "volumes"
    if by_volume:
        x = _across_features(x)
    learn = standardise != "none" or pca is not None
    mean = x.mean(axis=0) if learn else np.zeros(n_features)
    centred = x - x.mean(axis=0)
    deviation = centred.std(axis=0)
    constant = deviation <= _CONSTANT * np.maximum(np.abs(x).max(axis=0), np.finfo(float).tiny)
    if constant.all():
        raise InputError(
            f"Every feature of space {name} is constant over the training rows: there is nothing to fit."
        )
    scale = np.where(constant, 1.0, deviation) if standardise == "features" else np.ones(n_features)
    centred[:, constant] = 0
    centred /= scale
    total = np.einsum("ij,ij->", centred, centred) / n_samples
    if pca is None:
        return SpaceReducer(mean, scale, None, np.zeros(0), float(np.sqrt(total)), by_volume)
    components, variances = _principal_components(centred)
    ratio = variances / total
    n_kept = int(pca) if pca >= 1 else int(np.searchsorted(np.cumsum(ratio), pca, side="right")) + 1
    n_kept = min(n_kept, len(components))
    unit = float(np.sqrt(variances[:n_kept].sum()))
    return SpaceReducer(mean, scale, components[:n_kept], ratio[:n_kept], unit, by_volume)


def _across_features(x: np.ndarray) -> np.ndarray:
    """Each row to mean 0 and variance 1 (ddof 0); 0 where its features are all equal."""
    centred = x - x.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)


def columns_of_spaces(n_components: Mapping[str, int], n_delays: int) -> dict[str, np.ndarray]:
    """Which columns are each space's, where delays are outermost, then spaces, then components.

    >>> columns_of_spaces({"a": 1, "b": 2}, 2)
    {'a': array([0, 3]), 'b': array([1, 2, 4, 5])}
    """
    of_space = np.repeat(np.arange(len(n_components)), list(n_components.values()))
    return {
        space: np.flatnonzero(np.tile(of_space, n_delays) == index)
        for index, space in enumerate(n_components)
    }


def _principal_components(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components (rows, by falling variance, none beyond the rank) and their variances (ddof 0)."""
    n_samples, n_features = centred.shape
    # The smaller of the two Gram matrices has the same non-zero eigenvalues.
    if n_features <= n_samples:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        components = vectors.T[::-1]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        components = (centred.T @ vectors).T[::-1]
    values = values[::-1]
    kept = values > _RANK_TOLERANCE * values[0]
    components = components[kept]
    components = components / np.linalg.norm(components, axis=1, keepdims=True)
    strongest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(components)), strongest])[:, np.newaxis]
    return np.ascontiguousarray(components), values[kept] / n_samples
