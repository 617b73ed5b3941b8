r"""Banded ridge at penalties of each voxel's own: its weights, its held-out score, and that score's derivatives.

With delta_k = log(gamma_k / alpha) of each space (the parameters of Dupre la Tour et al., 2022), the weights of a
voxel solve

    (G + D) w = c,    D = u_k exp(-delta_k) on the columns of space k,

and all is done for many voxels at once by conjugate gradients, one product of G with a block of voxels an
iteration. In the eigenbasis of every G_kk the diagonal blocks of G are diagonal, L. With m = (L + D)^(-1/2) and O =
G - L, what couples the spaces, the system becomes

    (I + m O m) y = m c,    w = m y:

a voxel with one space, or with uncorrelated spaces, is solved before the first iteration, whatever its penalty.

The loss E (the held-out squared error over y'y, or minus r, pooled over the folds) is a function of p = e'w and q =
w'Hw of each fold, with e and H the X'y and X'X of its test rows. By implicit differentiation, w_k = dw / d delta_k =
(G + D)^-1 D_k w, so that with the adjoint (G + D) u = dE/dw

    dE / d delta_k = sum over folds of u' D_k w = sum of (1 - L m^2) (y_u * y)  over the columns of k,

and, as (G + D) w_kl = D_k w_l + D_l w_k - [k = l] D_k w, the Hessian needs no more than the w_k, one solution a space:

    u' (D_k w_l + D_l w_k - [k = l] D_k w) + 2 E_q w_k'H w_l + E_pq (p_k q_l + p_l q_k) + E_qq q_k q_l.

Bengio (2000), Neural Computation 12; Pedregosa (2016), ICML.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinebold.encoding.scores import HeldOutSums
from cinebold.encoding.statistics import CentredStatistics


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


class BandedFold:
    """An inner fold for some voxels, in the basis of its training rows.

    Parameters
    ----------
    basis : of the training rows
    test_gram : (n_columns, n_columns) of the test rows, in that basis
    train, test : statistics of a tile
    targets : which of its voxels
    """

    def __init__(
        self,
        basis: SpaceBasis,
        test_gram: np.ndarray,
        train: CentredStatistics,
        test: CentredStatistics,
        targets: np.ndarray,
    ) -> None:
        self.basis, self.test_gram = basis, test_gram
        self.c, self.e = basis.rotate(train.cross[:, targets]), basis.rotate(test.cross[:, targets])
        self.n, self.total = test.n, test.total[targets]


@dataclass
class FoldState:
    """A fold's solution at some deltas."""

    roots: np.ndarray  #: m
    solution: np.ndarray  #: y, w = m y
    image: np.ndarray  #: H w
    sums: HeldOutSums

    def of(self, targets: np.ndarray) -> "FoldState":
        """That of some of the voxels."""
        sums = HeldOutSums(
            self.sums.n,
            self.sums.response_squared[targets],
            self.sums.product[targets],
            self.sums.prediction_squared[targets],
        )
        return FoldState(self.roots[:, targets], self.solution[:, targets], self.image[:, targets], sums)


def solve_fold(
    fold: BandedFold,
    deltas: np.ndarray,
    targets: np.ndarray,
    start: np.ndarray | None,
    accuracy: Accuracy,
) -> FoldState:
    """The solution for some of the fold's voxels, and the sums of its held-out rows."""
    dtype = accuracy.dtype
    roots = fold.basis.roots(deltas).astype(dtype)
    right = roots * fold.c[:, targets].astype(dtype)
    coupling = fold.basis.coupling.astype(dtype, copy=False)
    solution, _ = conjugate_gradients(coupling, roots, right, start, accuracy)
    weights = roots * solution
    image = fold.test_gram.astype(dtype, copy=False) @ weights
    product = np.einsum("pv,pv->v", weights, fold.e[:, targets].astype(dtype), dtype=np.float64)
    squared = np.einsum("pv,pv->v", weights, image, dtype=np.float64)
    sums = HeldOutSums(fold.n, fold.total[targets], product, np.maximum(squared, 0))
    return FoldState(roots, solution, image, sums)


@dataclass
class Derivatives:
    """Derivatives of the loss by the deltas, and the solutions that gave them."""

    gradient: np.ndarray  #: (n_spaces, n_targets)
    hessian: np.ndarray  #: (n_spaces, n_spaces, n_targets)
    adjoints: list[np.ndarray]  #: of each fold
    tangents: list[
        np.ndarray
    ]  #: of each fold, y_k of dw / d delta_k = m y_k, (n_spaces, n_columns, n_targets)


