"""LASSO at one penalty where few weights are not zero: one voxel after another, compiled.

A packet of voxels (`lasso_packet`) updates a coordinate in all its voxels when it changes in one of them. Where each
voxel has a few active weights, and not the same ones, that is nearly every coordinate in every sweep. Here a voxel
stands alone and the vectors of the processor lie along its features: two sweeps of coordinate descent let weights in,
the linear equations of their signs give their values, until the duality gap is closed. Where a sign would change, or
columns depend on each other, `lasso_active_set` goes a part of the way. Voxels whose penalty silences them cost one
comparison a feature.

Import it only where it is needed: numba takes its time.
"""

import math

import numba
import numpy as np

from cinebold.encoding.solvers.lasso_active_set import step_on_active_set
from cinebold.encoding.solvers.lasso_path import SILENCES

#: Voxels with more active weights than this are left to the packets.
_MOST_ACTIVE = 24
#: A pivot below this share of its diagonal is a column that depends on those before it.
_DEPENDENT = 1e-11
#: Sweeps before each solution on the active set.
_SWEEPS = 3
_MOST_ROUNDS = 12
#: Voxels whose X'y is turned around at a time.
_BLOCK = 16
#: Sums along the features may be taken in any order, the same for every voxel.
_FAST = {"reassoc", "contract", "nsz"}


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def solve_sparse(  # type: ignore[no-untyped-def]
    gram, cross, total, n_samples, penalties, tolerance, part, weights, gaps, solved
):
    """Solve those voxels of `part` that few weights suffice for, and say which.

    min over w of |y - Xw|^2 / 2n + penalty |w|_1.

    Parameters
    ----------
    gram : (n_features, n_features) float64 in rows, X'X / n
    cross : (n_features, n_targets) float32 or float64, X'Y
    total : (n_targets,) float64, y'y; voxels where it is not a number above 0 are passed over
    penalties : (n_targets,)
    part : slice of targets
    weights : (n_targets, n_features), zeros; filled
    gaps : (n_targets,) filled with the duality gap over y'y / n
    solved : (n_targets,) bool, filled
    """
    n_features = len(cross)
    own = np.empty(n_features)
    state = np.empty((2, n_features))  # weights and gradient of one voxel
    candidates = np.empty(n_features, dtype=np.int64)
    factor, found = np.empty((_MOST_ACTIVE, _MOST_ACTIVE)), np.empty(_MOST_ACTIVE)
    # Rows of X'Y are often a power of two apart, where a cache keeps few of them: they are read once.
    block, largest = np.empty((n_features, _BLOCK)), np.empty(_BLOCK)
    scale = 1.0 / n_samples
    for first in range(part.start, part.stop, _BLOCK):
        n_here = min(_BLOCK, part.stop - first)
        for lane in range(n_here):
            largest[lane] = 0.0
        for j in range(n_features):
            for lane in range(n_here):
                value = cross[j, first + lane] * scale
                block[j, lane] = value
                largest[lane] = max(largest[lane], abs(value))
        for lane in range(n_here):
            target = first + lane
            of_all = total[target] * scale
            penalty = penalties[target] * SILENCES
            if not (0.0 < of_all < np.inf and penalty > 0.0):
                continue
            if largest[lane] <= penalty:
                solved[target], gaps[target] = True, 0.0
                continue
            for j in range(n_features):
                own[j] = block[j, lane]
            gap = _solve_voxel(gram, own, of_all, penalty, tolerance, state, candidates, factor, found)
            if gap <= tolerance * of_all:
                solved[target], gaps[target] = True, max(gap / of_all, 0.0)
                for j in range(n_features):
                    weights[target, j] = state[0, j]


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def _solve_voxel(gram, cross, total, penalty, tolerance, state, candidates, factor, found):  # type: ignore[no-untyped-def]
    """The duality gap that was reached, infinite where too many weights came in."""
    n_features = len(cross)
    w, gradient = state[0], state[1]
    for j in range(n_features):
        w[j], gradient[j] = 0.0, cross[j]
    gap = np.inf
    for _ in range(_MOST_ROUNDS):
        n_active = 0
        for j in range(n_features):
            candidates[n_active] = j
            n_active += (w[j] != 0.0) | (abs(gradient[j]) > penalty)
        for _ in range(_SWEEPS):
            n_active = _sweep(gram, penalty, w, gradient, candidates, n_active)
        if n_active > _MOST_ACTIVE:
            return np.inf
        if _values_at_signs(gram, cross, penalty, w, candidates[:n_active], factor, found):
            for j in range(n_features):
                gradient[j] = cross[j]
            for a in range(n_active):
                j = candidates[a]
                w[j] = found[a]
                _subtract(found[a], gram[j], gradient)
        else:
            step_on_active_set(gram, 0, state, 0, n_features, 0, 1, penalty, 0.0, n_features)
        gap = _gap(w, gradient, cross, total, penalty)
        if gap <= tolerance * total:
            break
    return gap


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def _sweep(gram, penalty, w, gradient, candidates, n_candidates):  # type: ignore[no-untyped-def]
    """One visit of some coordinates; gives how many are active then, and moves them to the front."""
    n_active = 0
    for place in range(n_candidates):
        j = candidates[place]
        old, curvature = w[j], gram[j, j]
        pull = gradient[j] + curvature * old
        new = 0.0
        if curvature > 0.0 and abs(pull) > penalty:
            new = (pull - math.copysign(penalty, pull)) / curvature
            candidates[n_active] = j
            n_active += 1
        if new != old:
            w[j] = new
            _subtract(new - old, gram[j], gradient)
    return n_active


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def _subtract(share, row, gradient):  # type: ignore[no-untyped-def]
    for i in range(len(gradient)):
        gradient[i] -= share * row[i]


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def _values_at_signs(gram, cross, penalty, w, active, factor, found):  # type: ignore[no-untyped-def]
    """Solve G_AA w_A = c_A - penalty sign(w_A) into `found`; whether the columns are independent and the signs stay."""
    for a in range(len(active)):
        i = active[a]
        row = factor[a]  # L D of G_AA = L D L'
        value = cross[i] - math.copysign(penalty, w[i])
        for b in range(a):
            entry = gram[i, active[b]]
            for c in range(b):
                entry -= row[c] * factor[b, c]
            row[b] = entry
        left = gram[i, i]
        for b in range(a):
            entry = row[b]
            row[b] = entry / factor[b, b]
            left -= entry * row[b]
            value -= row[b] * found[b]
        if not left > _DEPENDENT * gram[i, i]:
            return False
        row[a] = left
        found[a] = value
    for a in range(len(active) - 1, -1, -1):
        value = found[a] / factor[a, a]
        for c in range(a + 1, len(active)):
            value -= factor[c, a] * found[c]
        found[a] = value
        if value * w[active[a]] <= 0.0:
            return False
    return True


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST | {"nnan"})
def _gap(w, gradient, cross, total, penalty):  # type: ignore[no-untyped-def]
    """The duality gap, as `lasso_packet._measure_gap`."""
    l1, fitted, through, largest = 0.0, 0.0, 0.0, 0.0
    for j in range(len(w)):
        l1 += abs(w[j])
        fitted += w[j] * cross[j]
        through += w[j] * gradient[j]
        largest = max(largest, abs(gradient[j]))
    shrink = min(penalty / largest, 1.0) if largest > 0.0 else 1.0
    loose = 1.0 - shrink
    return 0.5 * loose * loose * (total - fitted - through) + penalty * l1 - shrink * through
