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

import numpy as np

from cinebold.encoding.solvers.lasso_bound import Bound, ball, none_below, slope_at
from cinebold.encoding.solvers.lasso_packet import (
    AHEAD,
    ERROR,
    FITTED,
    GAP,
    GOES_ON,
    IMAGE,
    L1,
    L2,
    SLOPE,
    compiled,
    descend,
    go_ahead,
    invert,
    product,
    quadratic,
)
from cinebold.encoding.solvers.lasso_path import SILENCES
from cinebold.encoding.voxel_vectors import aligned, n_lanes


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


@compiled
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
                    small[L1, lane] = penalty * l1_ratio * SILENCES
                    small[L2, lane] = penalty * (1.0 - l1_ratio)
                    if step > 1:
                        before = penalties[target, step - 1]
                        last = penalties[target, step - 2] - before
                        small[AHEAD, lane] = min((before - penalty) / last, 2.0) if last > 0.0 else 0.0
                    along[target, step], length[target, step], gaps[target, step] = 0.0, 0.0, 0.0
            for fold in range(n_folds):
                own = packet * n_folds + fold
                w = own * n_features
                gradient, own_cross = block + w, 4 * block + w
                g = fold * n_features * n_features
                go_ahead(small, state, w, block, n_features)
                invert(grams, g, small, inverse, l1_ratio < 1.0, n_features)
                for lane in range(lanes):
                    target = members[packet, lane]
                    small[GOES_ON, lane] = 1.0 if target >= 0 and totals[fold, target] > 0.0 else 0.0
                descend(
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
                    quadratic(test_grams, g, small, ERROR, state, w, 5 * block + w, rows, n_features)
                if bounded:
                    quadratic(bound_grams, g, small, SLOPE, state, w, 7 * block + w, rows, n_features)
                    product(small, state, w, 6 * block + w, n_features)
                for lane in range(lanes):
                    target = members[packet, lane]
                    if target < 0:
                        continue
                    along[target, step] += small[ERROR, lane]
                    length[target, step] += small[ERROR + 1, lane]
                    if totals[fold, target] > 0.0:
                        gap = max(small[GAP, lane] / totals[fold, target], 0.0)
                        gaps[target, step] = max(gaps[target, step], gap)
                        if weights.size:
                            for j in range(n_features):
                                weights[target, step, j] = state[0, packet, fold, j, lane]
                    if bounded:
                        standing[lane, fold, 0] = small[ERROR + 1, lane]
                        standing[lane, fold, 1] = small[ERROR, lane]
                        standing[lane, fold, 2] = small[IMAGE, lane]
                        standing[lane, fold, 3] = slope_at(
                            bound_numbers, fold, target, small[SLOPE, lane], small[SLOPE + 1, lane]
                        )
                        standing[lane, fold, 4] = ball(
                            bound_numbers,
                            fold,
                            target,
                            n_samples[fold],
                            penalties[target, step],
                            small[FITTED, lane],
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


@compiled
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