def loss_derivatives(
    folds: Sequence[BandedFold],
    states: Sequence[FoldState],
    targets: np.ndarray,
    starts: Sequence[tuple[np.ndarray, np.ndarray]] | None,
    scoring: str,
    accuracy: Accuracy,
    of_hessian: Accuracy,
) -> Derivatives:
    """Gradient and Hessian of the loss; `starts` are adjoints and tangents of each fold to start from."""
    n_spaces, dtype = len(folds[0].basis.rotations), accuracy.dtype
    gradient, hessian = np.zeros((n_spaces, len(targets))), np.zeros((n_spaces, n_spaces, len(targets)))
    adjoints, tangents = [], []
    partials = _PARTIALS[scoring]([state.sums for state in states])
    for index, (fold, state, (by_p, by_q, by_pq, by_qq)) in enumerate(
        zip(folds, states, partials, strict=True)
    ):
        start = (None, None) if starts is None else starts[index]
        coupling = fold.basis.coupling.astype(dtype, copy=False)
        spaces = [own for own, _ in fold.basis.rotations]
        e = fold.e[:, targets].astype(dtype)
        right = state.roots * (by_p.astype(dtype) * e + (2 * by_q).astype(dtype) * state.image)
        adjoint, _ = conjugate_gradients(coupling, state.roots, right, start[0], accuracy)
        penalised = 1 - fold.basis.values.astype(dtype)[:, np.newaxis] * state.roots**2  # m D m
        of_adjoint = penalised * adjoint
        own_tangents, images = [], []
        for space, own in enumerate(spaces):
            right = np.zeros_like(adjoint)
            right[own] = penalised[own] * state.solution[own]
            near = None if start[1] is None else start[1][space]
            tangent, _ = conjugate_gradients(coupling, state.roots, right, near, of_hessian)
            own_tangents.append(tangent)
            images.append(state.roots * tangent)
        products = np.stack([_dot(image, e) for image in images]).astype(np.float64)
        squares = 2 * np.stack([_dot(image, state.image) for image in images]).astype(np.float64)
        test_gram = fold.test_gram.astype(dtype, copy=False)
        for k, own in enumerate(spaces):
            slope = _dot(of_adjoint[own], state.solution[own])
            gradient[k] += slope
            hessian[k, k] -= slope
            image = test_gram @ images[k]
            for other, tangent in enumerate(own_tangents):
                mixed = _dot(of_adjoint[own], tangent[own])
                hessian[k, other] += mixed
                hessian[other, k] += mixed
                hessian[k, other] += (
                    2 * by_q * _dot(image, images[other]) + by_qq * squares[k] * squares[other]
                )
                hessian[k, other] += by_pq * (products[k] * squares[other] + products[other] * squares[k])
        adjoints.append(adjoint)
        tangents.append(np.stack(own_tangents))
    return Derivatives(gradient, hessian, adjoints, tangents)


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
    norm = _dot(residual, residual)
    limit = accuracy.tolerance**2 * _dot(right, right)
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
        curvature = _dot(d, image)
        step = np.divide(norm, curvature, out=np.zeros_like(norm), where=curvature > 0)
        y += step * d
        r -= step * image
        new = _dot(r, r)
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


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("pv,pv->v", first, second)


def _rsquared_partials(sums: Sequence[HeldOutSums]) -> list[tuple[np.ndarray, ...]]:
    """Of E = sum of (q - 2p) / y'y, by p, q, pq and qq."""
    total = sum(fold.response_squared for fold in sums)
    nothing = np.zeros_like(total)
    return [(-2 / total, 1 / total, nothing, nothing)] * len(sums)


def _r_partials(sums: Sequence[HeldOutSums]) -> list[tuple[np.ndarray, ...]]:
    """Of E = -sum of share of rows * p / root(y'y * q), by p, q, pq and qq."""
    n, partials = sum(fold.n for fold in sums), []
    for fold in sums:
        p, q = fold.product, fold.prediction_squared
        scale = np.sqrt(fold.response_squared * q)
        by_p = -np.divide(fold.n / n, scale, out=np.zeros_like(scale), where=scale > 0)
        inverse = np.divide(1.0, q, out=np.zeros_like(q), where=q > 0)
        partials.append((by_p, -by_p * p * inverse / 2, -by_p * inverse / 2, by_p * p * inverse**2 * 0.75))
    return partials


_PARTIALS = {"rsquared": _rsquared_partials, "r": _r_partials}
