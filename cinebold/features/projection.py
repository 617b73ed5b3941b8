"""Random projection of layers that are too large to keep."""

from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse

#: Entries a column of the projection: more keep single large numbers better, and cost more.
N_ENTRIES = 4


@dataclass(frozen=True)
class SparseProjection:
    """A sparse Johnson-Lindenstrauss transform (Kane & Nelson 2014, block construction), equal for equal numbers.

        y = P x,   P (n_outputs, n_inputs) with 4 entries +-1/2 a column, one in each quarter of the rows

    Squared lengths and inner products are kept on average, with a relative error of about sqrt(2 / n_outputs).
    Nothing is learned: it is the same for every film, and for training and test.
    """

    n_inputs: int
    n_outputs: int  #: at least `N_ENTRIES`
    seed: int = 0

    @cached_property
    def matrix(self) -> "scipy.sparse.csc_array":
        """P, float32: 32 bytes an input."""
        import scipy.sparse

        rng = np.random.default_rng(self.seed)
        edges = np.linspace(0, self.n_outputs, N_ENTRIES + 1).astype(np.int32)
        rows = np.empty((self.n_inputs, N_ENTRIES), np.int32)
        for quarter, (first, last) in enumerate(pairwise(edges)):
            rows[:, quarter] = rng.integers(first, last, self.n_inputs, dtype=np.int32)
        signs = rng.integers(0, 2, rows.size, dtype=np.int8)
        entries = (2 * signs.astype(np.float32) - 1) / np.float32(np.sqrt(N_ENTRIES))
        pointers = np.arange(0, rows.size + 1, N_ENTRIES, dtype=np.int32)
        return scipy.sparse.csc_array(
            (entries, rows.ravel(), pointers), shape=(self.n_outputs, self.n_inputs)
        )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Project (n_windows, n_inputs) float32 to (n_windows, n_outputs) float32; a row depends on itself only."""
        return np.ascontiguousarray((self.matrix @ np.ascontiguousarray(values.T)).T)

    def describe(self) -> dict[str, Any]:
        """For a fingerprint."""
        return {"rule": f"sparse, {N_ENTRIES} entries a column", **asdict(self)}
