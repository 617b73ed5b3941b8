"""Coordinate descent on one packet of voxels, compiled: sweeps, duality gap, held-out sums; see `coordinate_descent`.

A packet's arrays are counted in vectors: `w`, `gradient` and `cross` are the numbers of their first vectors in
`state`, `g` is the first element of a fold's Gram matrix.
"""

import numba

from cinebold.encoding.solvers.lasso_active_set import step_on_active_set
from cinebold.encoding.voxel_vectors import (
    choose_greater,
    constant,
    differ,
    everywhere,
    fma,
    less_product,
    load,
    store,
)

#: In memory only, as an installed package and a home folder may be read-only.
compiled = numba.njit(nogil=True, error_model="numpy", cache=False)


#: Sweeps between two steps on the active set.
_PATIENCE = 24

# Rows of the small vectors of a packet, see `_Scratch`.
L1, L2, GOES_ON, GAP, AHEAD, FITTED, IMAGE, ERROR, SLOPE = *range(8), 9


@compiled
def _sweep(gram, g, inverse, small, state, w, gradient, n_features):  # type: ignore[no-untyped-def]
    """One visit of every coordinate. `g` is the first element of the fold's Gram matrix; `w`, `gradient` are the
    packet's first vectors in `state`."""
    zero = constant(gram, 0.0)
    penalty = load(small, L1)
    goes_on = load(small, GOES_ON)
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


@compiled
def _leave(gram, r0, r1, r2, r3, d0, d1, d2, d3, state, gradient, n_features):  # type: ignore[no-untyped-def]
    """Take four changed weights' rows of the Gram matrix from the gradient."""
    for i in range(n_features):
        value = less_product(load(state, gradient + i), d0, everywhere(gram, r0 + i))
        value = less_product(value, d1, everywhere(gram, r1 + i))
        value = less_product(value, d2, everywhere(gram, r2 + i))
        store(state, gradient + i, less_product(value, d3, everywhere(gram, r3 + i)))


@compiled
def _measure_gap(small, state, totals, fold, w, gradient, cross, n_features):  # type: ignore[no-untyped-def]
    """The duality gap of each lane: scikit-learn's (`cd_fast.enet_coordinate_descent_gram`), written as a sum of
    terms that are not negative, so that little is lost to rounding."""
    zero, one = constant(small, 0.0), constant(small, 1.0)
    penalty, ridge = load(small, L1), load(small, L2)
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
    store(small, FITTED, fitted)
    store(small, GAP, choose_greater(penalty, zero, gap, dual_norm * l1))


@compiled
def descend(  # type: ignore[no-untyped-def]
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
            if small[GOES_ON, lane] > 0.0:
                if small[GAP, lane] <= tolerance * per_total[fold * lanes + lane]:
                    small[GOES_ON, lane] = 0.0
                else:
                    n_open += 1
        if n_open == 0:
            break
        if sweep % _PATIENCE == _PATIENCE - 1:
            for lane in range(lanes):
                if small[GOES_ON, lane] > 0.0:
                    step_on_active_set(
                        gram,
                        g,
                        state,
                        w,
                        gradient,
                        lane,
                        lanes,
                        small[L1, lane],
                        small[L2, lane],
                        n_features,
                    )


@compiled
def quadratic(gram, g, small, at, state, w, cross, rows, n_features):  # type: ignore[no-untyped-def]
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


@compiled
def product(small, state, w, other, n_features):  # type: ignore[no-untyped-def]
    """Each lane's w'(other) into `small`."""
    result = constant(state, 0.0)
    for j in range(n_features):
        result = fma(load(state, w + j), load(state, other + j), result)
    store(small, IMAGE, result)


@compiled
def go_ahead(small, state, w, block, n_features):  # type: ignore[no-untyped-def]
    """Start an alpha where the line through the two solutions before meets it: the path is piecewise linear."""
    ahead = load(small, AHEAD)
    for place in range(w, w + n_features):
        value, slope = load(state, place), load(state, block + place)
        store(state, place, fma(ahead, value - load(state, 2 * block + place), value))
        store(state, block + place, fma(ahead, slope - load(state, 3 * block + place), slope))
        store(state, 2 * block + place, value)
        store(state, 3 * block + place, slope)


@compiled
def invert(gram, g, small, inverse, with_ridge, n_features):  # type: ignore[no-untyped-def]
    """1 / (curvature + ridge) of each coordinate; 0 for an empty column, whose weight so stays 0."""
    zero, one, ridge = constant(gram, 0.0), constant(gram, 1.0), load(small, L2)
    for j in range(n_features):
        curvature = everywhere(gram, g + j * n_features + j)
        if with_ridge or differ(curvature, zero):
            store(inverse, j, choose_greater(curvature, zero, one / (curvature + ridge), zero))
        else:
            store(inverse, j, zero)
