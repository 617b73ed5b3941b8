"""What banded ridge knows before it sees a voxel: the gammas to try, and the Gram matrices decomposed for each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cinebold.encoding.solvers.banded_systems import SpaceBasis
from cinebold.encoding.solvers.ridge_path import gram_root, rising, scoring_of, triangular
from cinebold.errors import SettingError


def gamma_candidates(
    n_spaces: int, n_candidates: int, *, concentrations: Sequence[float] = (0.1, 1.0), seed: int = 0
) -> np.ndarray:
    """Gammas to try, (n_candidates, n_spaces): equal ones, each space alone, then Dirichlet samples.

    Concentrations take turns; small ones prefer few spaces.
    """
    if n_spaces < 1 or n_candidates < 1 or not all(value > 0 for value in concentrations):
        raise SettingError(
            "Candidates need at least one space, at least one candidate and concentrations above 0, got "
            f"{n_spaces}, {n_candidates} and {tuple(concentrations)}."
        )
    rng = np.random.default_rng(seed)
    drawn = [
        rng.dirichlet(np.full(n_spaces, concentrations[index % len(concentrations)]))
        for index in range(n_candidates)
    ]
    fixed = np.concatenate([np.full((1, n_spaces), 1 / n_spaces), np.eye(n_spaces)])
    return np.concatenate([fixed, drawn])[:n_candidates] if n_spaces > 1 else np.ones((1, 1))


class PreparedBands:
    """A training set's Gram matrices, decomposed for every candidate; shared by all tiles and threads.

    The penalty of the columns of space k is

        D_k = alpha / gamma_k * u_k,    u_k = trace(G_kk) / p  (1 where not unit_free)

    so that units of a space and its number of columns do not matter, and one space is plain ridge.

    Parameters
    ----------
    whole : (p, p) centred X'X of all training rows
    folds : centred X'X of the training rows and of the test rows of each inner fold
    columns : indices of the columns of each space; together they are all columns, each once
    alphas : rising
    candidates : (n_candidates, n_spaces) gammas on the simplex (`gamma_candidates`)
    scoring : "rsquared" or "r", what is maximised, pooled over the folds
    unit_free : False: penalties are alpha / gamma_k, as in himalaya
    dtype : of the products that choose; weights and the score of the choice are found in float64 either way
    memory_bytes : decompositions beyond it are not kept, but made again for each tile
    n_threads : how many candidates are decomposed at once
    """

    def __init__(
        self,
        whole: np.ndarray,
        folds: Sequence[tuple[np.ndarray, np.ndarray]],
        columns: Mapping[str, np.ndarray],
        alphas: Sequence[float],
        candidates: np.ndarray,
        *,
        scoring: str = "rsquared",
        unit_free: bool = True,
        dtype: type = np.float64,
        memory_bytes: int = 2**28,
        n_threads: int = 1,
    ) -> None:
        self.space_of = _space_of(columns, len(whole))
        self.n_spaces = len(columns)
        self.candidates = _checked(candidates, self.n_spaces)
        self.alphas = rising(alphas)
        self.score = scoring_of(scoring)
        self.scoring, self.unit_free, self.dtype = scoring, unit_free, dtype
        self.whole, self.folds = whole, list(folds)
        self._roots = [gram_root(test) for _, test in self.folds]
        #: for the refinement: the folds' training rows and, in that basis, X'X of their test rows; all training rows
        self.fold_bases, self.whole_basis = [], self._space_basis(whole)
        for train, test in self.folds:
            basis = self._space_basis(train)
            self.fold_bases.append((basis, basis.rotate(basis.rotate(test).T).T))
        # A basis of the whole, and of each fold a basis and a triangle.
        size = len(whole) ** 2 * (8 + len(self.folds) * (8 + np.dtype(dtype).itemsize))
        kept = range(min(len(self.candidates), int(memory_bytes // size)))
        self._of_folds = dict(zip(kept, in_threads(self._decompose, kept, n_threads), strict=True))
        self._of_whole = dict(zip(kept, in_threads(self._decompose_whole, kept, n_threads), strict=True))

    def of_folds(self, candidate: int) -> list[tuple["Bands", np.ndarray]]:
        """The decomposition of each fold, and the triangle of its test rows in that basis."""
        return self._of_folds.get(candidate) or self._decompose(candidate)

    def of_whole(self, candidate: int) -> "Bands":
        """The decomposition of all training rows."""
        return self._of_whole.get(candidate) or self._decompose_whole(candidate)

    def units(self, gram: np.ndarray) -> np.ndarray:
        """u_k of each space, (n_spaces,); 0 for a space of zeros."""
        if not self.unit_free:
            return np.ones(self.n_spaces)
        return np.bincount(self.space_of, weights=np.diag(gram), minlength=self.n_spaces) / len(gram)

    def _space_basis(self, gram: np.ndarray) -> SpaceBasis:
        return SpaceBasis(gram, self.space_of, self.units(gram))

    def _decompose(self, candidate: int) -> list[tuple["Bands", np.ndarray]]:
        decomposed = []
        for (train, _), root in zip(self.folds, self._roots, strict=True):
            bands = Bands(train, self.space_of, self.candidates[candidate], self.units(train))
            decomposed.append((bands, triangular(root[:, bands.columns] @ bands.basis).astype(self.dtype)))
        return decomposed

    def _decompose_whole(self, candidate: int) -> "Bands":
        return Bands(self.whole, self.space_of, self.candidates[candidate], self.units(self.whole))


class Bands:
    """Ridge on columns scaled by a candidate, in the basis in which it is diagonal."""

    def __init__(self, gram: np.ndarray, space_of: np.ndarray, gamma: np.ndarray, units: np.ndarray) -> None:
        scale = np.divide(gamma, units, out=np.zeros_like(gamma), where=units > 0)[space_of]
        self.columns = np.flatnonzero(scale > 0)
        root = np.sqrt(scale[self.columns])
        scaled = root[:, np.newaxis] * gram[np.ix_(self.columns, self.columns)] * root
        values, vectors = np.linalg.eigh(scaled)
        usable = values > len(values) * np.finfo(np.float64).eps * max(values.max(initial=0), 0)
        self.values = values[usable]
        #: (n_columns, n_directions): weights of the columns at one unit of each direction
        self.basis = root[:, np.newaxis] * vectors[:, usable]

    def rotate(self, cross: np.ndarray) -> np.ndarray:
        """X'Y in the basis, (n_directions, n_targets)."""
        every = len(self.columns) == len(cross)
        return self.basis.T @ (cross if every else cross[self.columns])

    def shrinkage(self, alphas: np.ndarray) -> np.ndarray:
        """1 / (L + alpha), (n_alphas, n_directions)."""
        return 1.0 / (self.values + np.asarray(alphas)[:, np.newaxis])


