r"""The held-out loss of banded ridge at penalties of each voxel's own, with its gradient and Hessian.

Notation and solutions are `banded_systems`'.

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
from cinebold.encoding.solvers.banded_systems import Accuracy, SpaceBasis, conjugate_gradients, dot
from cinebold.encoding.statistics import CentredStatistics


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
        products = np.stack([dot(image, e) for image in images]).astype(np.float64)
        squares = 2 * np.stack([dot(image, state.image) for image in images]).astype(np.float64)
        test_gram = fold.test_gram.astype(dtype, copy=False)
        for k, own in enumerate(spaces):
            slope = dot(of_adjoint[own], state.solution[own])
            gradient[k] += slope
            hessian[k, k] -= slope
            image = test_gram @ images[k]
            for other, tangent in enumerate(own_tangents):
                mixed = dot(of_adjoint[own], tangent[own])
                hessian[k, other] += mixed
                hessian[other, k] += mixed
                hessian[k, other] += (
                    2 * by_q * dot(image, images[other]) + by_qq * squares[k] * squares[other]
                )
                hessian[k, other] += by_pq * (products[k] * squares[other] + products[other] * squares[k])
        adjoints.append(adjoint)
        tangents.append(np.stack(own_tangents))
    return Derivatives(gradient, hessian, adjoints, tangents)


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
