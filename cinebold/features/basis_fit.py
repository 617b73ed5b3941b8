"""Incremental principal components of the windows of training films, which stream by in batches."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cinebold.design.loadings import with_fixed_sign
from cinebold.errors import InputError, SettingError
from cinebold.features.basis import Basis, plain, write_basis
from cinebold.features.bins import BinAverage
from cinebold.features.extraction import extract_features
from cinebold.features.reduction import WrappedNetwork, checked_network
from cinebold.files import file_sha256
from cinebold.video.decoding import FilmInfo, check_is_content, probe_film

#: Windows that are learned from together, at least; never fewer than twice the components.
FEWEST_TOGETHER = 64
#: Float64 numbers that a fit holds at its peak, for each input and each row of the matrix that is decomposed; measured.
_NUMBERS = 8
#: Components with a smaller share of the first one's variance are rounding noise.
_SMALLEST_SHARE = 1e-10


def fit_basis(
    films: Sequence[str | Path],
    extractor: Any,
    n_components: int,
    out: str | Path,
    *,
    n_threads: int = 1,
    progress: bool = False,
    memory_mb: float = 4096,
) -> Basis:
    """Fit the principal components of a network's windows on training films, and write them.

    By scikit-learn's IncrementalPCA (Ross et al. 2008) on batches of windows, film after film in the order of their
    SHA-256, so that neither their names nor their order matter; each component's largest loading is positive.

    Parameters
    ----------
    extractor : as `create_extractor` gives it, of a network, without a basis
    n_components : fewer are kept, with a warning, where the windows have fewer directions
    out : the .safetensors file
    memory_mb : more than this may not be needed for the fit, the network not counted

    Raises
    ------
    SettingError, InputError
        The components are too many for the films, the layer or the memory; a film cannot be used, is named twice, or
        gives numbers that are not finite; all windows are the same.
    """
    from sklearn.decomposition import IncrementalPCA

    network = checked_network(extractor)
    if Path(out).suffix != ".safetensors":
        raise SettingError(f"A basis is written to a file .safetensors; found {out}.")
    n_together = max(2 * n_components, FEWEST_TOGETHER)
    n_inputs = network.n_columns
    _check_components(n_components, n_inputs)
    _check_memory(n_components, n_together, n_inputs, memory_mb)
    by_hash = _hashed(films)
    n_windows = sum(_n_rows(network, probe_film(film)) for film in by_hash.values())
    if n_components > n_windows:
        raise SettingError(
            f"A basis needs as many windows as components or more: {n_components} components are asked for, and the "
            f"films have {n_windows} windows; take more films or fewer components."
        )
    learner = _Learner(IncrementalPCA(n_components, copy=False), n_together, n_inputs)
    for film in by_hash.values():
        extract_features(
            film,
            {"film": _NumberedColumns(network)},
            n_threads=n_threads,
            progress=progress,
            partials={"film": _RowsOfFilm(learner, film)},
        )
    learner.learn()
    pca = learner.pca
    n_kept = int((pca.explained_variance_ > _SMALLEST_SHARE * pca.explained_variance_[0]).sum())
    if not n_kept:
        raise InputError(
            "A basis needs windows that differ from each other; all windows of these films are the same."
        )
    if n_kept < n_components:
        warnings.warn(
            f"the windows have {n_kept} independent directions: the basis has as many components, not {n_components}",
            stacklevel=2,
        )
    about = {
        "extractor": plain(network.fingerprint()),
        "films": list(by_hash),
        "n_components": n_kept,
        "n_windows": int(pca.n_samples_seen_),
        "n_windows_together": n_together,
        "explained_variance": pca.explained_variance_[:n_kept].tolist(),
        "explained_variance_ratio": pca.explained_variance_ratio_[:n_kept].tolist(),
    }
    return write_basis(out, with_fixed_sign(pca.components_[:n_kept]), pca.mean_, about)


def _check_components(n_components: int, n_inputs: int) -> None:
    if not 1 <= n_components <= n_inputs:
        raise SettingError(
            f"A basis has from 1 to as many components as a window has numbers, which are {n_inputs} here; found "
            f"{n_components}."
        )


def _check_memory(n_components: int, n_together: int, n_inputs: int, memory_mb: float) -> None:
    needed_mb = 8 * _NUMBERS * (n_components + n_together + 1) * n_inputs / 2**20
    if needed_mb > memory_mb:
        raise SettingError(
            f"{n_components} components of {n_inputs:,} numbers a window need about {needed_mb:,.0f} MB, and "
            f"{memory_mb:,.0f} MB may be used: set n_projected (for example 4096), so that windows are projected "
            "first, ask for fewer components, or allow more memory."
        )


def _hashed(films: Sequence[str | Path]) -> dict[str, Path]:
    """The films by their SHA-256, in its order."""
    found: dict[str, Path] = {}
    for film in map(Path, films):
        check_is_content(film)
        sha256 = file_sha256(film)
        if sha256 in found:
            raise SettingError(f"A basis counts each film once, and {film} is the same as {found[sha256]}.")
        found[sha256] = film
    return dict(sorted(found.items()))


def _n_rows(network: Any, info: FilmInfo) -> int:
    windows = network.windows(info)
    if windows.bin_s is None:
        return len(windows.times_s)
    return len(BinAverage(windows.bin_s, info.duration_s, 1).times_s)


class _NumberedColumns(WrappedNetwork):
    """Names of millions of columns are not made."""

    def column_names(self) -> Any:
        return range(self.network.n_columns)


class _Learner:
    """Collects windows into batches, from which the components are learned; a batch may hold two films' windows."""

    def __init__(self, pca: Any, n_together: int, n_inputs: int) -> None:
        self.pca = pca
        self._batch = np.empty((n_together, n_inputs))
        self._n_waiting = 0

    def add(self, values: np.ndarray) -> None:
        """(n, n_inputs) windows."""
        while len(values):
            n_taken = min(len(values), len(self._batch) - self._n_waiting)
            self._batch[self._n_waiting : self._n_waiting + n_taken] = values[:n_taken]
            self._n_waiting += n_taken
            values = values[n_taken:]
            if self._n_waiting == len(self._batch):
                self.learn()

    def learn(self) -> None:
        """From the windows that wait; with one thread, so that the bytes do not depend on their number."""
        from threadpoolctl import threadpool_limits

        if self._n_waiting:
            with threadpool_limits(1, user_api="blas"), np.errstate(invalid="ignore", divide="ignore"):
                self.pca.partial_fit(self._batch[: self._n_waiting], check_input=False)
            self._n_waiting = 0


class _RowsOfFilm:
    """Rows of a film that are learned from and forgotten; see `cinebold.features.rows.Rows`."""

    def __init__(self, learner: _Learner, film: Path) -> None:
        self.n_done, self.state = 0, b""
        self._learner, self._film = learner, film
        self._shape = (0, 0)

    def begin(self, names: Sequence[str], partition: Mapping[str, Any]) -> None:
        """No row is kept."""
        self._shape = (0, len(names))

    def append(self, values: np.ndarray, n_done: int, state: bytes = b"") -> None:
        """The next rows."""
        if not np.isfinite(values).all():
            raise InputError(
                f"{self._film}: the network gives numbers that are not finite; check its weights and precision."
            )
        self._learner.add(values)
        self._shape = (self._shape[0] + len(values), self._shape[1])

    def values(self) -> np.ndarray:
        """Zeros that take no memory."""
        return np.broadcast_to(np.float32(0), self._shape)
