r"""How small the held-out error can still become further down a LASSO path: what ends the search for alpha early.

With G, n the training X'X and rows, v the least-squares solution, and w_a the LASSO solution at the penalty a, the
optimality conditions at a = t b, 0 <= t <= 1, and at b, where the path stands, give in the norm of G

.. math:: |w_a - v|^2 \le n a (|v|_1 - |w_a|_1), \quad |w_a - w_b|^2 \le n (b - a) (|w_a|_1 - |w_b|_1).

Weighted by 1 - t and t the unknown l1 norm drops out, and w_a lies in a ball around a point between v and w_b:

.. math:: |w_a - c_t|^2 \le t (1 - t) D, \quad c_t = (1 - t) v + t w_b, \quad D = n b |v|_1 - |v|^2 + v'Gw_b .

D is 0 once the signs of w_b are those of v: the rest of the path is a straight line. The held-out error E(w) = w'Hw -
2w'e, with m the least eigenvalue of G^{-1}H, is in such a ball of radius r at least

.. math:: E(c_t) - r g_t + m r^2, \quad g_t = (1 - t) g(v) + t g(w_b), \quad g(w) = 2 |G^{-1/2} (Hw - e)| .

Each fold has its own ball; the sum over folds bounds the pooled error, and leaves out alphas, never the best one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from cinebold.encoding.statistics import CentredStatistics

#: Columns of `Bound.numbers`.
_SQUARED, _ALONG, _L1, _NORM, _SLOPE, _E_NORM = range(6)


@dataclass(frozen=True)
class Bound:
    """What the bound needs of each fold beside the path."""

    grams: np.ndarray  #: (n_folds, n_features, n_features), H G^-1 H
    images: tuple[np.ndarray, ...]  #: Hv, (n_features, n_targets)
    crosses: tuple[np.ndarray, ...]  #: H G^-1 e, (n_features, n_targets)
    numbers: np.ndarray  #: (n_folds, n_targets, 6): v'Hv, v'e, |v|_1, v'Gv, g(v), e'G^-1 e
    least: np.ndarray  #: (n_folds,), the least eigenvalue of G^-1 H


def prepare_bound(training: Sequence[CentredStatistics], held_out: Sequence[CentredStatistics]) -> Bound:
    """The fixed parts of the bound; the training Gram matrices must have full rank."""
    from scipy.linalg import eigvalsh

    grams, images, crosses, numbers, least = [], [], [], [], []
    for train, test in zip(training, held_out, strict=True):
        inverse = np.linalg.inv(train.gram)
        solution = inverse @ train.cross
        image = test.gram @ solution
        shrunk = inverse @ test.cross  # G^-1 e
        cross = test.gram @ shrunk
        e_norm = _columnwise(test.cross, shrunk)
        slope = _columnwise(image, inverse @ image - 2 * shrunk) + e_norm
        grams.append(test.gram @ inverse @ test.gram)
        images.append(image)
        crosses.append(cross)
        numbers.append(
            [
                _columnwise(solution, image),
                _columnwise(solution, test.cross),
                np.abs(solution).sum(axis=0),
                _columnwise(solution, train.cross),
                2 * np.sqrt(np.maximum(slope, 0)),
                e_norm,
            ]
        )
        least.append(max(eigvalsh(test.gram, train.gram, subset_by_index=[0, 0])[0], 0.0))
    stacked = np.ascontiguousarray(np.moveaxis(np.array(numbers), 1, 2))
    return Bound(np.stack(grams), tuple(images), tuple(crosses), stacked, np.array(least))


def _columnwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The scalar product of each column of a with that of b."""
    return np.einsum("jv,jv->v", a, b)


@numba.njit(nogil=True, error_model="numpy", cache=False)
def least_error(numbers, least, path, lane, target, share):  # type: ignore[no-untyped-def]
    """The bound at the penalty t b = `share` * b.

    Parameters
    ----------
    numbers, least : as in `Bound`
    path : (n_lanes, n_folds, 5), w'Hw, w'e, w'Hv, g(w) and D of each fold where the paths stand
    """
    error = 0.0
    rest = 1.0 - share
    for fold in range(len(least)):
        squared = (
            rest * rest * numbers[fold, target, _SQUARED]
            + 2.0 * share * rest * path[lane, fold, 2]
            + share * share * path[lane, fold, 0]
        )
        along = rest * numbers[fold, target, _ALONG] + share * path[lane, fold, 1]
        radius = np.sqrt(share * rest * path[lane, fold, 4])
        slope = rest * numbers[fold, target, _SLOPE] + share * path[lane, fold, 3]
        # The quadratic's own minimum where the ball reaches beyond it.
        if 2.0 * least[fold] * radius > slope:
            radius = slope / (2.0 * least[fold])
        error += squared - 2.0 * along - radius * (slope - least[fold] * radius)
    return error


@numba.njit(nogil=True, error_model="numpy", cache=False)
def none_below(numbers, least, path, lane, target, penalties, step, weakest, best):  # type: ignore[no-untyped-def]
    """Whether no penalty after `step` can have an error below `best`; -1 if so, else the first step that can.

    `weakest` is the step that could the last time: it is looked at first.
    """
    if weakest > step:
        share = penalties[target, weakest] / penalties[target, step]
        if least_error(numbers, least, path, lane, target, share) < best:
            return weakest
    for later in range(step + 1, penalties.shape[1]):
        share = penalties[target, later] / penalties[target, step]
        if least_error(numbers, least, path, lane, target, share) < best:
            return later
    return -1


@numba.njit(nogil=True, error_model="numpy", cache=False)
def ball(numbers, fold, target, n_samples, penalty, fitted, slack):  # type: ignore[no-untyped-def]
    """D of one fold; `fitted` is w'X'y / n, `slack` what rounding and an open duality gap may add."""
    spread = n_samples * (penalty * numbers[fold, target, _L1] + fitted) - numbers[fold, target, _NORM]
    return max(spread, 0.0) + slack


@numba.njit(nogil=True, error_model="numpy", cache=False)
def slope_at(numbers, fold, target, along, squared):  # type: ignore[no-untyped-def]
    """g(w) from w'HG^-1e and w'HG^-1Hw."""
    return 2.0 * np.sqrt(max(squared - 2.0 * along + numbers[fold, target, _E_NORM], 0.0))
