"""A basis of principal components for the windows of one extractor, in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.errors import InputError
from cinebold.files import atomic_path, file_sha256
from cinebold.video.decoding import check_is_content

_KEY = "cinebold_basis"  # one entry for all: safetensors does not keep the order of several
_ARRAYS = ("components", "mean")


@dataclass(frozen=True)
class Basis:
    """Principal components of the windows of named films, and all that is known of how they were found.

    Scores are `components @ (window - mean)`: neither scaled nor whitened.
    """

    path: Path
    sha256: str  #: of the file
    extractor: dict[str, Any]  #: the fingerprint of the extractor whose windows it is for
    films: tuple[str, ...]  #: SHA-256 of each film that it was learned from, ascending
    n_windows: int
    n_inputs: int
    explained_variance: tuple[float, ...]  #: of each component, in squared units of the features, descending
    explained_variance_ratio: tuple[float, ...]  #: the share of all variance

    @property
    def n_components(self) -> int:
        """How many numbers a window is reduced to."""
        return len(self.explained_variance)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file

        return load_file(self.path)

    @property
    def components(self) -> np.ndarray:
        """(n_components, n_inputs) float32, orthonormal rows."""
        return self._arrays["components"]

    @property
    def mean(self) -> np.ndarray:
        """(n_inputs,) float32: the mean window."""
        return self._arrays["mean"]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scores (n_windows, n_components) float32 of windows (n_windows, n_inputs) float32.

        A row depends neither on the rows beside it nor on the number of threads, to the byte.
        """
        from threadpoolctl import threadpool_limits

        components, mean = self.components, self.mean
        scores = np.empty((len(values), self.n_components), np.float32)
        with threadpool_limits(1, user_api="blas"):
            for row, window in zip(scores, values, strict=True):
                np.dot(components, window - mean, out=row)
        return scores

    def check_fits(self, fingerprint: Mapping[str, Any]) -> None:
        """Raise InputError unless the basis was fitted with the extractor of this fingerprint."""
        there, here = _flat(self.extractor), _flat(plain(fingerprint))
        differing = sorted(key for key in there | here if there.get(key) != here.get(key))
        if differing:
            key = "extractor" if "extractor" in differing else differing[0]
            raise InputError(
                f"{self.path}: expected a basis of the features that it is to reduce, found one of others: {key} is "
                f"{there.get(key)!r} there and {here.get(key)!r} here; fit another with `cinebold-features fit-basis`."
            )


def plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON makes of it: lists of tuples."""
    return json.loads(json.dumps(content, sort_keys=True))


def write_basis(
    path: str | Path, components: np.ndarray, mean: np.ndarray, about: Mapping[str, Any]
) -> Basis:
    """Write a basis atomically; equal content gives equal bytes.

    Parameters
    ----------
    components, mean : see `Basis`
    about : the other fields of `Basis` that the file holds, as its header
    """
    from safetensors.numpy import save

    arrays = {
        "components": np.ascontiguousarray(components, np.float32),
        "mean": np.ascontiguousarray(mean, np.float32),
    }
    header = json.dumps(about, sort_keys=True, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={_KEY: header}))
    return read_basis(path)


def read_basis(path: str | Path) -> Basis:
    """The basis of a file; its arrays are read when they are asked for.

    Raises
    ------
    InputError
        When there is no such file, or it is no basis.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    check_is_content(path, "a basis of features")
    try:
        with safe_open(path, framework="numpy") as tensors:
            about = json.loads((tensors.metadata() or {})[_KEY])
            shapes = [tuple(tensors.get_slice(name).get_shape()) for name in _ARRAYS]
            n_inputs = shapes[0][1]
            basis = Basis(
                path=path,
                sha256=file_sha256(path),
                extractor=about["extractor"],
                films=tuple(about["films"]),
                n_windows=about["n_windows"],
                n_inputs=n_inputs,
                explained_variance=tuple(about["explained_variance"]),
                explained_variance_ratio=tuple(about["explained_variance_ratio"]),
            )
        if shapes != [(basis.n_components, n_inputs), (n_inputs,)]:
            raise ValueError(f"its arrays have the shapes {shapes}")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{path}: expected a basis of features, found something else or a damaged one ({error}); make it with "
            "`cinebold-features fit-basis`."
        ) from error
    return basis


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by points.

    >>> _flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
