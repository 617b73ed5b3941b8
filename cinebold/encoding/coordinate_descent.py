"""Coordinate descent for LASSO and elastic net on statistics, compiled: a packet of voxels side by side.

All voxels of a training set share its Gram matrix, so a voxel costs no sample: the gradient c - Gw is kept and each
changed weight updates it by one row of G (covariance updates; Friedman, Hastie & Tibshirani, 2010, J. Stat. Software
33(1)). A packet holds 16 (float64) or 32 (float32) voxels, one a lane: every entry of G that is read serves all of
them. Four changed weights are kept back and leave the gradient together, so that it is read and written once for
four rows of G; what a coordinate needs of them before that is added on the spot, and each step is the exact one.

Lanes share no sum, and a lane that is done stands still, so that neither companions, tiles nor threads change a
digit. The compiled functions let go of the interpreter's lock.

Import it only where it is needed: numba takes its time.
"""

from typing import Any

import numba
import numpy as np

from cinebold.encoding.lasso_active_set import step_on_active_set
from cinebold.encoding.lasso_bound import Bound, ball, none_below, slope_at
from cinebold.encoding.lasso_vectors import (
    aligned,
    choose_greater,
    constant,
    differ,
    everywhere,
    fma,
    less_product,
    load,
    n_lanes,
    store,
)

#: In memory only, as an installed package and a home folder may be read-only.
_compiled = numba.njit(nogil=True, error_model="numpy", cache=False)

#: So that alpha_max silences a voxel whichever way its division was rounded.
_SILENCES = 1.0 + 1e-15

#: Sweeps between two steps on the active set.
_PATIENCE = 24

# Rows of the small vectors of a packet, see `_Scratch`.
_L1, _L2, _GOES_ON, _GAP, _AHEAD, _FITTED, _IMAGE, _ERROR, _SLOPE = *range(8), 9


