r"""Weights of banded ridge at penalties of each voxel's own, by conjugate gradients for many voxels at once.

With delta_k = log(gamma_k / alpha) of each space (the parameters of Dupre la Tour et al., 2022), the weights of a
voxel solve

    (G + D) w = c,    D = u_k exp(-delta_k) on the columns of space k,

and all is done for many voxels at once by conjugate gradients, one product of G with a block of voxels an
iteration. In the eigenbasis of every G_kk the diagonal blocks of G are diagonal, L. With m = (L + D)^(-1/2) and O =
G - L, what couples the spaces, the system becomes

    (I + m O m) y = m c,    w = m y:

a voxel with one space, or with uncorrelated spaces, is solved before the first iteration, whatever its penalty.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Accuracy:
    """How well systems are solved."""

    tolerance: float  #: norm of the residual over that of the right-hand side at which a target is done
    max_iterations: int
    dtype: type = np.float64


WEIGHT_ACCURACY = Accuracy(1e-11, 500)


class SpaceBasis:
    """A Gram matrix in the eigenbasis of each space's own block.

    Parameters
    ----------
    gram : (n_columns, n_columns)
    space_of : (n_columns,) space of each column
    units : (n_spaces,) u_k; a space whose unit is 0 has no weights
    """

    def __init__(self, gram: np.ndarray, space_of: np.ndarray, units: np.ndarray) -> None:
        self.space_of, self.units = space_of, units
        self.rotations = []  #: columns of each space, and its eigenvectors
        self.values = np.zeros(len(gram))
        for space in range(len(units)):
            own = np.flatnonzero(space_of == space)
            values, vectors = np.linalg.eigh(gram[np.ix_(own, own)])
            self.rotations.append((own, vectors))
            self.values[own] = np.maximum(values, 0)
        coupling = self.rotate(self.rotate(gram).T).T
        for own, _ in self.rotations:
            coupling[np.ix_(own, own)] = 0
        self.coupling = (coupling + coupling.T) / 2

    def rotate(self, rows: np.ndarray) -> np.ndarray:
        """Rows of columns, (n_columns, n_targets), into the basis."""
        result = np.empty(rows.shape)
        for own, vectors in self.rotations:
            result[own] = vectors.T @ rows[own]
        return result

    def back(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the basis to columns."""
        result = np.empty(rows.shape)
        for own, vectors in self.rotations:
            result[own] = vectors @ rows[own]
        return result

    def roots(self, deltas: np.ndarray) -> np.ndarray:
        """m = (L + D)^(-1/2), (n_columns, n_targets), of deltas (n_spaces, n_targets); 0 where D is infinite."""
        with np.errstate(divide="ignore"):
            penalties = np.where(self.units > 0, self.units, np.inf)[:, np.newaxis] * np.exp(-deltas)
            return 1.0 / np.sqrt(self.values[:, np.newaxis] + penalties[self.space_of])


def conjugate_gradients(
    coupling: np.ndarray,
    roots: np.ndarray,
    right: np.ndarray,
    start: np.ndarray | None,
    accuracy: Accuracy,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve (I + m O m) y = b, one system a target, until |residual| <= tolerance * |b| for each.

    A target that is done is not touched again: its solution does not depend on the others.

    Parameters
    ----------
    coupling : (n_columns, n_columns) O, symmetric
    roots, right : (n_columns, n_targets) m and b
    start : y to start from; None: b

    Returns
    -------
    y (n_columns, n_targets), and which targets are not done (n_targets,)
    """
    solution = right.copy() if start is None else start.copy()
    residual = right - solution - roots * (coupling @ (roots * solution))
    norm = dot(residual, residual)
    limit = accuracy.tolerance**2 * dot(right, right)
    waiting = np.flatnonzero(norm > limit)
    undone = np.zeros(right.shape[1], dtype=bool)
    undone[waiting] = True
    y, r, m, norm = solution[:, waiting], residual[:, waiting], roots[:, waiting], norm[waiting]
    d = r.copy()
    for _ in range(accuracy.max_iterations):
        if not len(waiting):
            break
        image = coupling @ (m * d)
        image *= m
        image += d
        curvature = dot(d, image)
        step = np.divide(norm, curvature, out=np.zeros_like(norm), where=curvature > 0)
        y += step * d
        r -= step * image
        new = dot(r, r)
        done = (new <= limit[waiting]) & undone[waiting]
        if done.any():
            solution[:, waiting[done]] = y[:, done]
            undone[waiting[done]] = False
        d *= np.divide(new, norm, out=np.zeros_like(norm), where=norm > 0)
        d += r
        norm = new
        left = undone[waiting]
        if left.mean() < 0.75:
            waiting, norm = waiting[left], norm[left]
            y, r, m, d = (rows[:, left] for rows in (y, r, m, d))
    left = undone[waiting]
    solution[:, waiting[left]] = y[:, left]
    return solution, undone


def solve_weights(basis: SpaceBasis, cross: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Weights (n_columns, n_targets) at deltas (n_spaces, n_targets), X'Y being `cross`.

    Systems that the iterations do not solve, as of spaces that are nearly the same, are solved one by one.
    """
    roots = basis.roots(deltas)
    right = roots * basis.rotate(cross)
    solution, undone = conjugate_gradients(basis.coupling, roots, right, None, WEIGHT_ACCURACY)
    for target in np.flatnonzero(undone):
        m = roots[:, target]
        system = m[:, np.newaxis] * basis.coupling * m
        system[np.diag_indices_from(system)] += 1
        solution[:, target] = np.linalg.solve(system, right[:, target])
    return basis.back(roots * solution)


def dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of the columns, (n_targets,)."""
    return np.einsum("pv,pv->v", first, second)