def in_threads(work: Callable, tasks: Iterable, n_threads: int, progress: bool = False) -> Iterator:
    """Results in the order of the tasks, each done by one thread alone; in this thread where it is one."""
    tasks = list(tasks)
    if n_threads == 1 and not progress:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(n_threads) as threads:
        done = threads.map(work, tasks)
        if progress:
            from tqdm import tqdm

            done = tqdm(done, total=len(tasks), desc="banded ridge", unit="candidate")
        yield from done


def _space_of(columns: Mapping[str, np.ndarray], n_columns: int) -> np.ndarray:
    indices = [np.asarray(own, dtype=np.int64) for own in columns.values()]
    listed = np.concatenate(indices) if indices else np.empty(0, dtype=np.int64)
    if any(not len(own) for own in indices) or not np.array_equal(np.sort(listed), np.arange(n_columns)):
        raise SettingError(
            f"The columns of the spaces must name each of {n_columns} columns once, and every space at least "
            f"one; got {[len(own) for own in indices]} columns."
        )
    space_of = np.empty(n_columns, dtype=np.int64)
    for space, own in enumerate(indices):
        space_of[own] = space
    return space_of


def _checked(candidates: np.ndarray, n_spaces: int) -> np.ndarray:
    candidates = np.asarray(candidates, dtype=np.float64)
    if candidates.ndim != 2 or candidates.shape[1] != n_spaces or not len(candidates):
        raise SettingError(
            f"candidates must have the shape (n_candidates, {n_spaces}), got {candidates.shape}."
        )
    if (candidates < 0).any() or not np.allclose(candidates.sum(axis=1), 1):
        raise SettingError("Each candidate's gammas must not be negative and must sum to 1.")
    return candidates