def follow_paths(
    dtype: Any,
    grams: np.ndarray,
    crosses: tuple[np.ndarray, ...],
    totals: np.ndarray,
    n_samples: np.ndarray,
    targets: np.ndarray,
    penalties: np.ndarray,
    l1_ratio: float,
    tolerance: float,
    max_sweeps: int,
    along: np.ndarray,
    length: np.ndarray,
    gaps: np.ndarray,
    *,
    test_grams: np.ndarray | None = None,
    test_crosses: tuple[np.ndarray, ...] = (),
    bound: Bound | None = None,
    weights: np.ndarray | None = None,
) -> None:
    """Follow some voxels down their penalties, all folds of a voxel together, and fill their rows of the results.

    Parameters
    ----------
    dtype : float32 or float64, of the descent
    grams, test_grams : (n_folds, n_features, n_features), divided by n and not
    crosses, test_crosses : of each fold (n_features, n_targets), in rows
    totals : (n_folds, n_targets)
    n_samples : (n_folds,)
    targets : which columns; neighbours in this order share a packet
    penalties : (n_targets, n_alphas) falling, of the l1 and the squared norm together
    along, length : (n_targets, n_alphas), filled: w'e and w'Hw summed over folds, with e and H the held-out X'y and
        X'X; NaN where the path had ended
    gaps : (n_targets, n_alphas), filled: the largest duality gap of the folds over y'y / n
    bound : a path ends where no penalty below can have the least error (LASSO alone)
    weights : (n_targets, n_alphas, n_features), filled with those of the only fold
    """
    n_folds, n_features = grams.shape[:2]
    n_packets = -(-len(targets) // n_lanes(dtype))
    held_out = test_crosses
    if test_grams is None:
        test_grams, held_out = np.zeros((1, 0, 0)), crosses
    parts = 8 if bound is not None else 6 if test_crosses else 5
    if bound is None:
        bound = Bound(np.zeros((1, 0, 0)), crosses, crosses, np.zeros((1, 1, 6)), np.zeros(1))
    lanes = n_lanes(dtype)
    _follow(
        _aligned_copy(grams, dtype),
        crosses,
        totals / n_samples[:, np.newaxis],
        n_samples,
        targets,
        penalties,
        float(l1_ratio),
        float(tolerance),
        max_sweeps,
        _aligned_copy(test_grams, dtype),
        held_out,
        _aligned_copy(bound.grams, dtype),
        bound.images,
        bound.crosses,
        bound.numbers,
        bound.least,
        np.zeros((0, 0, 0)) if weights is None else weights,
        along,
        length,
        gaps,
        aligned((parts, n_packets, n_folds, n_features, lanes), dtype),
        aligned((n_packets, n_folds, lanes), dtype),
        aligned((n_features, lanes), dtype),
        aligned((11, lanes), dtype),
        np.full((n_packets, lanes), -1),
    )


def _aligned_copy(array: np.ndarray, dtype: Any) -> np.ndarray:
    copy = aligned(array.shape, dtype)
    copy[...] = array
    return copy


@_compiled
def _sweep(gram, g, inverse, small, state, w, gradient, n_features):  # type: ignore[no-untyped-def]
    """One visit of every coordinate. `g` is the first element of the fold's Gram matrix; `w`, `gradient` are the
    packet's first vectors in `state`."""
    zero = constant(gram, 0.0)
    penalty = load(small, _L1)
    goes_on = load(small, _GOES_ON)
    d0, d1, d2, d3 = zero, zero, zero, zero
    r0, r1, r2, r3 = g, g, g, g
    n_kept = 0
    for j in range(n_features):
        old = load(state, w + j)
        pull = less_product(load(state, gradient + j), d0, everywhere(gram, r0 + j))
        pull = less_product(pull, d1, everywhere(gram, r1 + j))
        pull = less_product(pull, d2, everywhere(gram, r2 + j))
        pull = less_product(pull, d3, everywhere(gram, r3 + j))
        row = g + j * n_features
        pull = fma(old, everywhere(gram, row + j), pull)
        # The soft threshold: what of the pull exceeds the penalty, on either side.
        within = choose_greater(pull, zero - penalty, pull, zero - penalty)
        within = choose_greater(within, penalty, penalty, within)
        new = (pull - within) * load(inverse, j)
        new = choose_greater(goes_on, zero, new, old)
        if differ(new, old):
            store(state, w + j, new)
            d0, d1, d2, d3 = d1, d2, d3, new - old
            r0, r1, r2, r3 = r1, r2, r3, row
            n_kept += 1
            if n_kept == 4:
                _leave(gram, r0, r1, r2, r3, d0, d1, d2, d3, state, gradient, n_features)
                d0, d1, d2, d3 = zero, zero, zero, zero
                n_kept = 0
    if n_kept:
        _leave(gram, r0, r1, r2, r3, d0, d1, d2, d3, state, gradient, n_features)


@_compiled
def _leave(gram, r0, r1, r2, r3, d0, d1, d2, d3, state, gradient, n_features):  # type: ignore[no-untyped-def]
    """Take four changed weights' rows of the Gram matrix from the gradient."""
    for i in range(n_features):
        value = less_product(load(state, gradient + i), d0, everywhere(gram, r0 + i))
        value = less_product(value, d1, everywhere(gram, r1 + i))
        value = less_product(value, d2, everywhere(gram, r2 + i))
        store(state, gradient + i, less_product(value, d3, everywhere(gram, r3 + i)))


@_compiled
def _measure_gap(small, state, totals, fold, w, gradient, cross, n_features):  # type: ignore[no-untyped-def]
    """The duality gap of each lane: scikit-learn's (`cd_fast.enet_coordinate_descent_gram`), written as a sum of
    terms that are not negative, so that little is lost to rounding."""
    zero, one = constant(small, 0.0), constant(small, 1.0)
    penalty, ridge = load(small, _L1), load(small, _L2)
    l1, squares, dual_norm = zero, zero, zero
    fitted, through = zero, zero  # w'X'y / n, w'X'(y - Xw) / n
    for j in range(n_features):
        value = load(state, w + j)
        slope = load(state, gradient + j)
        l1 = l1 + choose_greater(value, zero, value, zero - value)
        fitted = fma(value, load(state, cross + j), fitted)
        through = fma(value, slope, through)
        squares = fma(value, value, squares)
        slope = less_product(slope, ridge, value)
        slope = choose_greater(slope, zero, slope, zero - slope)
        dual_norm = choose_greater(slope, dual_norm, slope, dual_norm)
    residual = fma(ridge, squares, load(totals, fold) - fitted - through)
    through = less_product(through, ridge, squares)
    shrink = choose_greater(dual_norm, penalty, penalty / dual_norm, one)
    loose = one - shrink
    gap = loose * loose * residual * constant(small, 0.5) + less_product(penalty * l1, shrink, through)
    # Without an l1 penalty there is no such dual point; the slope along w says how far it may go.
    store(small, _FITTED, fitted)
    store(small, _GAP, choose_greater(penalty, zero, gap, dual_norm * l1))


@_compiled
def _descend(  # type: ignore[no-untyped-def]
    gram, g, inverse, small, state, w, gradient, cross, totals, fold, tolerance, max_sweeps, n_features
):
    """Solve a packet at its penalties from where it stands, until the gap of all lanes is below tolerance * total.

    min over w of total / 2 - w'cross + w'(gram)w / 2 + penalty |w|_1 + ridge |w|^2 / 2, sums divided by n.
    """
    lanes = small.shape[1]
    per_total = totals.reshape(-1)
    for sweep in range(max_sweeps):
        _sweep(gram, g, inverse, small, state, w, gradient, n_features)
        _measure_gap(small, state, totals, fold, w, gradient, cross, n_features)
        n_open = 0
        for lane in range(lanes):
            if small[_GOES_ON, lane] > 0.0:
                if small[_GAP, lane] <= tolerance * per_total[fold * lanes + lane]:
                    small[_GOES_ON, lane] = 0.0
                else:
                    n_open += 1
        if n_open == 0:
            break
        if sweep % _PATIENCE == _PATIENCE - 1:
            for lane in range(lanes):
                if small[_GOES_ON, lane] > 0.0:
                    step_on_active_set(
                        gram,
                        g,
                        state,
                        w,
                        gradient,
                        lane,
                        lanes,
                        small[_L1, lane],
                        small[_L2, lane],
                        n_features,
                    )


@_compiled
def _quadratic(gram, g, small, at, state, w, cross, rows, n_features):  # type: ignore[no-untyped-def]
    """Each lane's w'(cross) and w'(gram)w into `small`; only half of the symmetric matrix is read."""
    zero = constant(gram, 0.0)
    n_rows = 0
    for j in range(n_features):
        if differ(load(state, w + j), zero):
            rows[n_rows] = j
            n_rows += 1
    along, length = zero, zero
    for first in range(0, n_rows, 4):
        r0 = rows[first]
        r1, r2, r3 = (
            rows[min(first + 1, n_rows - 1)],
            rows[min(first + 2, n_rows - 1)],
            rows[min(first + 3, n_rows - 1)],
        )
        g0, g1, g2, g3 = g + r0 * n_features, g + r1 * n_features, g + r2 * n_features, g + r3 * n_features
        a0, a1, a2, a3 = zero, zero, zero, zero
        for place in range(first):
            i = rows[place]
            value = load(state, w + i)
            a0 = fma(value, everywhere(gram, g0 + i), a0)
            a1 = fma(value, everywhere(gram, g1 + i), a1)
            a2 = fma(value, everywhere(gram, g2 + i), a2)
            a3 = fma(value, everywhere(gram, g3 + i), a3)
        w0, w1, w2, w3 = load(state, w + r0), load(state, w + r1), load(state, w + r2), load(state, w + r3)
        a1 = fma(w0, everywhere(gram, g1 + r0), a1)
        a2 = fma(w1, everywhere(gram, g2 + r1), fma(w0, everywhere(gram, g2 + r0), a2))
        a3 = fma(w1, everywhere(gram, g3 + r1), fma(w0, everywhere(gram, g3 + r0), a3))
        a3 = fma(w2, everywhere(gram, g3 + r2), a3)
        length = fma(w0, a0 + fma(w0, everywhere(gram, g0 + r0), a0), length)
        along = fma(w0, load(state, cross + r0), along)
        if first + 1 < n_rows:
            length = fma(w1, a1 + fma(w1, everywhere(gram, g1 + r1), a1), length)
            along = fma(w1, load(state, cross + r1), along)
        if first + 2 < n_rows:
            length = fma(w2, a2 + fma(w2, everywhere(gram, g2 + r2), a2), length)
            along = fma(w2, load(state, cross + r2), along)
        if first + 3 < n_rows:
            length = fma(w3, a3 + fma(w3, everywhere(gram, g3 + r3), a3), length)
            along = fma(w3, load(state, cross + r3), along)
    store(small, at, along)
    store(small, at + 1, length)


@_compiled
def _follow(  # type: ignore[no-untyped-def]
    grams,
    crosses,
    totals,
    n_samples,
    targets,
    penalties,
    l1_ratio,
    tolerance,
    max_sweeps,
    test_grams,
    test_crosses,
    bound_grams,
    bound_images,
    bound_crosses,
    bound_numbers,
    bound_least,
    weights,
    along,
    length,
    gaps,
    state,
    packet_totals,
    inverse,
    small,
    members,
):
    """See `follow_paths`. `state` holds, of each packet and fold: weights, gradient, both at the alpha before, X'y,
    held-out X'y, and the bound's Hv and HG^-1e; `members` the target of each lane, -1 where there is none (any
    more)."""
    n_folds, n_features = grams.shape[:2]
    n_alphas = penalties.shape[1]
    n_packets, lanes = members.shape
    held_out = test_grams.shape[1] > 0
    bounded = bound_grams.shape[1] > 0
    standing = np.empty((lanes, n_folds, 5))
    weakest = np.zeros(penalties.shape[0], dtype=np.int64)
    block = n_packets * n_folds * n_features  # vectors of one of the six
    rows = np.empty(n_features, dtype=np.int64)
    best = np.full(penalties.shape[0], np.inf)
    n_left = len(targets)
    for place in range(n_left):
        members[place // lanes, place % lanes] = targets[place]
        along[targets[place]], length[targets[place]], gaps[targets[place]] = np.nan, np.nan, np.nan
    for fold in range(n_folds):
        cross, test_cross = crosses[fold], test_crosses[fold]
        image, slope_cross = bound_images[fold], bound_crosses[fold]
        for packet in range(n_packets):
            n_here = min(lanes, n_left - packet * lanes)
            for lane in range(n_here):
                packet_totals[packet, fold, lane] = totals[fold, members[packet, lane]]
            for j in range(n_features):
                for lane in range(n_here):
                    value = cross[j, members[packet, lane]] / n_samples[fold]
                    state[1, packet, fold, j, lane] = value
                    state[3, packet, fold, j, lane] = value
                    state[4, packet, fold, j, lane] = value
                if held_out:
                    for lane in range(n_here):
                        state[5, packet, fold, j, lane] = test_cross[j, members[packet, lane]]
                if bounded:
                    for lane in range(n_here):
                        state[6, packet, fold, j, lane] = image[j, members[packet, lane]]
                        state[7, packet, fold, j, lane] = slope_cross[j, members[packet, lane]]
    for step in range(n_alphas):
        if step:
            n_packets = _close_ranks(members, n_packets, n_left, state, packet_totals)
        for packet in range(n_packets):
            for lane in range(lanes):
                target = members[packet, lane]
                small[:, lane] = 0.0
                if target >= 0:
                    penalty = penalties[target, step]
                    small[_L1, lane] = penalty * l1_ratio * _SILENCES
                    small[_L2, lane] = penalty * (1.0 - l1_ratio)
                    if step > 1:
                        before = penalties[target, step - 1]
                        last = penalties[target, step - 2] - before
                        small[_AHEAD, lane] = min((before - penalty) / last, 2.0) if last > 0.0 else 0.0
                    along[target, step], length[target, step], gaps[target, step] = 0.0, 0.0, 0.0
            for fold in range(n_folds):
                own = packet * n_folds + fold
                w = own * n_features
                gradient, own_cross = block + w, 4 * block + w
                g = fold * n_features * n_features
                _go_ahead(small, state, w, block, n_features)
                _invert(grams, g, small, inverse, l1_ratio < 1.0, n_features)
                for lane in range(lanes):
                    target = members[packet, lane]
                    small[_GOES_ON, lane] = 1.0 if target >= 0 and totals[fold, target] > 0.0 else 0.0
                _descend(
                    grams,
                    g,
                    inverse,
                    small,
                    state,
                    w,
                    gradient,
                    own_cross,
                    packet_totals,
                    own,
                    tolerance,
                    max_sweeps,
                    n_features,
                )
                if held_out:
                    _quadratic(test_grams, g, small, _ERROR, state, w, 5 * block + w, rows, n_features)
                if bounded:
                    _quadratic(bound_grams, g, small, _SLOPE, state, w, 7 * block + w, rows, n_features)
                    _product(small, state, w, 6 * block + w, n_features)
                for lane in range(lanes):
                    target = members[packet, lane]
                    if target < 0:
                        continue
                    along[target, step] += small[_ERROR, lane]
                    length[target, step] += small[_ERROR + 1, lane]
                    if totals[fold, target] > 0.0:
                        gap = max(small[_GAP, lane] / totals[fold, target], 0.0)
                        gaps[target, step] = max(gaps[target, step], gap)
                        if weights.size:
                            for j in range(n_features):
                                weights[target, step, j] = state[0, packet, fold, j, lane]
                    if bounded:
                        standing[lane, fold, 0] = small[_ERROR + 1, lane]
                        standing[lane, fold, 1] = small[_ERROR, lane]
                        standing[lane, fold, 2] = small[_IMAGE, lane]
                        standing[lane, fold, 3] = slope_at(
                            bound_numbers, fold, target, small[_SLOPE, lane], small[_SLOPE + 1, lane]
                        )
                        standing[lane, fold, 4] = ball(
                            bound_numbers,
                            fold,
                            target,
                            n_samples[fold],
                            penalties[target, step],
                            small[_FITTED, lane],
                            2.0 * tolerance * totals[fold, target] * n_samples[fold],
                        )
            for lane in range(lanes):
                target = members[packet, lane]
                if target < 0 or not bounded:
                    continue
                best[target] = min(best[target], length[target, step] - 2.0 * along[target, step])
                weakest[target] = none_below(
                    bound_numbers,
                    bound_least,
                    standing,
                    lane,
                    target,
                    penalties,
                    step,
                    weakest[target],
                    best[target],
                )
                if weakest[target] < 0:
                    members[packet, lane] = -1
                    n_left -= 1


@_compiled
def _product(small, state, w, other, n_features):  # type: ignore[no-untyped-def]
    """Each lane's w'(other) into `small`."""
    result = constant(state, 0.0)
    for j in range(n_features):
        result = fma(load(state, w + j), load(state, other + j), result)
    store(small, _IMAGE, result)


@_compiled
def _go_ahead(small, state, w, block, n_features):  # type: ignore[no-untyped-def]
    """Start an alpha where the line through the two solutions before meets it: the path is piecewise linear."""
    ahead = load(small, _AHEAD)
    for place in range(w, w + n_features):
        value, slope = load(state, place), load(state, block + place)
        store(state, place, fma(ahead, value - load(state, 2 * block + place), value))
        store(state, block + place, fma(ahead, slope - load(state, 3 * block + place), slope))
        store(state, 2 * block + place, value)
        store(state, 3 * block + place, slope)


@_compiled
def _invert(gram, g, small, inverse, with_ridge, n_features):  # type: ignore[no-untyped-def]
    """1 / (curvature + ridge) of each coordinate; 0 for an empty column, whose weight so stays 0."""
    zero, one, ridge = constant(gram, 0.0), constant(gram, 1.0), load(small, _L2)
    for j in range(n_features):
        curvature = everywhere(gram, g + j * n_features + j)
        if with_ridge or differ(curvature, zero):
            store(inverse, j, choose_greater(curvature, zero, one / (curvature + ridge), zero))
        else:
            store(inverse, j, zero)


@_compiled
def _close_ranks(members, n_packets, n_left, state, packet_totals):  # type: ignore[no-untyped-def]
    """Move voxels into lanes that have become free, so that as few packets as possible go on; gives their number."""
    lanes = members.shape[1]
    needed = (n_left + lanes - 1) // lanes
    free = 0
    for packet in range(needed, n_packets):
        for lane in range(lanes):
            if members[packet, lane] < 0:
                continue
            while members[free // lanes, free % lanes] >= 0:
                free += 1
            to, at = free // lanes, free % lanes
            members[to, at], members[packet, lane] = members[packet, lane], -1
            for fold in range(state.shape[2]):
                packet_totals[to, fold, at] = packet_totals[packet, fold, lane]
                for part in range(state.shape[0]):
                    for j in range(state.shape[3]):
                        state[part, to, fold, j, at] = state[part, packet, fold, j, lane]
    return needed
