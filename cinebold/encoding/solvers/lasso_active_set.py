"""Where coordinate descent is slow: a step to the solution on the weights that are not zero, compiled.

Correlated columns make coordinate descent zigzag for thousands of sweeps, though signs are settled long before. With
the signs s of the active weights held, the problem on them is linear: (G_AA + ridge) d = gradient_A - penalty s -
ridge w_A. The step goes as far as the first weight that would change its sign, which becomes zero, and is taken
again without it: the objective never rises, and coordinate descent goes on from there (it alone lets weights in).
Osborne, Presnell & Turlach (2000), IMA J. Numer. Anal. 20:389-403.
"""

import numba
import numpy as np

#: A pivot below this share of its diagonal is a column that depends on those before it: its weight stands still.
_DEPENDENT = 1e-11
_MOST_STEPS = 30
#: Sums may be taken in any order, the same for every voxel: this is one voxel alone.
_FAST = {"reassoc", "contract", "nsz"}


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def step_on_active_set(  # type: ignore[no-untyped-def]
    gram, g, state, w, gradient, lane, lanes, penalty, ridge, n_features
):
    """Move one voxel's weights and gradient in `state`; arguments as in `lasso_packet`."""
    numbers = state.reshape(-1)
    entries = gram.reshape(-1)
    active = np.empty(n_features, dtype=np.int64)
    for _ in range(_MOST_STEPS):
        n_active = 0
        for j in range(n_features):
            if numbers[(w + j) * lanes + lane] != 0.0:
                active[n_active] = j
                n_active += 1
        if n_active == 0:
            return
        factor = np.zeros((n_active, n_active))
        step = np.empty(n_active)
        for a in range(n_active):
            i = active[a]
            value = numbers[(w + i) * lanes + lane]
            sign = 1.0 if value > 0.0 else -1.0
            step[a] = numbers[(gradient + i) * lanes + lane] - penalty * sign - ridge * value
            for b in range(a + 1):
                factor[a, b] = entries[g + i * n_features + active[b]]
            factor[a, a] += ridge
        _solve(factor, step)
        share = 1.0
        first = -1
        for a in range(n_active):
            value = numbers[(w + active[a]) * lanes + lane]
            if value * (value + share * step[a]) < 0.0:
                share = -value / step[a]
                first = a
        for a in range(n_active):
            place = (w + active[a]) * lanes + lane
            old = numbers[place]
            new = 0.0 if a == first else old + share * step[a]
            numbers[place] = new
            change = new - old
            if change != 0.0:
                for i in range(n_features):
                    numbers[(gradient + i) * lanes + lane] -= change * entries[g + active[a] * n_features + i]
        if first < 0:
            return


@numba.njit(nogil=True, error_model="numpy", cache=False, fastmath=_FAST)
def _solve(matrix, right):  # type: ignore[no-untyped-def]
    """Solve in place by Cholesky decomposition of the lower triangle; dependent columns get 0."""
    n = len(right)
    for a in range(n):
        whole = matrix[a, a]
        for b in range(a + 1):
            value = matrix[a, b]
            for c in range(b):
                value -= matrix[a, c] * matrix[b, c]
            if b < a:
                matrix[a, b] = value / matrix[b, b] if matrix[b, b] > 0.0 else 0.0
            else:
                matrix[a, a] = np.sqrt(value) if value > _DEPENDENT * whole else 0.0
    for a in range(n):
        for c in range(a):
            right[a] -= matrix[a, c] * right[c]
        right[a] = right[a] / matrix[a, a] if matrix[a, a] > 0.0 else 0.0
    for a in range(n - 1, -1, -1):
        for c in range(a + 1, n):
            right[a] -= matrix[c, a] * right[c]
        right[a] = right[a] / matrix[a, a] if matrix[a, a] > 0.0 else 0.0
